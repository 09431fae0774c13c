"""Measure the steps of one request: the fast lane alone, without sockets, on a hit and on a miss.

    python -m tests.bench.hot_path [hit|miss] [--profile | --json]

Prints microseconds of CPU time for a request, as the lower quartile over alternating batches, and for a miss the time
of each step. `--profile` prints the result of cProfile, whose own cost exaggerates functions that are called often.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from authgate.compose import Dependencies, compose
from authgate.config import load
from authgate.model import Authenticated, Rejected
from authgate.observability.audit import Audit
from authgate.observability.metrics import Metrics
from authgate.server.decider import Serving
from authgate.server.http.fast_lane import FastLane
from authgate.server.record import Recorder
from authgate.service import SystemClock, tune_gc
from authgate.verify.compact import CompactParser
from authgate.verify.recognition import Recognizer
from tests.bench.machine import cache_folder
from tests.bench.tokens import TokenStore, gate_document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from authgate.compose import Generation
    from authgate.keys.jwk import VerificationKey
    from authgate.model import Clock
    from authgate.verify.compact import UnverifiedToken

_BATCH = 50
_SHARE = 1500
_ALGORITHM = "RS256"
HEAD = "GET /verify HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer {}\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Bench:
    """A gate without sockets."""

    lane: FastLane
    cached: Generation

    def answer(self, data: bytes) -> bytes | None:
        """Return the answer to a request that arrived alone."""
        return self.lane.answer(data, self.lane.begin())

    def parsed(self, text: str) -> UnverifiedToken:
        """Return a parsed token."""
        token = CompactParser().parse(text)
        assert not isinstance(token, Rejected)
        return token

    def key(self, token: UnverifiedToken) -> VerificationKey:
        """Return the key that signed a token."""
        found: Any = next(iter(self.cached.issuers.values()))._keys.find(token.header.kid, _ALGORITHM)
        key: VerificationKey = found.keys[0]
        return key


async def bench(store: TokenStore, folder: Path, clock: Clock | None = None) -> Bench:
    """Return the gate of the benchmarks for RS256 tokens."""
    path = folder / "authgate.yaml"
    path.write_text(gate_document(store.jwks(_ALGORITHM), listen="127.0.0.1:1", admin="127.0.0.1:2"))
    config = load(path, {}, {}).config
    clock, metrics = clock or SystemClock(), Metrics()
    deps = Dependencies(clock=clock, metrics=metrics, environ={}, service_account_dir=str(folder))
    generation = await compose(config, deps)
    recorder = Recorder(metrics, Audit("deny", clock, lambda: None))
    serving = Serving(generation.gate, config.server.proxy)
    lane = FastLane(lambda: serving, recorder, clock, max_header_bytes=65536, max_headers=128)
    return Bench(lane, generation)


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


def _steps(made: Bench, tokens: list[str]) -> list[tuple[str, float]]:
    """Return the time of each step of a miss, measured with new tokens of a known sender."""
    shares = [tokens[first : first + _SHARE] for first in range(0, 2 * _SHARE, _SHARE)]
    token = made.parsed(shares[1][0])
    key, issuer = made.key(token), next(iter(made.cached.issuers.values()))
    recognizer = Recognizer()
    for text in shares[1][:2]:
        learned, verdict = made.parsed(text), issuer.try_verify(made.parsed(text))
        assert isinstance(verdict, Authenticated)
        assert issuer.identity_claims is not None
        recognizer.learn(learned, verdict, issuer.identity_claims)
    raw = [text.encode() for text in shares[1]]
    cache = made.cached.cache
    assert cache is not None

    everything, recognized, signature, parsed, digest = _timed(
        (made.answer, [HEAD.format(text).encode() for text in shares[0]]),
        (recognizer.find, raw),
        (lambda _: key.verify(_ALGORITHM, token.signing_input, token.signature), raw),
        (CompactParser().parse, shares[1]),
        (cache.digest, raw),
    )
    return [
        ("signature", signature),
        ("recognize: base64, template, sender", recognized),
        ("digest", digest),
        (
            "read the request, look up, check, store, answer, count",
            everything - recognized - signature - digest,
        ),
        ("new token of a known sender", everything),
        ("instead of recognition: parse base64 and JSON, registered claims", parsed),
    ]


async def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="hot_path", description="microseconds for a request in the fast lane"
    )
    parser.add_argument("case", nargs="?", choices=("hit", "miss"), default="miss")
    parser.add_argument("--profile", action="store_true", help="show what cProfile saw")
    parser.add_argument(
        "--json", action="store_true", help="print the times of a hit and of the steps of a miss"
    )
    arguments = parser.parse_args()
    store = TokenStore(cache_folder() / "bench" / "tokens")
    tokens = store.good(_ALGORITHM, 8000).read()
    tune_gc()
    with tempfile.TemporaryDirectory() as folder:
        made = await bench(store, Path(folder))
    first, *rest = [HEAD.format(token).encode("ascii") for token in tokens[3 * _SHARE :]]
    answer = made.answer(first)
    if answer is None or not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"the lane did not let a good token pass: {answer!r}")
    if arguments.profile:
        profiler = cProfile.Profile()
        profiler.enable()
        _timed((made.answer, [first] * 20_000 if arguments.case == "hit" else rest))
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    elif arguments.json:
        _timed((made.answer, rest))
        hit = _timed((made.answer, [first] * 20_000))[0]
        print(json.dumps({"cached verdict": hit, **dict(_steps(made, tokens))}))
    elif arguments.case == "hit":
        print(f"hit: {_timed((made.answer, [first] * 100_000))[0]:.1f} µs for a request")
    else:
        _timed((made.answer, rest))  # so that the code is warm
        for step, microseconds in _steps(made, tokens):
            print(f"{microseconds:6.1f} µs  {step}")


if __name__ == "__main__":
    asyncio.run(_main())
