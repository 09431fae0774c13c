"""Where requests have their token: one list for all issuers, unlike in other programs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from authgate.tools.convert.fields import Fields
    from authgate.tools.convert.results import Result

_HEADER: Final = re.compile(
    r"(?!(?i:authorization|connection|content-.*|cookie|expect|host|keep-alive|sec-websocket-protocol|te|trailer|"
    r"transfer-encoding|upgrade)$)[A-Za-z][A-Za-z0-9-]{0,63}"
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")

Location = tuple[str, str, str]
"""Where a token is: its kind (header, cookie or query), the name, and the word before the token in a header."""

BEARER: Final[Location] = ("header", "authorization", "Bearer")
UNKNOWN: Final[Location] = ("unknown", "", "")
"""A place that authgate cannot read."""


@dataclass(slots=True)
class Reader:
    """What reads tokens in the other program, from these places; they are empty if authgate cannot read all of them."""

    fields: Fields
    places: tuple[Location, ...]


def header_place(name: str, prefix: str) -> Location:
    """Return the place of a token in a header, after a prefix that ends in a space."""
    if prefix and not prefix.endswith(" "):
        return UNKNOWN
    return ("header", name.lower(), prefix.removesuffix(" "))


def known_places(places: Iterable[Location]) -> tuple[Location, ...]:
    """Return the places, `BEARER` if there are no places, or an empty tuple if authgate cannot read all of them."""
    found = tuple(dict.fromkeys(places)) or (BEARER,)
    return found if all(map(_is_known, found)) else ()


def _is_known(place: Location) -> bool:
    kind, name, scheme = place
    if place == BEARER:
        return True
    if place == UNKNOWN or (scheme and not _TOKEN.fullmatch(scheme)):
        return False
    return (_HEADER if kind == "header" else _TOKEN).fullmatch(name) is not None


def read_locations(result: Result, readers: Sequence[Reader], names: Iterable[str], usual: str) -> None:
    """Write where tokens are read; readers with other places lose them all.

    authgate reads the tokens of all issuers from the same places, so accepting several lists would accept more. `names`
    are the fields with places, and `usual` is a note for a reader without any.
    """
    lists = [frozenset(reader.places) for reader in readers if reader.places]
    chosen = max(lists, key=lists.count) if lists else frozenset((BEARER,))
    first = next((reader.places for reader in readers if frozenset(reader.places) == chosen), (BEARER,))
    result.credential = _credential(first)
    for reader in readers:
        given = [name for name in names if name in reader.fields]
        if frozenset(reader.places) != chosen:
            reader.places = ()
            where = " and ".join(given) or "the usual places"
            reader.fields.note(
                None,
                f"is omitted, because it reads tokens from {where}, and authgate reads all tokens from the same places:"
                " convert it separately",
            )
        elif not given and usual:
            reader.fields.note(None, usual)


def _credential(places: Iterable[Location]) -> dict[str, Any]:
    found = list(places)
    sources: list[dict[str, Any]] = []
    for place in found:
        kind, name, scheme = place
        if place != BEARER:
            sources.append({kind: name, "scheme": scheme} if scheme else {kind: name})
    section: dict[str, Any] = {} if BEARER in found else {"authorization": "ignore"}
    return {**section, "sources": sources} if sources else section
