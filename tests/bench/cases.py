"""The cases: each starts its programs, measures in alternating rounds, and adds its rows to the report."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from authgate.keys.mldsa import unsupported
from tests.bench.ext_authz import behind_envoy
from tests.bench.heimdall import heimdall
from tests.bench.neighbours import neighbours
from tests.bench.peers import (
    envoy_command,
    front_command,
    gooidc_command,
    minimal_command,
    null_gate_command,
)
from tests.bench.records import records
from tests.bench.report import Row, Series
from tests.bench.resident import memory, opaque, ready, rest
from tests.bench.server import CLIENT_CORE, Server, free_port, pinned
from tests.bench.stage import Stage
from tests.bench.tokens import TokenFile
from tests.bench.workers import workers
from tests.bench.wrk import CONNECTIONS, wrk

_ENVOY_CACHED = "Envoy jwt_authn, cache on"
_ENVOY_NEW = "Envoy jwt_authn, cache off"
_GO = "Go net/http on coreos/go-oidc"
_NGINX = "nginx return 200, same headers"
_HEIMDALL_CACHED = "heimdall, introspection response cached"
_HEIMDALL_NEW = "heimdall, key cached"
_MINIMAL = "minimal Python server"
_OPENSSL = "openssl speed rsa2048, verify"
_BOUND = 100  # seconds


def cached(stage: Stage) -> None:
    """Measure cached verdicts of one token and of many."""
    with ExitStack() as servers:
        targets = {"authgate": servers.enter_context(stage.gate())}
        peers = stage.peers
        if peers.envoy:
            envoy = peers.envoy
            size = stage.effort.many_tokens + 1000
            start = stage.peer(
                "envoy-cached", lambda port: envoy_command(envoy, stage.folder, port, stage.jwks, size)
            )
            targets[_ENVOY_CACHED] = servers.enter_context(start)
        if peers.nginx:
            nginx = peers.nginx
            start = stage.peer("nginx-null", lambda port: null_gate_command(nginx, stage.folder, port))
            targets[_NGINX] = servers.enter_context(start)
        if peers.heimdall:
            targets[_HEIMDALL_CACHED] = servers.enter_context(
                heimdall(stage, peers.heimdall, introspection=True)
            )
        many = stage.store.good("RS256", stage.effort.many_tokens)
        for case, tokens, names in (
            ("cached verdict, one token", stage.one, targets),
            (
                f"cached verdict, {many.count:,} tokens",
                many,
                [name for name in targets if name in ("authgate", _ENVOY_CACHED)],
            ),
        ):
            stage.say(case)
            for name in (
                names
            ):  # so that every verdict is cached, and the general HTTP server has seen the connections, too
                wrk(
                    targets[name].url,
                    tokens,
                    _BOUND if tokens.count > CONNECTIONS else 1,
                    once=tokens.count > CONNECTIONS,
                )
            seen = stage.alternating(
                {name: partial(stage.load, name, targets[name], tokens) for name in names}
            )
            stage.compare(case, seen, {_ENVOY_CACHED: 1.7, _NGINX: 0.75})


def new_tokens(stage: Stage) -> None:
    """Measure only new tokens, so that no verdict is cached. Caches are enabled."""
    case = "every token new, RS256"
    stage.say(case)
    tokens = stage.store.good("RS256", stage.effort.new_tokens)
    what: dict[str, Callable[[], float]] = {"authgate": lambda: _all_new(stage, tokens)}
    with ExitStack() as servers:
        if stage.peers.envoy:
            envoy = stage.peers.envoy
            start = stage.peer("envoy", lambda port: envoy_command(envoy, stage.folder, port, stage.jwks, 0))
            what[_ENVOY_NEW] = _each_once(stage, _ENVOY_NEW, servers.enter_context(start), tokens)
        if stage.peers.gooidc:
            gooidc = stage.peers.gooidc
            start = stage.peer("gooidc", lambda port: gooidc_command(gooidc, stage.folder, port, stage.jwks))
            what[_GO] = _each_once(stage, _GO, servers.enter_context(start), tokens)
        if stage.peers.heimdall:
            server = servers.enter_context(heimdall(stage, stage.peers.heimdall, introspection=False))
            what[_HEIMDALL_NEW] = _each_once(stage, _HEIMDALL_NEW, server, tokens)
        start = stage.peer(
            "minimal", lambda port: minimal_command(stage.python, stage.folder, port, stage.jwks)
        )
        what[_MINIMAL] = _each_once(stage, _MINIMAL, servers.enter_context(start), tokens)
        if stage.peers.openssl:
            what[_OPENSSL] = lambda: _openssl(stage)
        seen = stage.alternating(what)
    stage.compare(case, seen, {_ENVOY_NEW: 1.0, _GO: 1.5, _MINIMAL: 0.85, _OPENSSL: 0.3})
    spent = stage.report.rows[-1].cpu
    if spent:
        stage.add_figure("CPU time of a request with a new token, RS256", spent.unit, spent.rounds, 70)


def _all_new(
    stage: Stage,
    tokens: TokenFile,
    algorithm: str = "RS256",
    *,
    name: str = "authgate",
    refused: bool = False,
) -> float:
    warming, measured = tokens.split(500)
    with stage.gate(algorithm) as gate:
        if refused:  # a gate in use knows the senders whose tokens expire or are changed
            wrk(gate.url, stage.one, 1)
        # The code is then warm, and each token that follows is new.
        wrk(gate.url, warming, _BOUND, once=True, refused=refused)
        return stage.load(name, gate, measured, once=True, refused=refused)


def _each_once(stage: Stage, name: str, server: Server, tokens: TokenFile) -> Callable[[], float]:
    return lambda: stage.load(name, server, tokens, once=True)


def _openssl(stage: Stage) -> float:
    text = stage.on_server_core([stage.peers.openssl or "openssl", "speed", "-seconds", "1", "rsa2048"])
    line = next(line for line in text.splitlines() if line.startswith("rsa 2048"))
    return float(line.split()[-1])


def algorithms(stage: Stage) -> None:
    """Compare new tokens of other algorithms with cryptography alone, and those of ML-DSA with RS256."""
    for algorithm in ("ES256", "EdDSA", "PS256", "RS512"):
        _beside_cryptography(stage, algorithm)
    for algorithm in ("ML-DSA-44", "ML-DSA-65", "ML-DSA-87"):
        if unsupported((algorithm,)):
            stage.say(f"{algorithm}: not in this version of cryptography")
        else:
            _beside_cryptography(stage, algorithm, besides="RS256")


def _beside_cryptography(stage: Stage, algorithm: str, besides: str | None = None) -> None:
    case = f"every token new, {algorithm}"
    stage.say(case)
    tokens = stage.store.good(algorithm, stage.effort.new_tokens // 3)
    pem = stage.folder / f"{algorithm}.pem"
    pem.write_bytes(stage.store.key(algorithm).public_pem())
    bare: tuple[str | Path, ...] = (
        stage.python,
        "-m",
        "tests.bench.bare",
        algorithm,
        pem,
        tokens.path,
        "0.5",
    )
    against = f"cryptography's {algorithm} verify in a loop"
    what: dict[str, Callable[[], float]] = {
        "authgate": lambda: _all_new(stage, tokens, algorithm),
        against: lambda: float(stage.on_server_core(bare)),
    }
    if besides is not None:
        usual = stage.store.good(besides, tokens.count)
        own = f"own {besides}"
        what[own] = lambda: _all_new(stage, usual, besides, name=own)
    seen = stage.alternating(what)
    stage.compare(case, seen, {against: 0.5}, table="algorithms")


def refusals(stage: Stage) -> None:
    """Compare 401s for different tokens with authgate's own cached verdicts."""
    count = stage.effort.new_tokens
    stage.say("401, every token another one")
    bad = {
        "garbage": (stage.store.garbage(count), 0.6),
        "expired": (stage.store.expired(count), 0.35),
        "forged": (stage.store.forged(count), 0.25),
    }
    own = "own cached verdict"
    with stage.gate() as gate:
        wrk(gate.url, stage.one, 1)
        what: dict[str, Callable[[], float]] = {own: lambda: stage.load(own, gate, stage.one)}
        for name, (tokens, _) in bad.items():

            def measure(tokens: TokenFile = tokens, name: str = name) -> float:
                return _all_new(stage, tokens, name=name, refused=True)

            what[name] = measure
        seen = stage.alternating(what)
    costs = stage.costs()
    stage.report.rows += [
        Row(f"401, {name}", seen[name], seen[own], wanted, cpu=costs[name], against_cpu=costs[own])
        for name, (_, wanted) in bad.items()
    ]


