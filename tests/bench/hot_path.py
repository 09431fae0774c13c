"""Measure the steps of one request: the fast lane alone, without sockets, on a hit and on a miss.

    python -m tests.bench.hot_path [hit|miss] [--profile]

Prints microseconds of CPU time for a request, as the lower quartile over alternating batches, and for a miss the time
of each step. `--profile` prints the result of cProfile, whose own cost exaggerates functions that are called often.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from authgate.compose import Dependencies, compose
from authgate.config import load
from authgate.model import OriginalRequest, Rejected
from authgate.observability.audit import Audit
from authgate.observability.metrics import Metrics
from authgate.server.decider import Serving
from authgate.server.http.fast_lane import FastLane
from authgate.server.record import Recorder
from authgate.service import SystemClock, tune_gc
from authgate.verify.compact import CompactParser
from tests.bench.machine import cache_folder
from tests.bench.tokens import TokenStore, gate_document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from authgate.compose import Generation
    from authgate.verify.compact import UnverifiedToken

_BATCH = 50
_SHARE = 1500
_ALGORITHM = "RS256"
_HEAD = "GET /verify HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer {}\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Bench:
    """A gate without sockets, and the same one without a cache."""

    lane: FastLane
    cached: Generation
    bare: Generation


async def _bench(store: TokenStore, folder: Path) -> Bench:
    path = folder / "authgate.yaml"
    path.write_text(gate_document(store.jwks(_ALGORITHM), listen="127.0.0.1:1", admin="127.0.0.1:2"))
    config = load(path, {}, {}).config
    clock, metrics = SystemClock(), Metrics()
    deps = Dependencies(clock=clock, metrics=metrics, environ={}, service_account_dir=str(folder))
    generation = await compose(config, deps)
    recorder = Recorder(metrics, Audit("deny", clock, lambda: None))
    serving = Serving(generation.gate, config.server.proxy)
    lane = FastLane(lambda: serving, recorder, clock, max_header_bytes=65536, max_headers=128)
    return Bench(lane, generation, await compose(config, deps, cached=False))


def _timed(*steps: tuple[Callable[[Any], object], Sequence[object]]) -> list[float]:
    """Return the time of each step for one of its arguments. All steps have the same number of arguments."""
    batches: list[list[float]] = [[] for _ in steps]
    for first in range(0, len(steps[0][1]), _BATCH):
        for (step, arguments), seen in zip(steps, batches, strict=True):
            batch = arguments[first : first + _BATCH]
            started = time.process_time()
            for argument in batch:
                step(argument)
            seen.append((time.process_time() - started) / len(batch) * 1e6)
    return [statistics.quantiles(seen)[0] for seen in batches]


def _steps(bench: Bench, tokens: list[str]) -> list[tuple[str, float]]:
    """Return the time of each step of a miss, measured with new tokens."""
    shares = [tokens[first : first + _SHARE] for first in range(0, 3 * _SHARE, _SHARE)]
    parser, issuer = CompactParser(), next(iter(bench.cached.issuers.values()))
    parsed = [_parsed(parser, text) for text in shares[2]]
    key = next(iter(_keys(bench, parsed[0])))
    nothing = OriginalRequest()

    def whole(gate: Generation) -> Callable[[bytes], object]:
        return lambda value: gate.gate.try_decide([value], "default", nothing)

    everything, decided, uncached, parse, judged, signature = _timed(
        (bench.lane.answer, [_HEAD.format(text).encode() for text in shares[0]]),
        (whole(bench.cached), [f"Bearer {text}".encode() for text in shares[1]]),
        (whole(bench.bare), [f"Bearer {text}".encode() for text in shares[2]]),
        (parser.parse, shares[2]),
        (issuer.try_verify, parsed),
        (lambda token: key.verify(_ALGORITHM, token.signing_input, token.signature), parsed),
    )
    return [
        ("signature", signature),
        ("parse: base64, JSON, registered claims", parse),
        ("key, time, audience, identity", judged - signature),
        ("credential, policy, headers", uncached - parse - judged),
        ("look up and remember", decided - uncached),
        ("read the request, write the answer, count", everything - decided),
        ("together", everything),
    ]


def _parsed(parser: CompactParser, text: str) -> UnverifiedToken:
    token = parser.parse(text)
    assert not isinstance(token, Rejected)
    return token


def _keys(bench: Bench, token: UnverifiedToken) -> Sequence[Any]:
    issuer = next(iter(bench.cached.issuers.values()))
    found: Any = issuer._keys.find(token.header.kid, _ALGORITHM)
    keys: Sequence[Any] = found.keys
    return keys


async def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="hot_path", description="microseconds for a request in the fast lane"
    )
    parser.add_argument("case", nargs="?", choices=("hit", "miss"), default="miss")
    parser.add_argument("--profile", action="store_true", help="show what cProfile saw")
    arguments = parser.parse_args()
    store = TokenStore(cache_folder() / "bench" / "tokens")
    tokens = store.good(_ALGORITHM, 8000).read()
    tune_gc()
    with tempfile.TemporaryDirectory() as folder:
        bench = await _bench(store, Path(folder))
    first, *rest = [_HEAD.format(token).encode("ascii") for token in tokens[3 * _SHARE :]]
    answer = bench.lane.answer(first)
    if answer is None or not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"the lane did not let a good token pass: {answer!r}")
    if arguments.profile:
        profiler = cProfile.Profile()
        profiler.enable()
        _timed((bench.lane.answer, [first] * 20_000 if arguments.case == "hit" else rest))
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    elif arguments.case == "hit":
        print(f"hit: {_timed((bench.lane.answer, [first] * 100_000))[0]:.1f} µs for a request")
    else:
        _timed((bench.lane.answer, rest))  # so that the code is warm
        for step, microseconds in _steps(bench, tokens):
            print(f"{microseconds:6.1f} µs  {step}")


if __name__ == "__main__":
    asyncio.run(_main())
