"""Find the rule of a policy for a request: the first whose host, method and path match. Pure.

The rules are indexed by the fixed prefix of their paths, so a lookup takes about as long among a hundred rules as
among one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from authgate.errors import Reason
from authgate.policy.paths import plain_host, plain_path, readings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from authgate.model import OriginalRequest

T = TypeVar("T")

# Methods are case-sensitive (RFC 9110, section 9.1), but not for every framework, so `get` matches no rule.
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")


def is_plain_method(method: str | None) -> bool:
    """Return whether a method is known and in capitals, so that all servers read it the same way."""
    return method is not None and _METHOD.fullmatch(method) is not None


class PathPattern:
    """A path, exact or with stars. A star matches any text within its segment, `/*` at the end everything below.

    A segment that is only a star does not match an empty segment.
    """

    __slots__ = ("exact", "prefix", "rest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        head = text.removesuffix("/*")
        self.exact = "*" not in text
        self.prefix = text if self.exact else text[: text.index("*")].rpartition("/")[0] + "/"
        """The key in the index: the start of every matching path, or the whole path if it is exact."""
        self.rest: re.Pattern[str] | None = None
        """What the whole path must match, or None if the prefix is enough."""
        if "*" in head:
            parts = [_segment(segment) for segment in head.split("/")]
            self.rest = re.compile("/".join(parts) + ("" if head == text else "/.*"), re.DOTALL)

    def matches(self, path: str) -> bool:
        """Return whether the pattern matches a path without escapes."""
        if self.rest is not None:
            return self.rest.fullmatch(path) is not None
        return path == self.prefix if self.exact else path.startswith(self.prefix)


def _segment(text: str) -> str:
    if text == "*":
        return "[^/]+"
    return "[^/]*".join(re.escape(part) for part in text.split("*"))


class HostPatterns:
    """Exact hosts, and patterns such as `*.example.com`, which match every subdomain at any depth."""

    __slots__ = ("_exact", "_suffixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = [pattern.lower() for pattern in patterns]
        self._exact = frozenset(pattern for pattern in patterns if not pattern.startswith("*."))
        self._suffixes = tuple(pattern[1:] for pattern in patterns if pattern.startswith("*."))

    def match(self, host: str) -> bool:
        """Return whether one of them matches a host that `plain_host` returned."""
        return host in self._exact or (host.endswith(self._suffixes) and not host.startswith("."))


@dataclass(frozen=True, slots=True)
class RequestMatch:
    """Which requests a rule applies to. None matches everything.

    `raw` also matches an ambiguous path if this rule is the first match for both of its readings.
    """

    hosts: HostPatterns | None = None
    methods: frozenset[str] | None = None
    paths: tuple[PathPattern, ...] | None = None
    raw: bool = False

    def matches_target(self, method: str | None, host: str | None) -> bool:
        """Return whether method and host match. An unknown one does not match a rule that names any."""
        if self.methods is not None and method not in self.methods:
            return False
        return self.hosts is None or (host is not None and self.hosts.match(host))

    def matches_path(self, path: str) -> bool:
        """Return whether the path matches."""
        return self.paths is None or any(pattern.matches(path) for pattern in self.paths)


@dataclass(frozen=True, slots=True)
class _IndexEntry(Generic[T]):
    """A rule in the index, under the prefix of one of its paths."""

    order: int
    match: RequestMatch
    rest: re.Pattern[str] | None
    outcome: T


class Routes(Generic[T]):
    """Rules in order: each is a condition on the request and an outcome."""

    def __init__(self, rules: Sequence[tuple[RequestMatch, T]]) -> None:
        self._rules = tuple(rules)
        matches = [match for match, _ in rules]
        self.need_path = any(match.paths is not None for match in matches)
        self.need_host = any(match.hosts is not None for match in matches)
        self.need_method = any(match.methods is not None for match in matches)
        self._exact: defaultdict[str, list[_IndexEntry[T]]] = defaultdict(list)
        self._below: defaultdict[str, list[_IndexEntry[T]]] = defaultdict(list)
        for order, (match, outcome) in enumerate(rules):
            if match.paths is None:
                self._below[""].append(_IndexEntry(order, match, None, outcome))
            for pattern in match.paths or ():
                index = self._exact if pattern.exact else self._below
                index[pattern.prefix].append(_IndexEntry(order, match, pattern.rest, outcome))
        self._depth = max((prefix.count("/") for prefix in self._below), default=0)

    def find(self, request: OriginalRequest) -> T | Reason | None:
        """Return the outcome of the first rule that matches, None if no rule does, or why that is unknown.

        If the proxy did not send a part of the request that any rule needs, the result is `REQUEST_UNKNOWN`.
        """
        method, host, path = request.method, None, request.path
        if self.need_method and not is_plain_method(method):
            return Reason.REQUEST_UNKNOWN
        if self.need_host:
            host = None if request.host is None else plain_host(request.host)
            if host is None:
                return Reason.REQUEST_UNKNOWN
        if not self.need_path:
            return _outcome(_first(self._below[""], method, host, ""))
        if path is None:
            return Reason.REQUEST_UNKNOWN
        plain = plain_path(path)
        if plain is None:
            return self._find_ambiguous(method, host, path)
        return _outcome(self._find_plain(method, host, plain))

    def _find_plain(self, method: str | None, host: str | None, path: str) -> _IndexEntry[T] | None:
        below = self._below
        found = _first(self._exact.get(path, ()), method, host, path)
        end = 0
        for _ in range(
            self._depth + 1
        ):  # "", "/", "/a/", "/a/b/": every prefix that a rule for this path can have
            entries = below.get(path[:end])
            if entries is not None and (found is None or entries[0].order < found.order):
                other = _first(entries, method, host, path)
                if other is not None and (found is None or other.order < found.order):
                    found = other
            end = path.find("/", end) + 1
            if not end:
                break
        return found

    def _find_ambiguous(self, method: str | None, host: str | None, path: str) -> T | Reason:
        for match, outcome in self._rules:  # rules before the first one with paths apply to every path
            if match.paths is not None:
                break
            if match.matches_target(method, host):
                return outcome
        both = readings(path)
        if both is None:
            return Reason.PATH_AMBIGUOUS
        written, eager = both
        for order, (match, outcome) in enumerate(self._rules):
            if match.raw and match.matches_target(method, host) and match.matches_path(written):
                first = next(self._fitting(method, host, eager), None)
                return outcome if first == order else Reason.PATH_AMBIGUOUS
        return Reason.PATH_AMBIGUOUS

    def _fitting(self, method: str | None, host: str | None, path: str) -> Iterator[int]:
        for order, (match, _) in enumerate(self._rules):
            if match.matches_target(method, host) and match.matches_path(path):
                yield order


def _first(
    entries: Iterable[_IndexEntry[T]], method: str | None, host: str | None, path: str
) -> _IndexEntry[T] | None:
    for entry in entries:
        if entry.match.matches_target(method, host) and (entry.rest is None or entry.rest.fullmatch(path)):
            return entry
    return None


def _outcome(entry: _IndexEntry[T] | None) -> T | None:
    return None if entry is None else entry.outcome
