"""The parts that cases share: the amount of work, the tokens, the other programs, and authgate as a process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from authgate.dev.compact import JsonObject
from tests.bench.peers import Peers
from tests.bench.report import Report, Row, Series, figure
from tests.bench.server import SERVER_CORE, Server, free_port, pinned
from tests.bench.tokens import TokenFile, TokenStore, gate_document
from tests.bench.wrk import wrk

RATE = "/s"
_BOUND = 100  # seconds
# As in the image, Python's modules are compiled before they are loaded.
_ENVIRONMENT = {"PYTHONPATH": os.fspath(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": ""}


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
    rest: int
    """The seconds without requests in which CPU time is measured."""


QUICK = Effort(
    rounds=1, seconds=1, new_tokens=3000, many_tokens=4000, stored_verdicts=8000, long_run=30_000, rest=10
)
FULL = Effort(
    rounds=5,
    seconds=2,
    new_tokens=20_000,
    many_tokens=20_000,
    stored_verdicts=100_000,
    long_run=1_000_000,
    rest=30,
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
    _costs: dict[str, list[float]] = field(default_factory=dict, init=False)

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
        log = self.folder / f"gate-{self._gates}.log"
        return Server(command, port=port, log=log, probe_port=admin, environment=_ENVIRONMENT, cores=cores)

    def peer(
        self, name: str, command: Callable[[int], Sequence[str | Path]], log: Path | None = None
    ) -> Server:
        """Return another server. It is ready when it accepts a valid token. `command` takes the port."""
        port = free_port()
        return Server(
            command(port),
            port=port,
            log=log or self.folder / f"{name}.log",
            token=self.one.read()[0],
            environment=_ENVIRONMENT,
        )

    @property
    def jwks(self) -> JsonObject:
        """Return the RS256 key as a JWK Set."""
        return self.store.jwks("RS256")

    @property
    def one(self) -> TokenFile:
        """Return a file with one RS256 token."""
        return self.store.good("RS256", 1)

    def load(
        self,
        name: str,
        server: Server,
        tokens: TokenFile,
        *,
        once: bool = False,
        refused: bool = False,
        ids: bool = False,
    ) -> float:
        """Return the rate of one round, and keep under `name` what a request cost the server in CPU time."""
        before = server.cpu_seconds()
        seconds = _BOUND if once else self.effort.seconds
        done = wrk(server.url, tokens, seconds, once=once, refused=refused, ids=ids)
        spent = (server.cpu_seconds() - before) / done.requests * 1e6
        self._costs.setdefault(name, []).append(spent)
        return done.rate

    def costs(self) -> dict[str, Series]:
        """Return the CPU time of a request in the rounds since the last call, by the names given to `load`."""
        costs, self._costs = self._costs, {}
        return {name: Series(name, "µs", tuple(rounds)) for name, rounds in costs.items()}

    def compare(
        self,
        case: str,
        seen: Mapping[str, Series],
        wanted: Mapping[str, float],
        *,
        table: str = "comparison",
    ) -> None:
        """Add a row for authgate beside each other server, with the targets for the ratios and the CPU times."""
        others, costs = dict(seen), self.costs()
        ours, cost = others.pop("authgate"), costs.get("authgate")
        if cost:
            self.say(
                f"  CPU time of a request: {cost.median:.1f} µs  {[round(one, 1) for one in cost.rounds]}"
            )
        self.report.rows += [
            Row(case, ours, other, wanted.get(name), table=table, cpu=cost, against_cpu=costs.get(name))
            for name, other in others.items()
        ] or [Row(case, ours, table=table, cpu=cost)]

    def add_figure(
        self,
        case: str,
        unit: str,
        rounds: tuple[float, ...],
        wanted: float | None = None,
        table: str = "alone",
    ) -> None:
        """Add a row for a figure of authgate alone, with the most that it may be."""
        row = Row(case, Series("authgate", unit, rounds), None, wanted, at_most=True, table=table)
        self.say(f"  {case}: {row.value:.2f} {unit}")
        self.report.rows.append(row)

    def alternating(self, what: Mapping[str, Callable[[], float]], unit: str = RATE) -> dict[str, Series]:
        """Measure the cases alternately for the configured number of rounds, so that noise affects all of them."""
        seen: dict[str, list[float]] = {name: [] for name in what}
        for _ in range(self.effort.rounds):
            for name, measure in what.items():
                seen[name].append(measure())
        results = {name: Series(name, unit, tuple(figures)) for name, figures in seen.items()}
        for name, series in results.items():
            self.say(f"  {name}: {figure(series)}  {[round(one, 1) for one in series.rounds]}")
        return results

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
