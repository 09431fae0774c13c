"""docs/kubernetes-parity.md and the tables that hold the gate against a kube-apiserver tell the same differences."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cluster.oracle import (
    test_checking,
    test_claims,
    test_configuration,
    test_conversions,
    test_expressions,
    test_tokens,
)
from tests.support.parity import Difference, differences

TEXT = (Path(__file__).parents[2] / "docs" / "kubernetes-parity.md").read_text()
TABLES = (*test_claims.TABLE, *test_tokens.TABLE, *test_expressions.TABLE, *test_conversions.TABLE)


def _rows(heading: str) -> set[str]:
    """The first cells of the tables below a heading of the page."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| (.*?) \|", section, re.MULTILINE)) - {"the API server"}


def test_the_differences_of_tokens_are_the_page_s() -> None:
    """Each has a row, and each row of the page stands for one that the tables know."""
    told = _rows("Every token") | _rows("Claims of `jwt:` issuers") | _rows("Where authgate accepts more")
    assert told == {*Difference, *test_configuration.WIDER}


def test_the_differences_of_configurations_are_the_page_s() -> None:
    """What the gate refuses to load has a row, and each row a test."""
    assert _rows("Configuration") == {*test_configuration.STRICTER, *test_checking.ONLY_THE_SERVER}


def test_every_difference_is_shown_by_a_token() -> None:
    """One that is gone cannot stay in the list: its token would be judged alike."""
    assert differences(TABLES) == set(Difference)


def test_the_tables_are_long_enough() -> None:
    """At least 150 tokens; no configuration of a server has room for more than 64 entries."""
    assert sum(len(subject.tokens) for subject in TABLES) >= 150
    assert all(len(table) <= 64 for table in (test_claims.TABLE, test_tokens.TABLE, test_expressions.TABLE))
