"""Path patterns of other programs become patterns of rules that match the same paths, or fewer."""

from __future__ import annotations

import re
from itertools import product

import pytest

from authgate.policy.routes import PathPattern
from authgate.tools.convert.paths import below, covers, of_regex, overlap, start_of

PATHS = ["/" + "".join(letters) for length in range(6) for letters in product("/abx.", repeat=length)]
"""Every path of up to six characters that these letters form."""

SAME = [
    "^/a$",
    "^/a/?$",
    "^/a",
    "^/a/",
    "^/a/.*",
    "^/a/.*$",
    "^/(a|b)$",
    "^/(?:a|bx)/",
    "^/[^/]+/x$",
    r"^/a\.b$",
    "^/(a|b)?x$",
    "^/",
    "^/.*",
]


def _matches(patterns: list[str], path: str) -> bool:
    return any(PathPattern(pattern).matches(path) for pattern in patterns)


def _plain(path: str) -> bool:
    """Return whether a path is not ambiguous; others are always denied."""
    return "//" not in path and not {".", ".."} & set(path.split("/"))


@pytest.mark.parametrize("regex", SAME)
def test_an_expression_becomes_patterns_for_the_same_paths(regex: str) -> None:
    """Anchors, escapes, alternatives, optional letters, segments and an open end have a counterpart."""
    patterns = of_regex(regex)
    assert patterns is not None
    wrong = [
        path
        for path in filter(_plain, PATHS)
        if _matches(patterns, path) != (re.search(regex, path) is not None)
    ]
    assert wrong == []


@pytest.mark.parametrize("regex", [r"/a", r"/(a|b)", r"/[^/]+/x", r"/a/.*", r"/a\.b", r"/a?"])
def test_an_expression_for_the_whole_path_needs_no_anchors(regex: str) -> None:
    """Envoy and Oathkeeper match the whole path."""
    patterns = of_regex(regex, whole=True)
    assert patterns is not None
    wrong = [
        path
        for path in filter(_plain, PATHS)
        if _matches(patterns, path) != (re.fullmatch(regex, path) is not None)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "regex",
    [
        r"\.css$",
        r"^/\*\.css$",
        r"^/(a|\*)$",
        "^/\\\x00$",
        "^/a.b$",
        "^/a+$",
        "^/a*$",
        "^/[ab]$",
        r"^/\d+$",
        "^/a|/b",
        "^/a{2}$",
        "^/(a(b|x))$",
        "^/a/.+$",
        "^/.*/x$",
        "^/[^/]+$",
        "^/a[^/]+$",
        "^/(a|b)*$",
        "(?i)^/a$",
        "^a",
        "^/a/../b$",
        "^/a//b$",
        "^/(a|b)?/x$",
        r"^/a\/\.\./b$",
        "^/%2e$",
        "^/(a",
        "",
        "^/" + "(a|b)" * 7 + "$",
    ],
)
def test_other_expressions_have_no_patterns(regex: str) -> None:
    """An expression is never converted in part."""
    assert of_regex(regex) is None


def test_an_expression_that_is_not_anchored_matches_at_the_start_only() -> None:
    """It opens fewer paths than in the other program."""
    assert of_regex("/a/.*") == ["/a/*"]


@pytest.mark.parametrize("prefix", ["/", "/a", "/a/", "/a/b", ""])
def test_a_prefix_becomes_patterns_for_every_path_that_begins_with_it(prefix: str) -> None:
    """A prefix need not end at a slash."""
    patterns = below(prefix)
    assert patterns is not None
    wrong = [path for path in filter(_plain, PATHS) if _matches(patterns, path) != path.startswith(prefix)]
    assert wrong == []


@pytest.mark.parametrize("prefix", ["/a*", "/a?b", "/a/../b", "/a%2f", "a"])
def test_a_prefix_with_other_characters_has_no_patterns(prefix: str) -> None:
    """A star would be a pattern, and ambiguous paths are never allowed."""
    assert below(prefix) is None


RULES = [
    ({"paths": ["/a"]}, {"paths": ["/b"]}, False),
    ({"paths": ["/a/*"]}, {"paths": ["/a/b"]}, True),
    ({"paths": ["/a/*"]}, {"paths": ["/*/x"]}, True),
    ({"paths": ["/a/*"]}, {"paths": ["/b*/x"]}, False),
    ({"paths": ["/a*"]}, {"paths": ["/*b"]}, True),
    ({"paths": ["/a"], "methods": ["GET"]}, {"paths": ["/a"], "methods": ["PUT"]}, False),
    ({"hosts": ["*.example.com"]}, {"hosts": ["a.example.com"]}, True),
    ({"hosts": ["a.example.com"]}, {"hosts": ["b.example.com"]}, False),
    ({}, {"paths": ["/a"]}, True),
]


@pytest.mark.parametrize(("one", "other", "meet"), RULES)
def test_rules_that_share_a_request_overlap(
    one: dict[str, list[str]], other: dict[str, list[str]], meet: bool
) -> None:
    """The order of the rules does not matter."""
    assert overlap(one, other) == overlap(other, one) == meet


def test_a_rule_covers_another_one_with_the_same_hosts_and_paths_below() -> None:
    """A rule without a condition covers every value."""
    assert covers({"paths": ["/a/*"]}, {"paths": ["/a/b", "/a/c/*"], "hosts": ["x"]})
    assert covers({}, {"paths": ["/a"]})
    assert not covers({"paths": ["/a/*"]}, {})
    assert not covers({"hosts": ["x"]}, {"paths": ["/a"]})


@pytest.mark.parametrize(
    ("pattern", "start"),
    [
        ("/a[bx]+/.*", "/a"),
        ("^/a/b+$", "/a/"),
        (r"/a\.b", "/a.b"),
        ("/(a|b)", "/"),
        ("/a(b|(x|a))?", "/a"),
        ("/a|/b", ""),
        ("/a[|]|/b", ""),
        (r"/a\||/b", ""),
        ("(?i)/a", ""),
        (".*/a", ""),
    ],
)
def test_every_match_of_an_expression_begins_with_its_start(pattern: str, start: str) -> None:
    """The start is fixed text, and empty if alternatives or flags allow others."""
    assert start_of(pattern) == start
    assert all(path.startswith(start) for path in PATHS if re.fullmatch(pattern, path))
