"""Find names that other parsers could read as a credential source although authgate does not. Pure.

Frameworks disagree about cookies and queries: where one pair ends, whether names are decoded, and whether case matters.
An app that reads a second token in a request would act for an identity that authgate never verified. So every name that
some parser could read as the source's is a lookalike, and the request is rejected.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COOKIE_SEPARATORS: Final = ";,\"'\\"
"""Characters that end a cookie for at least one parser (RFC 2965, RFC 6265, Python's http.cookies)."""
URI_SEPARATORS: Final = COOKIE_SEPARATORS + "&?#"
"""Characters that end a parameter for at least one parser, in a query or in a path that is decoded too early."""

# PHP replaces each of these in a name with an underscore; "[" also starts an index, and "." does in some query parsers.
_PHP: Final = str.maketrans(" .[", "___")
_INDEX: Final = re.compile(r"[\[\].]")
_BRACKETS: Final = re.compile(r"[\[\]]")
_ENCODED: Final = re.compile(rb"[^\x20-\x24\x26-\x2a\x2c-\x7e]")  # not plain ASCII, "%" or "+"
_MAY_END_NAME: Final = re.compile(rb"[\[.%]")  # an index, or something encoded that could be an index
_SEMICOLON_OR_COMMA: Final = re.compile(rb"[;,]")
_UNICODE_ESCAPE: Final = re.compile(rb"%[uU]([0-9A-Fa-f]{4})")
_MAX_ROUNDS = 3
_MAX_NAMES = 1000
_MAX_FOREIGN_NAMES = 32
_MAX_NAME_BYTES = 512  # the longest name of a source, each character encoded three times
_FIELD: Final = (
    bytes(byte if chr(byte).isalnum() else 0x2D for byte in bytes(range(128)).lower()) + b"-" * 128
)


class Lookalikes:
    """Finds lookalikes of `names`. `separators` end a pair, as do white space and control characters."""

    def __init__(self, names: Iterable[bytes], separators: str) -> None:
        self._names = frozenset(_folded(name.decode("ascii")).translate(_PHP) for name in names)
        self._separators = re.compile(f"[{re.escape(separators)}]")
        # No cookie parser reads "." as an index, and Koa puts the signature of a cookie `at` into `at.sig`.
        self._index = _INDEX if "?" in separators else _BRACKETS
        self._joins_pairs = "?" in separators

    def found_in(self, pairs: Sequence[bytes]) -> bool:
        """Return whether a parser could find a value for one of the names in these pairs.

        To limit the time, also return True for more than 1,000 names, or more than 32 that are not printable ASCII
        after decoding.
        """
        # For every parser, a name is followed by an equals sign.
        if sum(pair.count(b"=") for pair in pairs) > _MAX_NAMES:
            return True
        names = [name for pair in pairs for name in pair.split(b"=")[:-1]]
        if self._joins_pairs:
            names += _names_across(pairs)
        foreign = 0
        for name in names:
            if _ENCODED.search(name) is None:
                if self._could_name_plainly(name.decode("ascii")):
                    return True
                continue
            decoded = _decoded(name[-_MAX_NAME_BYTES:])
            if decoded is None:
                return True
            if decoded.isascii() and decoded.isprintable():
                # jQuery and many others encode each bracket: `columns%5B0%5D%5Bdata%5D`.
                if any(self._could_name_plainly(part) for part in decoded.split("=")):
                    return True
                continue
            foreign += 1
            if foreign > _MAX_FOREIGN_NAMES or self._could_name_decoded(decoded):
                return True
        return len(names) > _MAX_NAMES

    def _could_name_plainly(self, text: str) -> bool:
        folded = text.lower().translate(_PHP)
        return any(name in folded for name in self._names) and self._could_name(text)

    def _could_name_decoded(self, decoded: str) -> bool:
        # Some parsers end a name at NUL or at an escaped equals sign, others drop control characters.
        readings = (
            *decoded.split("="),
            decoded.partition("\x00")[0],
            "".join(char for char in decoded if char.isprintable()),
        )
        return any(self._could_name(reading) for reading in readings)

    def _could_name(self, text: str) -> bool:
        """Return whether some parser reads the text, or its part after a separator, as one of the names.

        A name ends with the text or at an index. An index may itself contain separators of other parsers.
        """
        folded = _folded(text)
        pieces = self._separators.sub(" ", folded).split()
        indexed = (piece for piece in pieces if self._index.search(piece))
        return any(
            not self._names.isdisjoint(_readings(name, self._index))
            for name in (folded.strip(), *pieces[-1:], *indexed)
        )


def _names_across(pairs: Sequence[bytes]) -> list[bytes]:
    """Return the start of names for parsers that end a parameter only at ";" or ",", so that "&" is part of a name.

    Only an index ends such a name before the "&": these parsers read "at[&x=1" as a value of "at".
    """
    tails = []
    for pair in pairs[:-1]:
        _, equals, tail = pair.rpartition(b"=")
        if equals:
            _, _, tail = _SEMICOLON_OR_COMMA.sub(b";", tail).partition(b";")
        if _MAY_END_NAME.search(tail):
            tails.append(tail)
    return tails


def lookalike_field(fields: Iterable[bytes], name: bytes) -> bool:
    """Return whether CGI or WSGI would read another header as the one with the lower-case `name`.

    For them, `X_Token`, `X.Token` and `X-Token` are the same variable.
    """
    seen = name.translate(_FIELD)
    return any(
        len(field) == len(name) and field.translate(_FIELD) == seen and field.lower() != name
        for field in fields
    )


def _folded(text: str) -> str:
    """Return the text in one case and normal form, with spaces for characters that are not printable."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char if char.isprintable() else " " for char in folded)


def _readings(name: str, index: re.Pattern[str]) -> set[str]:
    bare = name.lstrip("$[ ").rstrip("] ")
    return {bare.translate(_PHP), index.split(bare, maxsplit=1)[0].strip().translate(_PHP)}


def _decoded(text: bytes) -> str | None:
    """Decode a name, or return None if it is encoded more than three times."""
    for _ in range(_MAX_ROUNDS):
        escaped = _UNICODE_ESCAPE.sub(_as_utf8, text.replace(b"+", b" "))
        plain = unquote_to_bytes(escaped)
        if plain == text:
            break
        text = plain
    else:
        if b"%" in text and unquote_to_bytes(text) != text:
            return None
    return text.decode("utf-8", "surrogateescape")


def _as_utf8(match: re.Match[bytes]) -> bytes:
    return chr(int(match[1], 16)).encode("utf-8", "surrogatepass")
