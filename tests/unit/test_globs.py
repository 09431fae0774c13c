"""Globs: what they match, what a backslash means, and how much time a match takes."""

from __future__ import annotations

import sys

import pytest

from authgate.globs import Glob, Globs


@pytest.mark.parametrize(
    ("glob", "text", "matches"),
    [
        ("gha:repo:my-org/*", "gha:repo:my-org/app:ref:refs/heads/main", True),
        ("gha:repo:my-org/*", "gha:repo:my-org", False),
        ("gha:repo:my-org/*", "x gha:repo:my-org/app", False),
        ("fork-*", "fork-", True),
        ("*", "", True),
        ("*", "a\nb", True),
        ("a*", "a\n", True),
        ("a", "a\n", False),
        ("*-bot", "build-bot", True),
        ("*-bot", "build-bots", False),
        ("a*b*c", "abc", True),
        ("a*b*c", "a1b2b3c", True),
        ("a*b*c", "ac", False),
        ("a*b*c", "acb", False),
        ("ab*ba", "aba", False),
        ("ab*ba", "abba", True),
        ("**", "x", True),
        ("a.c", "abc", False),
        ("[ab]?", "a1", False),
        (r"\*", "*", True),
        (r"\*", "x", False),
        (r"a\*b", "a*b", True),
        (r"a\*b*", "a*bc", True),
        (r"a\*b*", "axbc", False),
        (r"CORP\jane", r"CORP\jane", True),
        (r"CORP\\jane", r"CORP\jane", False),
        (r"CORP\\*", r"CORP\jane", True),
        (r"CORP\\*", "CORPjane", False),
        (r"CORP\*", r"CORP\jane", False),
        (r"CORP\*", "CORP*", True),
        (r"\\\*", r"\*", True),
        ("a\\", "a\\", True),
    ],
)
def test_a_glob_matches_a_whole_text(glob: str, text: str, matches: bool) -> None:
    """A star matches any sequence of characters, an escaped star a star, and every other character itself."""
    assert Glob(glob).matches(text) is matches
    assert Globs([glob, "other"]).match(text) is matches
    assert Globs(["other-*", glob]).match_any(["nobody", text]) is matches


def test_a_match_searches_each_part_once() -> None:
    """There is no backtracking, even if much of a long text almost matches."""
    calls: list[str] = []

    def count(frame: object, event: str, argument: object) -> None:
        if event == "c_call":
            calls.append(str(argument))

    glob = Glob("*a" * 8 + "*b*")
    sys.setprofile(count)
    try:
        matched = glob.matches("a" * 100_000)
    finally:
        sys.setprofile(None)

    assert not matched
    assert sum("find" in call for call in calls) <= 9
