"""docs/kubernetes-parity.md lists the same differences as the tests that compare authgate with a kube-apiserver."""

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
    """Return the first cells of the tables below a heading of the page."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| (.*?) \|", section, re.MULTILINE)) - {"the API server"}


def test_the_page_lists_the_differences_of_tokens() -> None:
    """Each difference has a row, and each row is a tested difference."""
    rows = _rows("Every token") | _rows("Claims of `jwt:` issuers") | _rows("Where authgate accepts more")
    assert rows == {*Difference, *test_configuration.WIDER}


def test_the_page_lists_the_differences_of_configurations() -> None:
    """Each rejected configuration has a row, and each row a test."""
    assert _rows("Configuration") == {*test_configuration.STRICTER, *test_checking.ONLY_THE_SERVER}


def test_every_difference_is_shown_by_a_token() -> None:
    """A difference that no longer exists cannot stay in the list."""
    assert differences(TABLES) == set(Difference)


def test_the_tables_are_long_enough() -> None:
    """There are at least 150 tokens. A server's configuration can have at most 64 entries."""
    assert sum(len(subject.tokens) for subject in TABLES) >= 150
    assert all(len(table) <= 64 for table in (test_claims.TABLE, test_tokens.TABLE, test_expressions.TABLE))
