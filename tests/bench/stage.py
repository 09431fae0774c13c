"""The parts that cases share: the amount of work, the tokens, the other programs, and authgate as a process."""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from authgate.dev.compact import JsonObject
from tests.bench.peers import Peers
from tests.bench.report import Report, Series
from tests.bench.server import SERVER_CORE, Server, free_port, pinned
from tests.bench.tokens import TokenFile, TokenStore, gate_document

RATE = "/s"


@dataclass(frozen=True, slots=True)
class Effort:
    """The amount of measurements. `seconds` is that of wrk, which accepts only integers."""

    rounds: int
    seconds: int
    new_tokens: int
    """The number of new tokens in a round. Each is sent once."""
    many_tokens: int
    """The number of different tokens in cases with many cached verdicts."""
    stored_verdicts: int
    long_run: int
    """The number of requests before memory is measured."""


QUICK = Effort(rounds=1, seconds=1, new_tokens=3000, many_tokens=4000, stored_verdicts=8000, long_run=30_000)
FULL = Effort(
    rounds=5, seconds=2, new_tokens=20_000, many_tokens=20_000, stored_verdicts=100_000, long_run=1_000_000
)


@dataclass(slots=True)
class Stage:
    """One run of the benchmarks."""

    effort: Effort
    store: TokenStore
    peers: Peers
    python: Path
    folder: Path
    report: Report
    say: Callable[[str], None]
    _gates: int = field(default=0, init=False)

    def gate(
        self, *algorithms: str, document: str | None = None, workers: int = 1, cores: int | str = SERVER_CORE
    ) -> Server:
        """Return a gate with the keys of these algorithms (default: RS256) and an empty cache."""
        algorithms = algorithms or ("RS256",)
        self._gates += 1
        port, admin = free_port(), free_port()
        path = self.folder / f"gate-{self._gates}.yaml"
        path.write_text(
            document
            or gate_document(
                self.store.jwks(*algorithms), listen=f"127.0.0.1:{port}", admin=f"127.0.0.1:{admin}"
            )
        )
        command: list[str | Path] = [self.python, "-m", "authgate", "serve", "--config", path]
        command += ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
        command += ["--workers", str(workers)]
        environment = {"PYTHONPATH": os.fspath(Path(__file__).parents[2])}
        log = self.folder / f"gate-{self._gates}.log"
        return Server(command, port=port, log=log, probe_port=admin, environment=environment, cores=cores)

    def peer(self, name: str, command: Callable[[int], Sequence[str | Path]]) -> Server:
        """Return another server. It is ready when it accepts a valid token. `command` takes the port."""
        port = free_port()
        token = self.one.read()[0]
        return Server(command(port), port=port, log=self.folder / f"{name}.log", token=token)

    @property
    def jwks(self) -> JsonObject:
        """Return the RS256 key as a JWK Set."""
        return self.store.jwks("RS256")

    @property
    def one(self) -> TokenFile:
        """Return a file with one RS256 token."""
        return self.store.good("RS256", 1)

    def alternating(self, what: Mapping[str, Callable[[], float]], unit: str = RATE) -> dict[str, Series]:
        """Measure the cases alternately for the configured number of rounds, so that noise affects all of them."""
        seen: dict[str, list[float]] = {name: [] for name in what}
        for _ in range(self.effort.rounds):
            for name, measure in what.items():
                seen[name].append(measure())
        for name, figures in seen.items():
            self.say(f"  {name}: {statistics.median(figures):,.0f} {unit}  {[round(one) for one in figures]}")
        return {name: Series(name, unit, tuple(figures)) for name, figures in seen.items()}

    def on_server_core(self, command: Sequence[str | Path]) -> str:
        """Return the output of a command that runs on the server's core."""
        done = subprocess.run(
            pinned(SERVER_CORE, command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
        return done.stdout
