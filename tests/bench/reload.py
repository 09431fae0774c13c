"""Measure the duration of a reload, and the longest time that it blocks the event loop.

    python -m tests.bench.reload [--rounds N]

A gate of one process reloads files of different sizes while a task records every turn of the loop. Prints, for each
size, the median over rounds of the total time and of the longest turn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from authgate.cli.config_process import ConfigProcess
from authgate.config.plain import file_state
from authgate.observability.metrics import Metrics
from authgate.service import ConfigFile, tune_gc
from authgate.service.reload import Reloader
from authgate.service.service import Service

_LOOPBACK = "127.0.0.1:0"
_SIZES = ((1, 20), (10, 20), (100, 20), (1000, 10))
"""The number of policies and the rules of each. A file can have at most 1 MiB."""
_ISSUER = {
    "issuer": {"url": "https://issuer.example", "audiences": ["bench"]},
    "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
    "gate": {"name": "bench"},
}


def document(policies: int, count: int) -> str:
    """Return a configuration with this number of policies and rules. It needs no key fetch."""
    rules = [{"paths": [f"/team-{number}/*"], "allow": [{"issuers": ["bench"]}]} for number in range(count)]
    named = {f"policy-{number}": {"rules": rules} for number in range(policies)}
    keys = {**_ISSUER, "gate": {"name": "bench", "staticKeys": {"inline": _public_key()}}}
    server = {"proxy": "nginx", "listen": ["127.0.0.1:0"], "admin": None, "reloadInterval": 0}
    # YAML as people write it would be slow to generate. JSON is valid YAML.
    return json.dumps({"jwt": [keys], "policies": named, "server": server}, separators=(",", ":"))


def _public_key() -> str:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


async def _turns(longest: list[float]) -> None:
    before = time.perf_counter()
    while True:
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest[0] = max(longest[0], now - before)
        before = now


async def _round(file: ConfigFile, gate: Service, first: object, metrics: Metrics) -> tuple[float, float]:
    reloader = Reloader(file, first, gate.adopt, metrics)  # type: ignore[arg-type]
    running = asyncio.create_task(reloader.run())
    longest = [0.0]
    watching = asyncio.create_task(_turns(longest))
    await asyncio.sleep(0.05)
    longest[0], started, done = 0.0, time.perf_counter(), metrics.config_reloads["success"]
    reloader.ask()
    while metrics.config_reloads["success"] == done:  # noqa: ASYNC110 - the turns of the loop are what is measured
        await asyncio.sleep(0)
    took = time.perf_counter() - started
    for task in (running, watching):
        task.cancel()
    await asyncio.gather(running, watching, return_exceptions=True)
    return took, longest[0]


async def measure(policies: int, rules: int, rounds: int) -> tuple[float, float]:
    """Return the median seconds of a reload, and of the longest turn of the loop during one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "authgate.yaml"
        path.write_text(document(policies, rules))
        words = ["serve", "--config", str(path), "--listen", _LOOPBACK, "--admin", _LOOPBACK]
        file = ConfigFile(path, ConfigProcess(words).read_again, file_state(path))
        first, metrics = (await file.read()).config, Metrics()
        gate = Service(first, os.environ, folder, metrics=metrics)
        await gate.start()
        seen = [await _round(file, gate, first, metrics) for _ in range(rounds)]
        await gate.stop()
    return statistics.median(took for took, _ in seen), statistics.median(longest for _, longest in seen)


async def _main() -> None:
    parser = argparse.ArgumentParser(prog="reload", description="how long a reload takes and stalls")
    parser.add_argument("--rounds", type=int, default=5, help="reloads of each size")
    arguments = parser.parse_args()
    tune_gc()
    for policies, rules in _SIZES:
        took, longest = await measure(policies, rules, arguments.rounds)
        print(
            f"{policies:5} policies of {rules} rules: {took * 1e3:8.0f} ms, longest turn {longest * 1e3:7.1f} ms"
        )


if __name__ == "__main__":
    asyncio.run(_main())
