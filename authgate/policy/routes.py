"""Which rule of a policy a request falls under: the first whose host, method and path fit. Pure.

The rules are sorted into an index by their paths' fixed beginnings when they are made, so that finding one costs about
the same among a hundred as among one.
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

# Methods are case-sensitive (RFC 9110, section 9.1), but not to every framework: `get` is nobody's to guess about.
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")


def is_plain_method(method: str | None) -> bool:
    """Tell whether a method is known, and written so that every server reads it alike: in capitals."""
    return method is not None and _METHOD.fullmatch(method) is not None


class PathPattern:
    """A path, exact or with stars: one stands for any text within its segment, `/*` at the end for all that is below.

    A segment that is nothing but a star is not empty.
    """

    __slots__ = ("beginning", "exact", "rest")

    def __init__(self, text: str) -> None:
        head = text.removesuffix("/*")
        self.exact = "*" not in text
        self.beginning = text if self.exact else text[: text.index("*")].rpartition("/")[0] + "/"
        """Where the pattern stands in the index: what each of its paths begins with, or is."""
        self.rest: re.Pattern[str] | None = None
        """What the whole path must be besides, None where its beginning says all."""
        if "*" in head:
            parts = [_segment(segment) for segment in head.split("/")]
            self.rest = re.compile("/".join(parts) + ("" if head == text else "/.*"), re.DOTALL)

    def matches(self, path: str) -> bool:
        """Tell whether a path without escapes is one of these."""
        if self.rest is not None:
            return self.rest.fullmatch(path) is not None
        return path == self.beginning if self.exact else path.startswith(self.beginning)


def _segment(text: str) -> str:
    if text == "*":
        return "[^/]+"
    return "[^/]*".join(re.escape(part) for part in text.split("*"))


class HostPatterns:
    """Hosts, exact ones and such as `*.example.com`, which stands for every name below, at any depth."""

    __slots__ = ("_exact", "_suffixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = [pattern.lower() for pattern in patterns]
        self._exact = frozenset(pattern for pattern in patterns if not pattern.startswith("*."))
        self._suffixes = tuple(pattern[1:] for pattern in patterns if pattern.startswith("*."))

    def match(self, host: str) -> bool:
        """Tell whether a host, as `plain_host` gives it, is one of these."""
        return host in self._exact or (host.endswith(self._suffixes) and not host.startswith("."))


@dataclass(frozen=True, slots=True)
class RequestMatch:
    """What a request must be for a rule to decide about it; what is None may be anything.

    `raw` takes paths that two servers could read in two ways, where this rule is the one for both readings.
    """

    hosts: HostPatterns | None = None
    methods: frozenset[str] | None = None
    paths: tuple[PathPattern, ...] | None = None
    raw: bool = False

    def fits(self, method: str | None, host: str | None) -> bool:
        """Tell whether method and host fit; those that a rule names have to be known."""
        if self.methods is not None and method not in self.methods:
            return False
        return self.hosts is None or (host is not None and self.hosts.match(host))

    def takes(self, path: str) -> bool:
        """Tell whether the path fits."""
        return self.paths is None or any(pattern.matches(path) for pattern in self.paths)


@dataclass(frozen=True, slots=True)
class _Place(Generic[T]):
    """A rule as it stands in the index, below one of its paths' beginnings."""

    order: int
    match: RequestMatch
    rest: re.Pattern[str] | None
    outcome: T


class Routes(Generic[T]):
    """Rules in their order, each a condition on the request and what it leads to."""

    def __init__(self, rules: Sequence[tuple[RequestMatch, T]]) -> None:
        self._rules = tuple(rules)
        matches = [match for match, _ in rules]
        self.need_path = any(match.paths is not None for match in matches)
        self.need_host = any(match.hosts is not None for match in matches)
        self.need_method = any(match.methods is not None for match in matches)
        self._exact: defaultdict[str, list[_Place[T]]] = defaultdict(list)
        self._below: defaultdict[str, list[_Place[T]]] = defaultdict(list)
        for order, (match, outcome) in enumerate(rules):
            if match.paths is None:
                self._below[""].append(_Place(order, match, None, outcome))
            for pattern in match.paths or ():
                index = self._exact if pattern.exact else self._below
                index[pattern.beginning].append(_Place(order, match, pattern.rest, outcome))
        self._depth = max((beginning.count("/") for beginning in self._below), default=0)

    def find(self, request: OriginalRequest) -> T | Reason | None:
        """Return what the first rule that fits leads to, None where none does, or why that cannot be told.

        What a rule needs and the proxy did not tell is `REQUEST_UNKNOWN`, whichever rule comes first: nothing is
        guessed.
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
            return self._of_ambiguous(method, host, path)
        return _outcome(self._of_plain(method, host, plain))

    def _of_plain(self, method: str | None, host: str | None, path: str) -> _Place[T] | None:
        below = self._below
        found = _first(self._exact.get(path, ()), method, host, path)
        end = 0
        for _ in range(self._depth + 1):  # "", "/", "/a/", "/a/b/": what a rule for this path may begin with
            places = below.get(path[:end])
            if places is not None and (found is None or places[0].order < found.order):
                other = _first(places, method, host, path)
                if other is not None and (found is None or other.order < found.order):
                    found = other
            end = path.find("/", end) + 1
            if not end:
                break
        return found

    def _of_ambiguous(self, method: str | None, host: str | None, path: str) -> T | Reason:
        for match, outcome in self._rules:  # those before the first that looks at the path cannot be evaded
            if match.paths is not None:
                break
            if match.fits(method, host):
                return outcome
        both = readings(path)
        if both is None:
            return Reason.PATH_AMBIGUOUS
        written, eager = both
        for order, (match, outcome) in enumerate(self._rules):
            if match.raw and match.fits(method, host) and match.takes(written):
                first = next(self._fitting(method, host, eager), None)
                return outcome if first == order else Reason.PATH_AMBIGUOUS
        return Reason.PATH_AMBIGUOUS

    def _fitting(self, method: str | None, host: str | None, path: str) -> Iterator[int]:
        for order, (match, _) in enumerate(self._rules):
            if match.fits(method, host) and match.takes(path):
                yield order


def _first(places: Iterable[_Place[T]], method: str | None, host: str | None, path: str) -> _Place[T] | None:
    for place in places:
        if place.match.fits(method, host) and (place.rest is None or place.rest.fullmatch(path)):
            return place
    return None


def _outcome(place: _Place[T] | None) -> T | None:
    return None if place is None else place.outcome
