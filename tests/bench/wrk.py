"""One round of load with wrk: 16 connections from the client's core."""

from __future__ import annotations

import json
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench.server import CLIENT_CORE, pinned
from tests.bench.tokens import TokenFile

CONNECTIONS = 16
_SCRIPT = Path(__file__).with_name("wrk.lua")


class LoadError(Exception):
    """A round had other answers than the measured case expects."""


@dataclass(frozen=True, slots=True)
class Round:
    """The result of one round."""

    rate: float
    """Requests per second."""
    p50_us: int
    p99_us: int
    requests: int
    client_us: float
    """CPU time of a request in wrk, in microseconds."""


def wrk(
    url: str,
    tokens: TokenFile,
    seconds: int,
    *,
    once: bool = False,
    refused: bool = False,
    ids: bool = False,
    cores: int | str = CLIENT_CORE,
) -> Round:
    """Send requests to a URL for some seconds; LoadError unless every answer is a 200, or a 401 with `refused`.

    With `once` each token is sent once, and the round ends after the last one. `seconds` is then a maximum. With `ids`
    each request has an `X-Request-Id`, as a proxy sends it.
    """
    command: list[str | Path] = [
        "wrk",
        "-t",
        "1",
        "-c",
        str(CONNECTIONS),
        "-d",
        f"{seconds}s",
        "--timeout",
        "10s",
        "-s",
        _SCRIPT,
    ]
    command += [url, "--", tokens.path, str(tokens.skip), str(tokens.count), "once" if once else "round"]
    command += ["ids"] if ids else []
    before = _children_seconds()
    done = subprocess.run(
        pinned(cores, command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    spent = _children_seconds() - before
    line = next((line for line in done.stdout.splitlines() if line.startswith("BENCH ")), None)
    if line is None:
        raise LoadError(f"wrk: {done.stdout.strip()}")
    said = json.loads(line.removeprefix("BENCH "))
    requests, bad = said["requests"], said["refused"]
    if said["broken"] or requests == 0 or bad != (requests if refused else 0):
        raise LoadError(f"{url}: {requests} answers, {bad} of them 4xx or 5xx, {said['broken']} broken")
    rate = requests / said["seconds"]
    if once:
        if not said["fixed_seconds"]:
            raise LoadError(f"{url}: {seconds} s were too short for {tokens.count} tokens")
        rate = (said["fixed_work"] - CONNECTIONS) / said["fixed_seconds"]
    return Round(rate, said["p50_us"], said["p99_us"], requests, spent / requests * 1e6)


def _children_seconds() -> float:
    """Return the CPU time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
