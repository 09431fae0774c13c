"""The results: rounds, medians and ratios, for the screen and for `bench.json`."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Series:
    """The measurements of one case, one for each round. The median is the result."""

    name: str
    unit: str
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: authgate's result, the result that it is compared with, and the target.

    `wanted` is the target for the ratio if `against` is set, else for the result itself. It is a minimum, or a maximum
    with `at_most`.
    """

    case: str
    gate: Series
    against: Series | None = None
    wanted: float | None = None
    at_most: bool = False

    @property
    def value(self) -> float:
        """The ratio, or the result itself without a comparison."""
        return self.gate.median / self.against.median if self.against else self.gate.median

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None without a target."""
        if self.wanted is None:
            return None
        return self.value <= self.wanted if self.at_most else self.value >= self.wanted


@dataclass(slots=True)
class Report:
    """All rows of a run, and the machine."""

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
