"""How a server's words get into messages: bounded, printable, and without any token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DETAIL: Final = 200
"""Characters of a message that are kept."""

_MIN_PART: Final = 8


def clean(text: str, secrets: Iterable[str | None] = ()) -> str:
    """Return `text` without `secrets`, on one line, printable, and of at most 200 characters.

    Of a secret each of its dot-separated parts goes, too: a JWT's payload alone tells who somebody is.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[token]")
            for part in secret.split("."):
                text = text.replace(part, "[token]") if len(part) >= _MIN_PART else text
    printable = "".join(character if character.isprintable() else " " for character in text)
    words = " ".join(printable.split())
    return words if len(words) <= MAX_DETAIL else words[: MAX_DETAIL - 1] + "…"
