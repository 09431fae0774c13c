"""What was measured: rounds, medians and ratios, for the screen and for `bench.json`."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Series:
    """The figures of one thing, a round each; its median is what counts."""

    name: str
    unit: str
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.rounds)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: the gate's figure, what it is held against, and what was wanted.

    `wanted` bounds the ratio where there is `against`, else the figure itself; from below, unless `at_most` is set.
    """

    case: str
    gate: Series
    against: Series | None = None
    wanted: float | None = None
    at_most: bool = False

    @property
    def value(self) -> float:
        """The ratio, or the figure where it is held against nothing."""
        return self.gate.median / self.against.median if self.against else self.gate.median

    @property
    def reached(self) -> bool | None:
        """Whether what was wanted is there; None where nothing was."""
        if self.wanted is None:
            return None
        return self.value <= self.wanted if self.at_most else self.value >= self.wanted


@dataclass(slots=True)
class Report:
    """All rows of a run and what it ran on."""

    facts: dict[str, object]
    rows: list[Row] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """The content of `bench.json`."""
        rows = [
            {
                **asdict(row),
                "median": row.gate.median,
                "against_median": row.against.median if row.against else None,
                "value": row.value,
                "reached": row.reached,
            }
            for row in self.rows
        ]
        return {**self.facts, "rows": rows, "left_out": self.left_out}

    def show(self, console: Console) -> None:
        """Print the table."""
        table = Table("case", "authgate", "against", "theirs", "ratio", "wanted", "")
        for number in (1, 3, 4, 5):
            table.columns[number].justify = "right"
        for row in self.rows:
            table.add_row(
                row.case,
                _figure(row.gate),
                row.against.name if row.against else "",
                _figure(row.against) if row.against else "",
                f"{row.value:.2f} x" if row.against else "",
                _wanted(row),
                {None: "", True: "reached", False: "missed"}[row.reached],
            )
        console.print(table)
        for name in self.left_out:
            console.print(f"left out: {name}")


def _wanted(row: Row) -> str:
    if row.wanted is None:
        return ""
    return f"{'<=' if row.at_most else '>='} {row.wanted:g}{' x' if row.against else ''}"


def _figure(series: Series) -> str:
    digits = 0 if series.median >= 100 else 2
    return f"{series.median:,.{digits}f} {series.unit}"
