"""The tables of a benchmark, and how they get into the document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.bench.report import DOCUMENT, END, TABLES, Report, Row, Series, written

FACTS: dict[str, Any] = {
    "authgate": "1.2.3",
    "date": "2026-11-30T17:12:00+00:00",
    "machine": {"processor": "a processor", "cores": 2, "load": [0.25, 0.5, 0.5]},
    "python": {"version": "3.11.7", "packages": {"aiohttp": "3.14.5"}},
    "versions": {"nginx": "nginx version: nginx/1.22.1"},
    "load_afterwards": [1.5, 1.0, 0.5],
    "quick": False,
}
DOCUMENTED = "".join(f"<!-- bench: {name} -->\n\nolder\n\n{END}\n\n" for name in ("run", *TABLES))


def _rates(*rounds: float, name: str = "authgate") -> Series:
    return Series(name, "/s", rounds)


def _complete(**facts: object) -> Report:
    rows = [
        Row("a case", _rates(90, 100, 110), _rates(200, name="nginx"), 0.75, table=name) for name in TABLES
    ]
    return Report({**FACTS, **facts}, rows, ["envoy: not installed"])


@pytest.mark.parametrize(
    ("row", "line"),
    [
        pytest.param(
            Row("a", _rates(30_000), _rates(20_000, name="nginx"), 1.0),
            "| a | 30,000/s | nginx | 20,000/s | 1.50 | ≥ 1 |",
            id="reached",
        ),
        pytest.param(
            Row("a", _rates(10, 30_000, 500), _rates(1000, name="nginx"), 0.75),
            "| a | 500/s | nginx | 1,000/s | 0.50 | ≥ 0.75, **missed** |",
            id="median, missed",
        ),
        pytest.param(
            Row("a", _rates(500), cpu=Series("authgate", "µs", (12.34,))),
            "| a | 500/s, 12.3 µs |  |  |  |  |",
            id="CPU time, no other program",
        ),
        pytest.param(
            Row("a", Series("authgate", "MB", (56.12,)), None, 52, at_most=True, table="alone"),
            "| a | 56.1 MB | ≤ 52, **missed** |",
            id="at most",
        ),
        pytest.param(
            Row("a", Series("", "µs", (3.351,)), Series("", "µs", (63.2,)), table="growth"),
            "| a | 3.35 µs | 63.2 µs |",
            id="two figures",
        ),
    ],
)
def test_row(row: Row, line: str) -> None:
    """A row has the medians, the ratio, and whether the goal is reached."""
    assert Report(FACTS, [row]).blocks()[row.table].splitlines()[-1] == line


def test_tables_of_saved_results() -> None:
    """`bench.json` is enough to write all tables."""
    report = _complete()
    saved = json.loads(json.dumps(report.document()))

    document = written(DOCUMENTED, Report.loaded(saved))

    assert "older" not in document
    assert document.count("| a case | 100/s |") == len(TABLES)
    assert "30 November 2026: authgate 1.2.3 on CPython 3.11.7 (aiohttp 3.14.5)" in document
    assert "nginx 1.22.1" in document
    assert "Left out: envoy: not installed." in document
    assert written(document, report) == document


@pytest.mark.parametrize(
    ("report", "document", "problem"),
    [
        pytest.param(_complete(quick=True), DOCUMENTED, "--quick", id="quick"),
        pytest.param(
            Report(FACTS, _complete().rows[1:]), DOCUMENTED, "no rows for: comparison", id="incomplete"
        ),
        pytest.param(_complete(), DOCUMENTED * 2, "one place", id="two places"),
        pytest.param(
            _complete(), DOCUMENTED.replace("bench: rules", "bench: roles"), "one place", id="no place"
        ),
    ],
)
def test_unsuitable_results(report: Report, document: str, problem: str) -> None:
    """A document gets the tables of one complete run, or none."""
    with pytest.raises(ValueError, match=problem):
        written(document, report)


def test_document_has_a_place_for_each_table() -> None:
    """The tables can be written into docs/performance.md, and its present ones have the same columns."""
    document = DOCUMENT.read_text()

    written(document, _complete())

    for name, (columns, _) in TABLES.items():
        table = document.partition(f"<!-- bench: {name} -->\n\n")[2]
        assert table.startswith(f"| {' | '.join(columns)} |\n"), name
