"""The results: rounds, medians and ratios, as Markdown tables, and for `bench.json`.

`python -m tests.bench.report [BENCH_JSON] [DOCUMENT]` writes the tables of a complete run into docs/performance.md.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
_VERSION: Final = re.compile(r"\d+(?:\.\d+)+")
_RUN: Final = "run"
END: Final = "<!-- end of bench -->"


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

    @property
    def spread(self) -> float:
        """The difference between the highest and the lowest round, relative to the median."""
        return (max(self.rounds) - min(self.rounds)) / self.median if self.median else 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: authgate's result, the result that it is compared with, and the target.

    `wanted` is the target for the ratio if `against` is set, else for the result itself. It is a minimum, or a maximum
    with `at_most`. `cpu` and `against_cpu` are the CPU times of a request in the same rounds.
    """

    case: str
    gate: Series
    against: Series | None = None
    wanted: float | None = None
    at_most: bool = False
    table: str = "comparison"
    cpu: Series | None = None
    against_cpu: Series | None = None

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

    @classmethod
    def loaded(cls, saved: Mapping[str, Any]) -> Self:
        """Return a row of `bench.json`."""
        series = {
            name: saved[name] and Series(**{**saved[name], "rounds": tuple(saved[name]["rounds"])})
            for name in ("gate", "against", "cpu", "against_cpu")
        }
        return cls(
            saved["case"], wanted=saved["wanted"], at_most=saved["at_most"], table=saved["table"], **series
        )


def _compared(row: Row) -> list[str]:
    against = [row.against.name, figure(row.against, row.against_cpu)] if row.against else ["", ""]
    return [
        row.case,
        figure(row.gate, row.cpu),
        *against,
        f"{row.value:.2f}" if row.against else "",
        _goal(row),
    ]


def _alone(row: Row) -> list[str]:
    return [row.case, figure(row.gate), _goal(row)]


def _step(row: Row) -> list[str]:
    return [row.case, figure(row.gate)]


def _two_figures(row: Row) -> list[str]:
    return [row.case, figure(row.gate), figure(row.against) if row.against else ""]


_COMPARISON: Final = (("case", "authgate", "compared with", "its result", "ratio", "goal"), _compared)
TABLES: Final[Mapping[str, tuple[tuple[str, ...], Callable[[Row], list[str]]]]] = {
    "comparison": _COMPARISON,
    "alone": (("authgate alone", "result", "goal"), _alone),
    "steps": (("fast lane without sockets", "CPU time"), _step),
    "algorithms": _COMPARISON,
    "rules": _COMPARISON,
    "growth": (("configuration or request", "cache hit", "cache miss"), _two_figures),
    "neighbours": _COMPARISON,
}
"""The columns of each table, and the function that returns the cells of a row. docs/performance.md has all tables."""


@dataclass(slots=True)
class Report:
    """All rows of a run, and the machine."""

    facts: dict[str, Any]
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
        return {"facts": self.facts, "rows": rows, "left_out": self.left_out}

    @classmethod
    def loaded(cls, saved: Mapping[str, Any]) -> Self:
        """Return the report of a `bench.json`."""
        return cls(saved["facts"], [Row.loaded(row) for row in saved["rows"]], saved["left_out"])

    def blocks(self) -> dict[str, str]:
        """Return the description of the run and each table that has rows, in Markdown."""
        blocks = {_RUN: _described(self)}
        for name, (columns, cells) in TABLES.items():
            lines = [cells(row) for row in self.rows if row.table == name]
            if lines:
                head = [list(columns), ["---"] * len(columns)]
                blocks[name] = "\n".join(f"| {' | '.join(line)} |" for line in head + lines)
        return blocks


def _described(report: Report) -> str:
    """Return a paragraph about the machine, the versions and the quality of a run."""
    facts = report.facts
    machine, python, versions = facts["machine"], facts["python"], facts["versions"]
    packages = ", ".join(f"{name.lower()} {version}" for name, version in sorted(python["packages"].items()))
    others = ", ".join(f"{name} {_VERSION.findall(text)[0]}" for name, text in versions.items())
    spreads = [row.gate.spread for row in report.rows if len(row.gate.rounds) > 1] or [0.0]
    day = datetime.fromisoformat(facts["date"])
    text = (
        f"{day.day} {day:%B %Y}: authgate {facts['authgate']} on CPython {python['version']} ({packages}). "
        f"Other programs: {others}. Machine: {machine['cores']} cores of {machine['processor']}, load average "
        f"{machine['load'][0]} before and {facts['load_afterwards'][0]} after. The fastest and the slowest round of a "
        f"case differ by {statistics.median(spreads):.0%} (median over all cases; the highest is {max(spreads):.0%})."
    )
    if report.left_out:
        text += f" Left out: {'; '.join(report.left_out)}."
    return _wrapped(text)


def _wrapped(text: str) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > 120:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _goal(row: Row) -> str:
    if row.wanted is None:
        return ""
    return f"{'≤' if row.at_most else '≥'} {row.wanted:g}{'' if row.reached else ', **missed**'}"


def figure(series: Series, cpu: Series | None = None) -> str:
    """Return the median with its unit, and the CPU time beside it."""
    median = series.median
    digits = 0 if median >= 1000 or (series.unit == "/s" and median >= 100) else 1 if median >= 10 else 2
    unit = series.unit if series.unit.startswith("/") else f" {series.unit}"
    return f"{median:,.{digits}f}{unit}" + (f", {cpu.median:.1f} {cpu.unit}" if cpu else "")


def written(document: str, report: Report) -> str:
    """Return a document with the blocks of a report between its markers.

    Raises ValueError if the run was quick, or if the blocks and the markers differ.
    """
    if report.facts["quick"]:
        raise ValueError("the run was made with --quick; its figures are not for comparisons")
    blocks = report.blocks()
    if missing := [name for name in (_RUN, *TABLES) if name not in blocks]:
        raise ValueError(f"the run has no rows for: {', '.join(missing)}; run all cases")
    for name, block in blocks.items():
        marker = f"<!-- bench: {name} -->"
        before, found, rest = document.partition(marker)
        _, end, after = rest.partition(END)
        if not (found and end) or marker in rest:
            raise ValueError(f"the document needs one place that begins with {marker} and ends with {END}")
        document = f"{before}{marker}\n\n{block}\n\n{end}{after}"
    return document


def main() -> None:
    """Write the tables into the document."""
    results, document = (*map(Path, sys.argv[1:]), *(Path("bench.json"), DOCUMENT)[len(sys.argv) - 1 :])
    try:
        report = Report.loaded(json.loads(results.read_text()))
        document.write_text(written(document.read_text(), report))
    except (OSError, ValueError) as error:
        sys.exit(f"{results}: {error}")
    print(f"{document} has the tables of {results}")


if __name__ == "__main__":
    main()
