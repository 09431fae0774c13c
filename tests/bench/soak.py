"""`make bench-soak`: minutes of load with new tokens and a new signing key each minute; no error, and flat memory.

Needs the open-loop program of the benchmarks (make bench BENCH_ARGS=--install-peers). The gate has a core of its own,
issuer and load share the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.openid import OpenIDSite
from authgate.dev.server import EmbeddedServer
from tests.bench.machine import load
from tests.bench.peers import Peers
from tests.bench.server import CLIENT_CORE, Server, free_port, pinned
from tests.bench.tokens import AUDIENCE

_NEW_EVERY = 100  # requests: 1 %


async def _minute(
    openloop: Path, folder: Path, gate: Server, issuer: Issuer, rate: int, seconds: int
) -> dict[str, float]:
    """Load for a while, and return what the load saw."""
    needed = rate * seconds // _NEW_EVERY + 100
    file = folder / "tokens"
    file.write_text("\n".join(issuer.mint("web", AUDIENCE, claims={"n": number}) for number in range(needed)))
    address = gate.url.removeprefix("http://").removesuffix("/verify")
    command: list[str | Path] = [openloop, "-address", address, "-tokens", file, "-every", str(_NEW_EVERY)]
    command += ["-rate", str(rate), "-seconds", str(seconds)]
    process = await asyncio.create_subprocess_exec(
        *pinned(CLIENT_CORE, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    written, error = await process.communicate()
    if process.returncode:
        raise SystemExit(f"the load ended with an error: {error.decode().strip()}")
    seen: dict[str, float] = json.loads(written)
    return seen


async def _main(arguments: argparse.Namespace) -> None:
    os.sched_setaffinity(0, {CLIENT_CORE})
    found = Peers.found().openloop
    if found is None:
        raise SystemExit("the open-loop load is not there: make bench BENCH_ARGS='--quick --install-peers'")
    minutes: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="authgate-soak-") as scratch:
        folder = Path(scratch)
        async with EmbeddedServer() as web:
            issuer = Issuer(web.url, SigningKey.generate("ES256"))
            web.add(OpenIDSite(issuer))
            gate = await asyncio.to_thread(_started_gate(folder, issuer, arguments.python).__enter__)
            try:
                for number in range(arguments.minutes):
                    if (
                        number
                    ):  # one moment after its start the gate would take the kid for one that nobody has
                        issuer.rotate(SigningKey.generate("ES256"))
                        issuer.withdraw(*issuer.keys[2:])
                    seen = await _minute(found, folder, gate, issuer, arguments.rate, arguments.seconds)
                    seen["rss_mb"] = round(gate.rss_kb() / 1024, 2)
                    minutes.append(seen)
                    print(
                        f"{number + 1:3d}  {seen['rate']:7.0f}/s  p99 {seen['p99_us']:6.0f} µs  {seen['rss_mb']} MB"
                    )
            finally:
                gate.stop()
    settled = [seen["rss_mb"] for seen in minutes[1:]] or [0.0]
    print(f"no error; memory between {min(settled)} and {max(settled)} MB after the first minute")
    document = {"rate": arguments.rate, "new": 1 / _NEW_EVERY, "minutes": minutes, "load": load()}
    arguments.output.write_text(json.dumps(document, indent=2) + "\n")


def _started_gate(folder: Path, issuer: Issuer, python: Path) -> Server:
    port, admin = free_port(), free_port()
    entry = {
        "issuer": {"url": issuer.url, "audiences": [AUDIENCE]},
        "claimMappings": {"username": {"claim": "sub", "prefix": "soak:"}},
    }
    path = folder / "authgate.yaml"
    path.write_text(json.dumps({"jwt": [entry], "shutdown": {"delay": "0s"}}))
    command: list[str | Path] = [python, "-m", "authgate", "serve", "--config", path]
    command += ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
    environment = {"PYTHONPATH": os.fspath(Path(__file__).parents[2])}
    return Server(command, port=port, log=folder / "gate.log", probe_port=admin, environment=environment)


def main() -> None:
    """Soak."""
    parser = argparse.ArgumentParser(
        prog="tests.bench.soak", description="minutes of load, a new key each minute"
    )
    parser.add_argument("--minutes", type=int, default=10, help="how many")
    parser.add_argument("--seconds", type=int, default=60, help="how long a minute lasts")
    parser.add_argument("--rate", type=int, default=5000, help="requests a second")
    parser.add_argument(
        "--output", type=Path, default=Path("soak.json"), help="where every minute is written"
    )
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable), help="the interpreter of the gate"
    )
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
