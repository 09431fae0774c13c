"""How the cost of a request grows with the size of the configuration: the fast lane alone, without sockets.

    python -m tests.bench.growth [--rounds N] [--json]

Prints microseconds of CPU time for a request with a cached verdict (hit) and for one with a new token (miss, ES256), as
medians over alternating rounds. tests.bench.rules measures the cost of rules and expressions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from authgate.compose import Dependencies, compose
from authgate.config import load
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.observability.audit import Audit
from authgate.observability.metrics import Metrics
from authgate.server.decider import Serving
from authgate.server.http.fast_lane import FastLane
from authgate.server.record import Recorder
from authgate.service import SystemClock

_AUDIENCE = "bench"
_FRESH = 200
"""New tokens in each round."""


@dataclass(frozen=True, slots=True)
class World:
    """The configuration around a request."""

    issuers: int = 1
    policies: int = 1
    groups: int = 1
    headers: int = 0
    """Bytes of additional request headers."""
    cached: int = 0
    """Verdicts that are already cached."""


WORLDS = {
    "minimal": World(),
    **{f"{count} issuers": World(issuers=count) for count in (10, 60)},
    **{f"{count} policies": World(policies=count) for count in (10, 100)},
    **{f"{count} groups": World(groups=count) for count in (10, 100, 300)},
    **{f"{size // 1024} KB of other headers": World(headers=size) for size in (1024, 8192, 32768)},
    **{f"{count:,} verdicts in the cache": World(cached=count) for count in (1000, 20_000)},
}
"""The measured configurations by name. Each differs from the first one in one setting."""


class Subject:
    """A fast lane with its configuration, and the requests for it."""

    def __init__(self, lane: FastLane, issuer: Issuer, world: World) -> None:
        self._lane = lane
        self._issuer = issuer
        self._groups = [f"team-{number:04d}" for number in range(world.groups)]
        lines = "".join(f"X-Filler-{number}: {'a' * 1000}\r\n" for number in range(world.headers // 1024))
        self._head = f"GET /verify HTTP/1.1\r\nHost: bench\r\n{lines}Authorization: Bearer {{}}\r\n\r\n"
        for request in self._requests(world.cached):
            lane.answer(request, lane.begin())
        (self._known,) = self._requests(1)
        lane.answer(self._known, lane.begin())

    def _requests(self, count: int) -> list[bytes]:
        tokens = (self._issuer.mint("web", _AUDIENCE, claims={"groups": self._groups}) for _ in range(count))
        return [self._head.format(token).encode() for token in tokens]

    def hit(self) -> float:
        """Return the microseconds of a request with a cached verdict."""
        return self._timed([self._known] * 1000)

    def miss(self) -> float:
        """Return the microseconds of a request with a new token."""
        return self._timed(self._requests(_FRESH))

    def _timed(self, requests: list[bytes]) -> float:
        started = time.process_time()
        for request in requests:
            answer = self._lane.answer(request, self._lane.begin())
        took = time.process_time() - started
        if answer is None or not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"the lane did not let a good token pass: {answer!r}")
        return took / len(requests) * 1e6


async def _subject(world: World, folder: Path) -> Subject:
    issuers = [
        Issuer(f"https://issuer-{number}.example", SigningKey.generate("ES256"))
        for number in range(world.issuers)
    ]
    document: dict[str, Any] = {
        "jwt": [_entry(issuer) for issuer in issuers],
        "policies": {
            "default" if number == 0 else f"policy-{number}": {"allow": [{"groups": ["team-0000"]}]}
            for number in range(world.policies)
        },
        "headers": {"maxBytes": 65536},
        "limits": {"maxTokenBytes": 32768, "maxHeaderBytes": 131072},
    }
    path = folder / "authgate.yaml"
    path.write_text(json.dumps(document))  # JSON is YAML
    clock, metrics = SystemClock(), Metrics()
    deps = Dependencies(clock=clock, metrics=metrics, environ={}, service_account_dir=str(folder))
    generation = await compose(load(path, {}).config, deps)
    serving = Serving(generation.gate, "nginx")
    recorder = Recorder(metrics, Audit("deny", clock, lambda: None))
    lane = FastLane(lambda: serving, recorder, clock, max_header_bytes=131072, max_headers=256)
    return Subject(lane, issuers[-1], world)


def _entry(issuer: Issuer) -> dict[str, Any]:
    return {
        "issuer": {"url": issuer.url, "audiences": [_AUDIENCE]},
        "claimMappings": {
            "username": {"claim": "sub", "prefix": "bench:"},
            "groups": {"claim": "groups", "prefix": ""},
        },
        "gate": {"staticKeys": {"inline": {"keys": [issuer.key.jwk()]}}},
    }


async def _main(rounds: int, *, as_json: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        subjects = {name: await _subject(world, Path(scratch)) for name, world in WORLDS.items()}
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, subject in subjects.items():
            seen[name].append((subject.hit(), subject.miss()))
    if as_json:
        print(json.dumps({name: [*zip(*figures, strict=True)] for name, figures in seen.items()}))
        return
    print(f"{'':<32}{'hit':>10}{'miss':>10}")
    for name, figures in seen.items():
        hit, miss = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"{name:<32}{hit:>7.1f} µs{miss:>7.0f} µs")


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(prog="tests.bench.growth", description="how the cost of a request grows")
    parser.add_argument("--rounds", type=int, default=15, help="how often each has its turn")
    parser.add_argument("--json", action="store_true", help="print every round")
    arguments = parser.parse_args()
    asyncio.run(_main(arguments.rounds, as_json=arguments.json))


if __name__ == "__main__":
    main()
