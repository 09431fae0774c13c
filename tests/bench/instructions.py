"""Count the machine instructions of a request in the fast lane, and fail if they have grown by more than 5 %.

    python -m tests.bench.instructions [--update]

Valgrind counts instructions exactly, however busy the machine is. The count still depends on the processor, because
OpenSSL selects its code by it, and on the interpreter. So the hash of a token and its signature check are counted
alone in the same process and subtracted, and the rest is divided by the count of a fixed piece of Python. The ratio is
the same for optimized and other builds of a Python version. It is compared with that of the version in
`instructions.json`; without one, nothing is compared. `--update` records it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.hot_path import HEAD, bench
from tests.bench.tokens import TokenStore

_FIGURES = Path(__file__).with_suffix(".json")
_TOLERANCE = 0.05
_WARMING, _COUNTED = 150, 250
_ALGORITHM = "RS256"
_NOW = 1_800_000_000
_CASES = ("hit", "miss")


@dataclass(frozen=True, slots=True)
class _StoppedClock:
    def now(self) -> float:
        return _NOW

    def monotonic(self) -> float:
        return 1000.0


class _Counter:
    """Part of the reference: an object with a method and attributes."""

    __slots__ = ("seen", "total")

    def __init__(self) -> None:
        self.seen: dict[bytes, int] = {}
        self.total = 0

    def count(self, name: bytes, value: bytes) -> bool:
        """Count a value."""
        known = self.seen.get(name)
        if known is None:
            self.seen[name] = len(value)
        self.total += len(value)
        return known is not None


_TEXT = b"GET /verify HTTP/1.1\r\nHost: a\r\nAccept: text/plain\r\nVia: b\r\nUser-Agent: c\r\nDate: d\r\n\r\n"
_PAIR = re.compile(rb"([a-z]+): ([a-z/]+)")


def _reference(counter: _Counter) -> bytes:
    """Do what Python code like the lane's does: split, look up, call, compare and join."""
    parts: list[bytes] = []
    for line in _TEXT.split(b"\r\n"):
        name, colon, value = line.partition(b": ")
        if colon and counter.count(name, value):
            parts.append(value)
    match = _PAIR.search(_TEXT)
    if match is not None and isinstance(parts, list):
        parts += match.groups()
    return b",".join(parts)


async def _run(folder: Path) -> None:
    """Run the phases. Each begins and ends with a call of getppid, before which Valgrind writes its counts."""
    store = TokenStore(folder)
    tokens = store.good(_ALGORITHM, 2 * (_WARMING + _COUNTED)).read()
    made = await bench(store, folder, _StoppedClock())
    heads, raw = [HEAD.format(token).encode() for token in tokens], [token.encode() for token in tokens]
    verified = made.parsed(tokens[0])
    key = made.key(verified)
    counter, secret = _Counter(), bytes(64)

    def phase(step: Callable[[int], object]) -> None:
        for number in range(_WARMING):
            step(number)
        gc.collect()
        os.getppid()
        for number in range(_WARMING, _WARMING + _COUNTED):
            step(number)
        os.getppid()

    at = made.lane.begin()  # requests that arrive together share this
    answers = [made.lane.answer(heads[0], at)]
    phase(lambda _: None)
    phase(lambda _: _reference(counter))
    phase(lambda number: hashlib.sha256(secret + raw[number]).digest()[:16])
    phase(lambda _: key.verify(_ALGORITHM, verified.signing_input, verified.signature))
    phase(lambda _: answers.append(made.lane.answer(heads[0], at)))
    phase(lambda number: answers.append(made.lane.answer(heads[1 + number], at)))
    if not all(answer is not None and answer.startswith(b"HTTP/1.1 200") for answer in answers):
        sys.exit("the lane did not let a good token pass")


def _counts(folder: Path) -> list[float]:
    """Return the instructions of one step of each phase."""
    output = folder / "counts"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", "--dump-before=getppid"]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "OPENSSL_CONF": os.devnull}
    done = subprocess.run(
        [*command, sys.executable, "-m", "tests.bench.instructions", "--in-valgrind", str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    files = sorted(folder.glob("counts.*"), key=lambda path: int(path.suffix[1:]))
    if done.returncode != 0 or len(files) != 12:
        sys.exit(f"valgrind: {len(files)} dumps; {done.stdout[-3000:]}")
    return [_total(path) / _COUNTED for path in files[1::2]]


def _total(path: Path) -> int:
    line = next(line for line in path.read_text().splitlines() if line.startswith("totals:"))
    return int(line.split()[1])


def figures(counts: Sequence[float]) -> dict[str, float]:
    """Return the cost of a hit and of a miss, in units of the reference."""
    empty, reference, digest, signature, hit, miss = counts
    unit = reference - empty
    return {
        "hit": round((hit - digest) / unit, 3),
        "miss": round((miss - digest - (signature - empty)) / unit, 3),
    }


def grown(figures: dict[str, float], known: dict[str, float]) -> list[str]:
    """Return a line for each case that costs too much."""
    return [
        f"{case}: {figures[case]:.2f} instead of {known[case]:.2f}, {figures[case] / known[case] - 1:+.1%}"
        for case in _CASES
        if figures[case] > known[case] * (1 + _TOLERANCE)
    ]


def main() -> None:
    """Count, compare and print."""
    parser = argparse.ArgumentParser(prog="instructions", description="instructions of a request")
    parser.add_argument("--update", action="store_true", help="record the result")
    parser.add_argument("--in-valgrind", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_valgrind is not None:
        asyncio.run(_run(arguments.in_valgrind))
        return
    with tempfile.TemporaryDirectory(prefix="authgate-instructions-") as folder:
        TokenStore(Path(folder)).good(_ALGORITHM, 2 * (_WARMING + _COUNTED))  # signing is slow in Valgrind
        counts = _counts(Path(folder))
    found, kind = figures(counts), f"{sys.version_info.major}.{sys.version_info.minor}"
    recorded: dict[str, dict[str, float]] = json.loads(_FIGURES.read_text())
    names = ("empty", "reference", "digest", "signature", *_CASES)
    print(
        f"Python {kind}:",
        ", ".join(f"{name} {count:,.0f}" for name, count in zip(names, counts, strict=True)),
    )
    print(f"in units of the reference: {found}, recorded: {recorded.get(kind)}")
    if arguments.update:
        recorded[kind] = found
        _FIGURES.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")
    elif kind not in recorded:
        print("nothing is recorded for this interpreter")
    elif lines := grown(found, recorded[kind]):
        sys.exit("a request takes more instructions: " + "; ".join(lines))


if __name__ == "__main__":
    main()
