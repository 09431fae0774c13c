"""Request paths: normalized once, and rejected if two servers could read them differently. Pure.

By RFC 3986, section 6.2.2, `/%41` and `/A` are the same path. Servers disagree about anything beyond that: escaped
slashes, dot segments, empty segments and parameters.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import unquote_to_bytes

_PLAIN = re.compile(r"(?:/[A-Za-z0-9\-_~!$&'()*+,=:@.]+)*/?")
# Escaped separators, which one server decodes and the next one splits at; and everything that is not a plain path.
_AMBIGUOUS = re.compile(r"[\\;#?]|//|%(?:2[Ff35]|3[BbFf]|5[Cc]|(?![0-9A-Fa-f]{2}))|[^\x21-\x7e]")
_SPECIAL: Final = frozenset("/\\;#?%")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_OVERLONG = re.compile(rb"[\xc0\xc1]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]")
_MAX_LAYERS: Final = 4
MAX_LENGTH: Final = 8192
"""The longest path, in characters as sent. Proxies accept this much by default; it also bounds the time to parse."""

_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_](?:[a-z0-9._-]{0,252}[a-z0-9_])?)\.?(?::[0-9]{0,5})?")


def is_plain(path: str) -> bool:
    """Return whether all servers read a path alike: no escapes, dot or empty segments, or unusual characters."""
    if not path or len(path) > MAX_LENGTH or _PLAIN.fullmatch(path) is None:
        return False
    return "/." not in path or not _has_dot_segment(path)


def plain_path(path: str) -> str | None:
    """Return a path without its escapes, or None if it is ambiguous or longer than `MAX_LENGTH`.

    `path` is as the client sent it, without the query.
    """
    if is_plain(path):
        return path
    if not path.startswith("/") or len(path) > MAX_LENGTH or _AMBIGUOUS.search(path) is not None:
        return None
    try:
        plain = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:  # includes overlong forms
        return None
    if not plain.isprintable() or _has_dot_segment(plain) or _folds_into_another(plain):
        return None
    return plain


def readings(path: str) -> tuple[str, str] | None:
    """Return two readings of an ambiguous path, as written and fully decoded, or None if it is unsafe.

    The first has only escapes of unreserved characters decoded (RFC 3986, section 6.2.2.2). The second is decoded until
    nothing changes, with slashes for backslashes and without parameters and empty segments. Dot segments and control
    characters are never safe, however they are escaped.
    """
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        return None
    if len(path) > MAX_LENGTH:
        return None
    eager = path
    for _ in range(_MAX_LAYERS):
        raw = unquote_to_bytes(eager)
        if _OVERLONG.search(raw) is not None:
            return None
        decoded = raw.decode(errors="replace")
        if decoded == eager:
            break
        eager = decoded
    else:
        return None
    if not eager.isprintable() or _folds_into_another(eager):
        return None
    segments = [segment.partition(";")[0] for segment in eager.replace("\\", "/").split("/")]
    if not {".", ".."}.isdisjoint(segments):
        return None
    merged = re.sub("/{2,}", "/", "/".join(segments))
    return _ESCAPE.sub(_unreserved, path), merged


def plain_host(host: str) -> str | None:
    """Return a host in lower case without port and final dot, or None if it is invalid (RFC 3986, section 3.2.2)."""
    match = _HOST.fullmatch(host.lower())
    return match[1] if match else None


def _unreserved(match: re.Match[str]) -> str:
    char = chr(int(match[1], 16))
    return char if char in _UNRESERVED else match[0].upper()


def _has_dot_segment(path: str) -> bool:
    return not {".", ".."}.isdisjoint(path.split("/"))


def _folds_into_another(path: str) -> bool:
    """Return whether a server that normalizes Unicode, such as a full-width slash, would read another path."""
    if path.isascii():
        return False
    folded = unicodedata.normalize("NFKC", path)
    changed = any(folded.count(char) != path.count(char) for char in _SPECIAL)
    return changed or _has_dot_segment(folded)
