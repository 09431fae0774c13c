"""Measure the cost of rules and expressions on a hit: the fast lane alone, without sockets, with the same requests.

    python -m tests.bench.rules [--rounds N] [--json]

Prints microseconds of CPU time for a request with a cached verdict, as the median over alternating rounds, and the
ratio to a policy without rules. The requests have nginx's headers and 64 different paths.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

from authgate.compose import Dependencies, compose
from authgate.config import load
from authgate.observability.audit import Audit
from authgate.observability.metrics import Metrics
from authgate.server.decider import Serving
from authgate.server.http.fast_lane import FastLane
from authgate.server.record import Recorder
from authgate.service import SystemClock
from tests.bench.machine import cache_folder
from tests.bench.tokens import TokenStore, gate_document

_PATHS = 64
_BATCH = 2000
_OPEN = {"issuers": ["bench"]}
_PLAIN = "no rules"
_HEAD = (
    "GET /verify HTTP/1.1\r\nHost: app.example\r\nX-Original-Method: GET\r\nX-Original-URI: {uri}\r\n"
    "X-Original-Host: app.example\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
    "User-Agent: bench\r\nAccept: */*\r\nAuthorization: Bearer {token}\r\n\r\n"
)


def _expression(number: int, variable: str) -> str:
    return f'user.username.startsWith("system:") && {variable} != "{number}"'


def _rules(count: int) -> dict[str, object]:
    rules = [
        {"hosts": ["app.example"], "paths": [f"/team-{number}/*"], "allow": [_OPEN]}
        for number in range(count)
    ]
    return {"rules": rules}


def _entries(count: int, variable: str) -> dict[str, object]:
    # All but the last are false, so that every one of them is evaluated.
    wrong = [{"expression": f'{variable} == "{number}"'} for number in range(count - 1)]
    return {"allow": [*wrong, {"expression": _expression(count, variable)}]}


POLICIES: dict[str, dict[str, object]] = {
    _PLAIN: {"allow": [_OPEN]},
    "1 rule": _rules(1),
    "10 rules": _rules(10),
    "100 rules": _rules(100),
    "100 rules with a star": {
        "rules": [{"paths": [f"/team-{number}/*/items-*.json"], "allow": [_OPEN]} for number in range(100)],
        "allow": [_OPEN],
    },
    "1 expression on the user": _entries(1, "user.uid"),
    "5 expressions on the user": _entries(5, "user.uid"),
    "1 expression on the request": _entries(1, "request.path"),
    "5 expressions on the request": _entries(5, "request.path"),
    "100 rules, and the same rules as shadow": {**_rules(100), "shadow": _rules(100)},
}
"""The measured policies by name. The first one has no rules."""


async def hits(store: TokenStore, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Return the microseconds of CPU time for a hit with each policy, one value for each round."""
    token = store.good("RS256", 1).read()[0]
    lanes = {name: await _lane(store, folder, policy) for name, policy in POLICIES.items()}
    uris = [f"/team-{number * 99 // _PATHS}/reports/items-{number}.json?page=2" for number in range(_PATHS)]
    requests = [_HEAD.format(uri=uri, token=token).encode("ascii") for uri in uris]
    requests = (requests * (_BATCH // _PATHS + 1))[:_BATCH]
    for name, lane in lanes.items():
        for request in requests:
            answer = lane.answer(request, lane.begin())
            if answer is None or not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"{name}: the lane did not let a good token pass: {answer!r}")
    seen: dict[str, list[float]] = {name: [] for name in lanes}
    for _ in range(rounds):
        for name, lane in lanes.items():
            started = time.process_time()
            for request in requests:
                lane.answer(request, lane.begin())
            seen[name].append((time.process_time() - started) / _BATCH * 1e6)
    return seen


async def _lane(store: TokenStore, folder: Path, policy: dict[str, object]) -> FastLane:
    document = json.loads(gate_document(store.jwks("RS256"), listen="127.0.0.1:1", admin="127.0.0.1:2"))
    document["policies"] = {"default": policy}
    document["server"]["proxy"] = "nginx"
    path = folder / "authgate.yaml"
    path.write_text(json.dumps(document))
    clock, metrics = SystemClock(), Metrics()
    deps = Dependencies(clock=clock, metrics=metrics, environ={}, service_account_dir=str(folder))
    generation = await compose(load(path, {}, {}).config, deps)
    recorder = Recorder(metrics, Audit("deny", clock, lambda: None))
    serving = Serving(generation.gate, "nginx")
    return FastLane(lambda: serving, recorder, clock, max_header_bytes=65536, max_headers=128)


async def _main() -> None:
    parser = argparse.ArgumentParser(prog="rules", description="what rules and expressions cost on a hit")
    parser.add_argument("--rounds", type=int, default=31, help="how often each policy has its turn")
    parser.add_argument("--json", action="store_true", help="print every round")
    arguments = parser.parse_args()
    store = TokenStore(cache_folder() / "bench" / "tokens")
    with tempfile.TemporaryDirectory() as folder:
        seen = await hits(store, Path(folder), arguments.rounds)
    if arguments.json:
        print(json.dumps(seen))
        return
    plain = statistics.median(seen[_PLAIN])
    for name, rounds in seen.items():
        median = statistics.median(rounds)
        print(f"{name:<36} {median:7.2f} µs  {median / plain:5.2f} x")


if __name__ == "__main__":
    asyncio.run(_main())