def behind_nginx(stage: Stage) -> None:
    """Measure nginx with auth_request and a static file. nginx and authgate share the server's core."""
    if stage.peers.nginx is None:
        return
    nginx, case = stage.peers.nginx, "nginx auth_request, static file"
    other = "the same, nginx return 200 instead of authgate"
    stage.say(case)
    with ExitStack() as servers:
        gate = servers.enter_context(stage.gate())
        null = servers.enter_context(
            stage.peer("nginx-null", lambda port: null_gate_command(nginx, stage.folder, port))
        )
        fronts = {}
        for name, server in (("authgate", gate), (other, null)):
            address = server.url.removeprefix("http://").removesuffix("/verify")
            port = free_port()
            front = Server(
                front_command(nginx, stage.folder, port, address),
                port=port,
                path="/index.html",
                log=stage.folder / "front.log",
                token=stage.one.read()[0],
            )
            fronts[name] = servers.enter_context(front)
            wrk(fronts[name].url, stage.one, 1)
        seen = stage.alternating(
            {name: partial(stage.load, name, front, stage.one) for name, front in fronts.items()}
        )
    stage.costs()  # those of the nginx in front alone
    stage.compare(case, seen, {other: 0.92})


def rules(stage: Stage) -> None:
    """Measure the cost of rules and expressions on a hit without sockets, compared with a policy without them."""
    stage.say("rules and expressions, processor time of a hit")
    rounds = ["--rounds", str(6 * stage.effort.rounds)]
    seen = json.loads(stage.on_server_core([stage.python, "-m", "tests.bench.rules", "--json", *rounds]))
    plain, *others = (Series(name, "µs", tuple(rounds)) for name, rounds in seen.items())
    for series in others:
        wanted = 2.0 if series.name.endswith(("rule", "rules")) else None
        stage.report.rows.append(Row(series.name, series, plain, wanted, at_most=True, table="rules"))


