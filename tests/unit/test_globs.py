"""Globs: what fits, what a backslash means, and what a match costs."""

from __future__ import annotations

import sys

import pytest

from authgate.globs import Glob, Globs, escaped


@pytest.mark.parametrize(
    ("glob", "text", "fits"),
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
def test_a_glob_fits_a_whole_text(glob: str, text: str, fits: bool) -> None:
    """A star is any run of characters, behind a backslash it is a star, and everything else is itself."""
    assert Glob(glob).matches(text) is fits
    assert Globs([glob, "other"]).match(text) is fits
    assert Globs(["other-*", glob]).match_any(["nobody", text]) is fits


@pytest.mark.parametrize("text", ["a", "*", r"\*", r"a\b", r"a\\*b*", "**", "\\"])
def test_an_escaped_text_is_the_glob_of_itself(text: str) -> None:
    """And of nothing else."""
    assert Glob(escaped(text)).matches(text)
    assert not Glob(escaped(text)).matches(text + "x")
    assert not Glob(escaped(text)).matches(text.replace("*", "x") if "*" in text else "x")


def test_a_match_takes_no_more_calls_than_the_glob_has_stars() -> None:
    """Nothing is tried twice, however much of a long text nearly fits."""
    calls: list[str] = []

    def count(frame: object, event: str, argument: object) -> None:
        if event == "c_call":
            calls.append(str(argument))

    glob = Glob("*a" * 8 + "*b*")
    sys.setprofile(count)
    try:
        fits = glob.matches("a" * 100_000)
    finally:
        sys.setprofile(None)

    assert not fits
    assert sum("find" in call for call in calls) <= 9
