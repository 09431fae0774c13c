"""Which rule applies to a request."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authgate.errors import Reason
from authgate.model import OriginalRequest
from authgate.policy.routes import HostPatterns, PathPattern, RequestMatch, Routes


def match(
    *paths: str, hosts: list[str] | None = None, methods: list[str] | None = None, raw: bool = False
) -> RequestMatch:
    """A condition on the request; without paths, any path matches."""
    return RequestMatch(
        None if hosts is None else HostPatterns(hosts),
        None if methods is None else frozenset(methods),
        tuple(map(PathPattern, paths)) or None,
        raw,
    )


def routes(*matches: RequestMatch) -> Routes[int]:
    """Rules whose outcomes are their indices."""
    return Routes([(found, number) for number, found in enumerate(matches)])


def asked(
    path: str | None = "/", method: str | None = "GET", host: str | None = "app.example"
) -> OriginalRequest:
    """Return the original request as the proxy describes it."""
    return OriginalRequest(method, path, host)


PATTERNS = {
    "exact": ("/a/b", ["/a/b"], ["/a", "/a/b/", "/a/bc", "/A/b"]),
    "below": ("/a/*", ["/a/", "/a/b", "/a/b/c", "/a/b/"], ["/a", "/ab", "/b/a/"]),
    "all": ("/*", ["/", "/a", "/a/b"], []),
    "a segment": ("/a/*/c", ["/a/b/c", "/a/ä ö/c"], ["/a/c", "/a/b/b/c", "/a//c", "/a/b/c/"]),
    "within a segment": ("/a/*.png", ["/a/b.png", "/a/.png"], ["/a/b/c.png", "/a/b.PNG", "/a/b.png2"]),
    "at a segment's end": ("/a/v*", ["/a/v", "/a/v2"], ["/a/v2/x", "/a/w"]),
    "at a segment's beginning and end": ("/a/v*x", ["/a/vx", "/a/vvx"], ["/a/v", "/a/x"]),
    "segments and below": ("/*/b/*", ["/a/b/", "/a/b/c/d"], ["/a/b", "//b/", "/a/c/b/"]),
    "a dot is a dot": ("/a.b/*/c", ["/a.b/x/c"], ["/axb/x/c"]),
}


@pytest.mark.parametrize(("pattern", "those", "others"), PATTERNS.values(), ids=PATTERNS.keys())
def test_a_pattern_matches_paths(pattern: str, those: list[str], others: list[str]) -> None:
    """A star matches within a segment, `/*` at the end everything below. The index and the pattern agree."""
    found = PathPattern(pattern)
    assert [path for path in those if not found.matches(path)] == []
    assert [path for path in others if found.matches(path)] == []
    index = routes(match(pattern))
    assert [path for path in those if index.find(asked(quote(path))) != 0] == []
    assert [path for path in others if "//" not in path and index.find(asked(path)) is not None] == []


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        *(("app.example", "app.example", True), ("App.Example", "app.example", True)),
        *(("app.example", "b.app.example", False), ("*.example", "app.example", True)),
        *(
            ("*.example", "a.b.example", True),
            ("*.example", "example", False),
            ("*.example", "badexample", False),
        ),
        *(("*.example", ".example", False), ("[::1]", "[::1]", True)),
    ],
)
def test_a_host_pattern_is_exact_or_matches_subdomains(pattern: str, host: str, matches: bool) -> None:
    """`*.` matches at least one label."""
    assert HostPatterns([pattern]).match(host) is matches


def test_the_first_matching_rule_decides() -> None:
    """This holds whatever their paths are, and wherever they are in the index."""
    index = routes(
        match("/a/b", methods=["POST"]),
        match("/a/*", hosts=["other.example"]),
        match("/*/b"),
        match("/a/b"),
        match(methods=["DELETE"]),
        match("/a/*"),
        match(),
    )
    found = [
        index.find(request)
        for request in (
            asked("/a/b", "POST"),
            asked("/a/b", host="other.example"),
            asked("/a/b"),
            asked("/a/c", "DELETE"),
            asked("/a/c"),
            asked("/c"),
            asked("/a/b", "DELETE", "OTHER.example.:8443"),
        )
    ]
    assert found == [0, 1, 2, 4, 5, 6, 1]


def test_a_request_may_match_no_rule() -> None:
    """Then the policy itself decides."""
    assert routes(match("/a"), match(methods=["POST"])).find(asked("/b")) is None
    assert routes().find(OriginalRequest()) is None


UNKNOWN = {
    "path": (match("/a"), asked(None)),
    "method": (match(methods=["GET"]), asked(method=None)),
    "method in small letters": (match(methods=["GET"]), asked(method="get")),
    "method of odd letters": (match(methods=["GET"]), asked(method="GET,")),
    "host": (match(hosts=["a"]), asked(host=None)),
    "odd host": (match(hosts=["a"]), asked(host="a,b")),
    "empty host": (match(hosts=["a"]), asked(host="")),
}


@pytest.mark.parametrize(("needing", "request_"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_the_parts_that_any_rule_needs_must_be_known(
    needing: RequestMatch, request_: OriginalRequest
) -> None:
    """This holds even if an earlier rule does not need them."""
    assert routes(needing).find(request_) is Reason.REQUEST_UNKNOWN
    assert routes(match("/b"), match(), needing).find(request_) is Reason.REQUEST_UNKNOWN


def test_parts_that_no_rule_needs_may_be_unknown() -> None:
    """The path may be unknown if rules have only methods."""
    index = routes(match(methods=["POST"]), match(methods=["GET"]))
    assert index.find(OriginalRequest("GET")) == 1
    assert index.find(OriginalRequest("GET", "/a/../b")) == 1


def test_an_ambiguous_path_matches_no_rule_with_paths() -> None:
    """It matches no rule after one with paths, either, since that one could be meant. Earlier rules still match."""
    ambiguous = asked("/a%2fb", "GET")
    assert routes(match("/*")).find(ambiguous) is Reason.PATH_AMBIGUOUS
    assert routes(match("/*"), match()).find(ambiguous) is Reason.PATH_AMBIGUOUS
    assert routes(match(methods=["GET"]), match("/*")).find(ambiguous) == 0
    assert routes(match(methods=["POST"]), match("/*")).find(ambiguous) is Reason.PATH_AMBIGUOUS


RAW = {
    "an escaped slash below": ("/projects/a%2Fb", 1),
    "below the other": ("/projects%2Fa", Reason.PATH_AMBIGUOUS),
    "a reading that is another rule's": ("/projects//secret/x", Reason.PATH_AMBIGUOUS),
    "twice escaped": ("/projects/%2573ecret/x", Reason.PATH_AMBIGUOUS),
    "parameters": ("/projects/secret;x/y", Reason.PATH_AMBIGUOUS),
    "parameters elsewhere": ("/projects/a;x/y", 1),
    "dot segments": ("/projects/a/../b", Reason.PATH_AMBIGUOUS),
    "not UTF-8": ("/projects/%ff", 1),
    "another rule's path": ("/a%2fb", Reason.PATH_AMBIGUOUS),
    "a plain path": ("/projects/a", 1),
    "a plain path of the other": ("/projects/secret/x", 0),
}


@pytest.mark.parametrize(("path", "outcome"), RAW.values(), ids=RAW.keys())
def test_a_raw_rule_matches_if_it_is_first_in_both_readings(path: str, outcome: int | Reason) -> None:
    """The path as written and fully decoded must select the same rule."""
    index = routes(match("/projects/secret/*"), match("/projects/*", raw=True), match("/*"))
    assert index.find(asked(path)) == outcome


def test_a_raw_rule_without_paths_matches_any_path() -> None:
    """Except paths that select another rule in one reading, or that have no safe reading."""
    index = routes(match("/secret/*"), match(raw=True))
    assert index.find(asked("/a//b")) == 1
    assert index.find(asked("//secret/b")) is Reason.PATH_AMBIGUOUS
    assert index.find(asked("/a/%2e%2e/b")) is Reason.PATH_AMBIGUOUS


_SEGMENT = st.sampled_from(["a", "b", "ab", "*", "a*", "*b"])
_PATTERN = st.builds(
    lambda segments, below: "/" + "/".join(segments) + ("/*" if below else ""),
    st.lists(_SEGMENT, min_size=1, max_size=3),
    st.booleans(),
)
_RULE = st.builds(
    lambda paths, methods: match(*paths, methods=methods),
    st.lists(_PATTERN, max_size=2),
    st.none() | st.lists(st.sampled_from(["GET", "POST"]), min_size=1, max_size=2),
)


@given(
    st.lists(_RULE, max_size=8),
    st.lists(st.sampled_from(["a", "b", "ab", "c"]), max_size=4),
    st.sampled_from(["GET", "POST", "PUT"]),
    st.booleans(),
)
def test_the_index_agrees_with_a_linear_search(
    rules: list[RequestMatch], segments: list[str], method: str, slash: bool
) -> None:
    """It keeps the order of the rules."""
    path = "/" + "/".join(segments) + ("/" if slash and segments else "")
    expected = next(
        (
            number
            for number, rule in enumerate(rules)
            if (rule.methods is None or method in rule.methods)
            and (rule.paths is None or any(pattern.matches(path) for pattern in rule.paths))
        ),
        None,
    )
    assert routes(*rules).find(asked(path, method)) == expected


def test_a_long_path_is_looked_up_only_as_deep_as_the_rules() -> None:
    """Thousands of segments take no more time than the number that the deepest rule has."""
    index = routes(match("/a/b/*"), match("/a/*"))
    assert index.find(asked("/a" + "/b" * 4000)) == 0
    assert index._depth == 3