def growth(stage: Stage) -> None:
    """Measure how the cost of a request grows with the configuration and the request, without sockets."""
    stage.say("growth, processor time of a hit and of a miss")
    rounds = ["--rounds", str(min(5, stage.effort.rounds))]
    seen = json.loads(stage.on_server_core([stage.python, "-m", "tests.bench.growth", "--json", *rounds]))
    for name, (hits, misses) in seen.items():
        hit, miss = Series("cache hit", "µs", tuple(hits)), Series("cache miss", "µs", tuple(misses))
        stage.report.rows.append(Row(name, hit, miss, table="growth"))


def steps(stage: Stage) -> None:
    """Measure the steps of a request without sockets."""
    stage.say("steps of a request")
    program: list[str | Path] = [stage.python, "-m", "tests.bench.hot_path", "--json"]
    rounds = [json.loads(stage.on_server_core(program)) for _ in range(min(3, stage.effort.rounds))]
    for step in rounds[0]:
        stage.add_figure(step, "µs", tuple(one[step] for one in rounds), table="steps")


def latency(stage: Stage) -> None:
    """Measure the 99th percentile at half of authgate's peak rate, in an open loop."""
    if stage.peers.openloop is None or stage.peers.envoy is None:
        return
    envoy = stage.peers.envoy
    with ExitStack() as servers:
        gate = servers.enter_context(stage.gate())
        start = stage.peer(
            "envoy-cached", lambda port: envoy_command(envoy, stage.folder, port, stage.jwks, 1000)
        )
        peer = servers.enter_context(start)
        wrk(peer.url, stage.one, 1)
        half = wrk(gate.url, stage.one, stage.effort.seconds).rate / 2
        case = f"p99 at {half:,.0f}/s, open loop, one cached token"
        stage.say(case)
        seen = stage.alternating(
            {
                "authgate": lambda: _p99(stage, gate, half),
                _ENVOY_CACHED: lambda: _p99(stage, peer, half),
            },
            "ms",
        )
    stage.report.rows.append(Row(case, seen["authgate"], seen[_ENVOY_CACHED], 1.5, at_most=True))


def _p99(stage: Stage, server: Server, rate: float) -> float:
    address = server.url.removeprefix("http://").removesuffix("/verify")
    command = [
        stage.peers.openloop or "",
        "-address",
        address,
        "-tokens",
        stage.one.path,
        "-rate",
        f"{rate:.0f}",
    ]
    command += ["-seconds", str(stage.effort.seconds), "-connections", str(CONNECTIONS)]
    return float(json.loads(_run(pinned(CLIENT_CORE, command)))["p99_us"]) / 1000


def _run(command: list[str]) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


CASES: dict[str, Callable[[Stage], None]] = {
    "cached": cached,
    "records": records,
    "new": new_tokens,
    "algorithms": algorithms,
    "refusals": refusals,
    "nginx": behind_nginx,
    "rules": rules,
    "growth": growth,
    "steps": steps,
    "envoy": behind_envoy,
    "latency": latency,
    "workers": workers,
    "memory": memory,
    "rest": rest,
    "ready": ready,
    "neighbours": neighbours,
    "opaque": opaque,
}
"""All cases by their names for `--only`."""
