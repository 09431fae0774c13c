"""Regular expressions and other path patterns of other programs, as paths of rules.

Each function returns the patterns that match the same decoded paths, or fewer, and None if a rule cannot have them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from authgate.tools.convert.results import plain_path

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_PATTERNS: Final = 64
_LITERAL: Final = re.compile(r"[A-Za-z0-9_~@=:,!&/ -]|\\[^A-Za-z0-9*\x00]")  # a star in a path is a pattern
_START: Final = re.compile(r"\^?((?:(?:[^\\.^$*+?{}\[\]|()]|\\[^A-Za-z0-9*\x00])(?![*+?{]))*)")
_ATOM: Final = re.compile(r"\\.|\[\^?\]?[^\]]*\]")
_INNER: Final = re.compile(r"\([^()]*\)")
_UNESCAPE: Final = re.compile(r"\\(.)")
_GROUP: Final = re.compile(r"\((?:\?:)?([^()]*)\)")


def exact_path(path: str) -> list[str] | None:
    """Return the pattern of one path."""
    return [path] if plain_path(path) else None


def below(prefix: str) -> list[str] | None:
    """Return the patterns of every path that begins with a prefix, which need not end at a slash."""
    if prefix in ("", "/"):
        return ["/*"]
    if not plain_path(prefix):
        return None
    return [f"{prefix}*"] if prefix.endswith("/") else [f"{prefix}*", f"{prefix}*/*"]


def of_regex(pattern: str, *, whole: bool = False) -> list[str] | None:
    """Return the patterns of an RE2 expression that begins with `^` and a slash.

    It can have escapes, alternatives of plain texts, `[^/]+` for a segment, and `.*` at its end. `whole` means that the
    expression must match the whole path, even without `^` and `$`.
    """
    if pattern.startswith("^"):
        pattern = pattern[1:]
    elif not whole and not pattern.startswith("/"):
        return None
    ends = whole
    if pattern.endswith("$") and not pattern.endswith("\\$"):
        pattern, ends = pattern[:-1], True
    open_end = not ends
    if pattern.endswith(".*"):
        pattern, open_end = pattern[:-2], True
    texts: list[str] = [""]
    while pattern:
        found, pattern = _next(pattern)
        if found is None or len(texts) * len(found) > _MAX_PATTERNS:
            return None
        texts = [text + part for text in texts for part in found]
    patterns: list[str] = []
    for text in texts:
        made = _patterns(text, open_end)
        if made is None:
            return None
        patterns += made
    return list(dict.fromkeys(patterns))


def start_of(pattern: str) -> str:
    """Return the fixed text at the start of every path that an RE2 expression for whole paths matches."""
    plain = _ATOM.sub("", pattern)
    while plain != (plain := _INNER.sub("", plain)):
        pass
    found = _START.match(pattern)
    return "" if found is None or "|" in plain else _UNESCAPE.sub(r"\1", found[1])


_SEGMENT: Final = "\x00"


def _next(pattern: str) -> tuple[list[str] | None, str]:
    """Return the texts that the beginning of an expression matches, and the rest of it."""
    for segment in ("[^/]+", "[^/]*"):
        if pattern.startswith(segment):
            return [_SEGMENT if segment.endswith("+") else "*"], pattern[len(segment) :]
    if group := _GROUP.match(pattern):
        options = [_literals(option) for option in group[1].split("|")]
        rest = pattern[group.end() :]
        texts = None if None in options else [text for text in options if text is not None]
    elif literal := _LITERAL.match(pattern):
        texts, rest = [literal[0].removeprefix("\\")], pattern[literal.end() :]
    else:
        return None, ""
    if rest.startswith("?") and texts is not None:
        return ["", *texts], rest[1:]
    return (None, "") if rest[:1] in ("*", "+", "{") else (texts, rest)


def _literals(text: str) -> str | None:
    plain = ""
    while text:
        literal = _LITERAL.match(text)
        if literal is None:
            return None
        plain, text = plain + literal[0].removeprefix("\\"), text[literal.end() :]
    return plain


def _patterns(text: str, open_end: bool) -> list[str] | None:
    segments = text.split("/")
    stars = [segment for segment in segments if _SEGMENT in segment or "*" in segment]
    if any(segment != _SEGMENT and (_SEGMENT in segment or segment.count("*") > 1) for segment in stars):
        return None
    shown = text.replace(_SEGMENT, "*")
    if not plain_path(shown.replace("*", "x")) or (segments[-1] in stars and open_end):
        return None
    if segments[-1] in (_SEGMENT, "*"):  # a star that is the last segment matches everything below
        return None
    return below_pattern(shown) if open_end else [shown]


def below_pattern(prefix: str) -> list[str]:
    """Return the patterns of every path that begins with a prefix, which can have stars before its last segment."""
    if prefix in ("", "/"):
        return ["/*"]
    return [f"{prefix}*"] if prefix.endswith("/") else [f"{prefix}*", f"{prefix}*/*"]


def overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether a request can match the hosts, methods and paths of two rules, or may do so."""
    methods = [set(rule["methods"]) for rule in (one, other) if "methods" in rule]
    if len(methods) == 2 and methods[0].isdisjoint(methods[1]):
        return False
    for name, meets in (("hosts", _hosts_meet), ("paths", _paths_meet)):
        if name in one and name in other and not any(meets(a, b) for a in one[name] for b in other[name]):
            return False
    return True


def covers(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether the hosts and paths of a rule include those of another one; it may be false if they do."""
    if "hosts" in one and not set(one["hosts"]) >= set(other.get("hosts", ("",))):
        return False
    return "paths" not in one or all(
        any(path == wide or _is_below(path, wide) for wide in one["paths"])
        for path in other.get("paths", ("",))
    )


def _is_below(path: str, wide: str) -> bool:
    return wide.endswith("/*") and "*" not in wide[:-1] and path.startswith(wide[:-1])


def _hosts_meet(one: str, other: str) -> bool:
    for a, b in ((one, other), (other, one)):
        if a.startswith("*.") and b.removeprefix("*").endswith(a[1:]):
            return True
    return one == other


def _paths_meet(one: str, other: str) -> bool:
    ours, theirs = one.split("/")[1:], other.split("/")[1:]
    for a, b in ((ours, theirs), (theirs, ours)):
        if a[-1] == "*" and len(b) >= len(a):
            return all(map(_segments_meet, a[:-1], b))
    return len(ours) == len(theirs) and all(map(_segments_meet, ours, theirs))


def _segments_meet(one: str, other: str) -> bool:
    """Return whether a text can match two segments with at most one star each."""
    if "*" not in one and "*" not in other:
        return one == other
    heads = one.partition("*")[0], other.partition("*")[0]
    tails = one.rpartition("*")[2], other.rpartition("*")[2]
    starts = heads[0].startswith(heads[1]) or heads[1].startswith(heads[0])
    return starts and (tails[0].endswith(tails[1]) or tails[1].endswith(tails[0]))
