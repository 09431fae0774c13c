"""Build HTML from elements. Every text is escaped, unless it is an element itself."""

from __future__ import annotations

from html import escape
from typing import Final

from authgate.text import visible

_VOID: Final = frozenset({"br", "link", "meta", "wbr"})
_MAX_TEXT: Final = 500


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | int) -> Html:
    """Return an element. Children that are not elements become text.

    In attribute names, a trailing underscore is removed and others become hyphens: `class_`, `aria_label`.
    """
    written = "".join(
        f' {key.removesuffix("_").replace("_", "-")}="{text(str(value))}"'
        for key, value in attributes.items()
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{together(*children)}</{name}>")


def together(*children: str) -> Html:
    """Return elements and texts one after the other."""
    return Html("".join(child if isinstance(child, Html) else text(child) for child in children))


def text(value: str) -> Html:
    """Return a text of at most 500 characters as HTML. It cannot change the direction of the page's other texts."""
    shortened = value if len(value) <= _MAX_TEXT else value[: _MAX_TEXT - 1] + "…"
    return Html(escape(visible(shortened)))
