"""Where the time of one request goes: the fast lane alone, without sockets, on a hit and on a miss.

    python -m tests.bench.hot_path [hit|miss] [--profile]

Prints microseconds of processor time for a request, the median over batches; with `--profile` what cProfile saw (its
own cost inflates what is called often).
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from authgate.app import SystemClock
from authgate.compose import Surroundings, compose
from authgate.config import load
from authgate.log import Audit
from authgate.metrics import Metrics
from authgate.server.lane import FastLane
from authgate.server.record import Recorder
from tests.bench.machine import cache_folder
from tests.bench.tokens import TokenStore, gate_document

_BATCH = 500
_HEAD = "GET /verify HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer {}\r\n\r\n"


async def _lane(store: TokenStore, folder: Path) -> FastLane:
    path = folder / "authgate.yaml"
    path.write_text(gate_document(store.jwks("RS256"), listen="127.0.0.1:1", admin="127.0.0.1:2"))
    config = load(path, {}, {}).config
    clock, metrics = SystemClock(), Metrics()
    pipeline = await compose(config, Surroundings(clock, metrics, {}, str(folder)))
    recorder = Recorder(metrics, Audit("deny", clock, lambda: None))
    return FastLane(lambda: pipeline.gate, recorder, clock, max_header_bytes=65536, max_headers=128)


def _timed(answer: Callable[[bytes], bytes | None], requests: list[bytes]) -> float:
    batches = []
    for first in range(0, len(requests), _BATCH):
        batch = requests[first : first + _BATCH]
        started = time.process_time()
        for request in batch:
            answer(request)
        batches.append((time.process_time() - started) / len(batch) * 1e6)
    return statistics.median(batches)


async def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="hot_path", description="microseconds for a request in the fast lane"
    )
    parser.add_argument("case", nargs="?", choices=("hit", "miss"), default="miss")
    parser.add_argument("--profile", action="store_true", help="show what cProfile saw")
    arguments = parser.parse_args()
    store = TokenStore(cache_folder() / "bench" / "tokens")
    tokens = store.good("RS256", 8000).read()
    with tempfile.TemporaryDirectory() as folder:
        lane = await _lane(store, Path(folder))
    requests = [_HEAD.format(token).encode("ascii") for token in tokens]
    answer = lane.answer(requests[0])
    if answer is None or not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"the lane did not let a good token pass: {answer!r}")
    if arguments.case == "hit":
        requests = requests[:1] * 100_000
    profiler = cProfile.Profile()
    if arguments.profile:
        profiler.enable()
    microseconds = _timed(lane.answer, requests)
    profiler.disable()
    print(f"{arguments.case}: {microseconds:.1f} µs for a request")
    if arguments.profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    asyncio.run(_main())
