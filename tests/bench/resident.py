"""Cases about one gate alone: its memory, its startup time and its requests to the API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.bench.burst import burst
from tests.bench.server import BOTH_CORES, CLIENT_CORE, SERVER_CORE, Server, free_port, pinned
from tests.bench.stage import Stage
from tests.bench.tokens import AUDIENCE, gate_document
from tests.bench.wrk import wrk

_BOUND = 100  # seconds


def memory(stage: Stage) -> None:
    """Measure resident memory after a long run, with and without a cluster, and the memory of a cached verdict."""
    effort = stage.effort
    stage.say("memory")
    with stage.gate() as gate:
        resident = _after_long_run(stage, gate)
        stage.add_figure(f"memory after {effort.long_run:,} requests, signature only", "MB", (resident,), 64)
    with _cluster(stage) as document, stage.gate(document=document) as gate:
        resident = _after_long_run(stage, gate)
        stage.add_figure(f"memory after {effort.long_run:,} requests, with cluster", "MB", (resident,), 75)
    with stage.gate(document=_with_expressions(stage)) as gate:
        resident = _after_long_run(stage, gate)
        stage.add_figure(
            f"memory after {effort.long_run:,} requests, with expressions", "MB", (resident,), 125
        )
    tokens = stage.store.good("ES256", effort.stored_verdicts)
    with stage.gate("ES256") as gate:
        warming, stored = tokens.split(500)
        wrk(gate.url, warming, _BOUND, once=True)
        before = gate.rss_kb()
        for _ in range(2):  # the cached answer is created by the second request
            wrk(gate.url, stored, _BOUND, once=True)
        each = (gate.rss_kb() - before) / stored.count
    stage.add_figure(f"memory per cached verdict, {tokens.count:,} of them", "KB", (each,), 0.8)


def _with_expressions(stage: Stage) -> str:
    """Return the default configuration with expressions instead of its policy's entries."""
    document = json.loads(gate_document(stage.jwks, listen="127.0.0.1:0", admin="127.0.0.1:0"))
    document["policies"] = {"default": {"allow": [{"expression": 'user.username.startsWith("system:")'}]}}
    document["jwt"][0]["claimValidationRules"] = [{"expression": "has(claims.exp)"}]
    return json.dumps(document)


def _after_long_run(stage: Stage, gate: Server) -> float:
    done, started = 0, time.monotonic()
    while done < stage.effort.long_run and time.monotonic() - started < 120:
        done += wrk(gate.url, stage.one, stage.effort.seconds).requests
    return gate.rss_kb() / 1024


def rest(stage: Stage) -> None:
    """Measure memory and CPU time without requests, and memory after the first review."""
    stage.say("at rest")
    with stage.gate() as gate:
        _at_rest(stage, gate, "a static key", 52)
    with _cluster(stage) as document:
        with stage.gate(document=document) as gate:
            _at_rest(stage, gate, "a cluster", 58)
        config = json.loads(document)
        config["cluster"]["tokenReview"] = {"legacyAudiences": ["https://kubernetes.default.svc"]}
        token = (Path(config["cluster"]["kubeconfig"]).parent / "reviewed.token").read_text().strip()
        with stage.gate(document=json.dumps(config)) as gate:
            request = urllib.request.Request(gate.url, headers={"Authorization": f"Bearer {token}"})
            urllib.request.urlopen(request, timeout=60).close()
            _add_memory(stage, gate, "memory after the first review", 92)


def _at_rest(stage: Stage, gate: Server, case: str, wanted: float) -> None:
    before, seconds = gate.cpu_seconds(), stage.effort.rest
    time.sleep(seconds)
    share = 100 * (gate.cpu_seconds() - before) / seconds
    stage.add_figure(f"CPU time at rest, {case}", "% of a core", (share,), 0.2)
    _add_memory(stage, gate, f"memory at rest, {case}", wanted)


def _add_memory(stage: Stage, gate: Server, case: str, wanted: float) -> None:
    stage.add_figure(case, "MB", (gate.rss_kb() / 1024,), wanted)
    stage.add_figure(f"{case}, private", "MB", (gate.private_kb() / 1024,))


def ready(stage: Stage) -> None:
    """Measure the time from the start of a gate to the first 200 of `/readyz`, on one core and on two, warm and cold.

    A cold start is one whose files are not in the page cache, except those that other processes have mapped.
    """
    stage.say("ready after start")
    with _cluster(stage) as document:
        for case, text, wanted in (("a static key", None, 0.45), ("a cluster", document, 0.6)):
            for cores, where in ((SERVER_CORE, "one core"), (BOTH_CORES, "two cores")):
                seen = []
                for _ in range(max(3, stage.effort.rounds)):
                    with stage.gate(document=text, cores=cores) as gate:
                        seen.append(gate.ready_after)
                stage.add_figure(f"ready after start, {case}, {where}", "s", tuple(seen), wanted)
            cold = []
            for _ in range(3):
                _forget_files(stage)
                with stage.gate(document=text, cores=BOTH_CORES) as gate:
                    cold.append(gate.ready_after)
            stage.add_figure(f"ready after a cold start, {case}, two cores", "s", tuple(cold))


def _forget_files(stage: Stage) -> None:
    """Drop the files of Python and authgate from the page cache."""
    code = "import sys; print(*filter(None, sys.path), sys.base_prefix, sep='\\n')"
    folders = subprocess.run([stage.python, "-c", code], capture_output=True, text=True, check=True).stdout
    for folder in {*folders.split("\n"), str(Path(__file__).parents[2] / "authgate")} - {""}:
        for path in Path(folder).rglob("*"):
            if path.suffix in {".so", ".py", ".pyc"} and path.is_file():
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def opaque(stage: Stage) -> None:
    """Measure many concurrent requests with one opaque token."""
    with _cluster(stage) as document:
        burst(stage, document)


class _cluster:  # noqa: N801 - a context manager, used like a function
    """Runs an embedded cluster, and returns the configuration of a gate that uses it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._port = free_port()
        self._folder = stage.folder / f"cluster-{self._port}"

    def __enter__(self) -> str:
        command = [sys.executable, "-m", "tests.bench.cluster", str(self._folder), str(self._port)]
        self._process = subprocess.Popen(pinned(CLIENT_CORE, command))
        started = time.monotonic()
        while not (self._folder / "kubeconfig").exists() and time.monotonic() - started < 20:
            time.sleep(0.05)
        section = {"audiences": [AUDIENCE], "kubeconfig": str(self._folder / "kubeconfig")}
        return json.dumps({"cluster": section, "cache": {"ttl": "1h"}, "shutdown": {"delay": "0s"}})

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
