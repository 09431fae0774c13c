"""What other parsers could read as a value of a credential source, though this gate does not. Pure.

Frameworks disagree about cookies and queries: where one pair ends, whether names are decoded, and whether case counts.
An app that reads a second token in a request would act for somebody whom the gate never verified. So these functions
answer generously: a name that some parser could read is a lookalike, and the request is refused.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COOKIE_SEPARATORS: Final = ";,\"'\\"
"""What ends a cookie for one parser or another, beside white space (RFC 2965, RFC 6265, Python's http.cookies)."""
URI_SEPARATORS: Final = COOKIE_SEPARATORS + "&?#"
"""What ends a parameter for one parser or another, in a query or in a path that is decoded too early."""

# PHP reads each of these in a name as an underscore; "[" also begins an index, and in some query parsers "." does.
_PHP: Final = str.maketrans(" .[", "___")
_INDEX: Final = re.compile(r"[\[\].]")
_BRACKETS: Final = re.compile(r"[\[\]]")
_ENCODED: Final = re.compile(rb"[^\x20-\x24\x26-\x2a\x2c-\x7e]")  # not plain ASCII, "%" or "+"
_MAY_END_NAME: Final = re.compile(rb"[\[.%]")  # an index, or something encoded that could be one
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
    """Finds what could be read as one of `names`; `separators` end a pair, as white space and control characters do."""

    def __init__(self, names: Iterable[bytes], separators: str) -> None:
        self._names = frozenset(_folded(name.decode("ascii")).translate(_PHP) for name in names)
        self._separators = re.compile(f"[{re.escape(separators)}]")
        # No cookie parser takes "." for an index, and Koa signs each cookie `at` in another one, `at.sig`.
        self._index = _INDEX if "?" in separators else _BRACKETS
        self._joins_pairs = "?" in separators

    def found_in(self, pairs: Sequence[bytes]) -> bool:
        """Return whether a parser could find a value for one of the names in these pairs, which none of them names.

        More than 1,000 names, or 32 that are not printable ASCII after decoding, count as found: each costs time.
        """
        # Whatever a parser takes for a name is followed by an equals sign.
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
        """Return whether the text, or what follows a separator in it, is one of the names for some parser.

        A name ends with the text, or at an index, which may itself hold what separates names for other parsers.
        """
        folded = _folded(text)
        pieces = self._separators.sub(" ", folded).split()
        indexed = (piece for piece in pieces if self._index.search(piece))
        return any(
            not self._names.isdisjoint(_readings(name, self._index))
            for name in (folded.strip(), *pieces[-1:], *indexed)
        )


def _names_across(pairs: Sequence[bytes]) -> list[bytes]:
    """Return how names begin for parsers that end a parameter only at ";" or ",", so that "&" is part of a name.

    Only an index ends the name before the "&": they read "at[&x=1" as a value of "at".
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
    """Return whether a field's name differs from the lower-case `name` only in how CGI and WSGI do not see.

    For them, `X_Token`, `X.Token` and `X-Token` are the same variable.
    """
    seen = name.translate(_FIELD)
    return any(
        len(field) == len(name) and field.translate(_FIELD) == seen and field.lower() != name
        for field in fields
    )


def _folded(text: str) -> str:
    """Return the text in one case and one form of each character; what no parser prints becomes a space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char if char.isprintable() else " " for char in folded)


def _readings(name: str, index: re.Pattern[str]) -> set[str]:
    bare = name.lstrip("$[ ").rstrip("] ")
    return {bare.translate(_PHP), index.split(bare, maxsplit=1)[0].strip().translate(_PHP)}


def _decoded(text: bytes) -> str | None:
    """Return an encoded name in plain text, or None if it is encoded more than three times."""
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
