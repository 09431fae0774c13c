"""What every command needs to print: exit statuses, errors, and text that cannot play tricks on a terminal."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

FAILED: Final = 1
USAGE: Final = 2
DENIED: Final = 3


class Output(StrEnum):
    """How a result is printed."""

    TEXT = "text"
    JSON = "json"


OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="For people (text) or for scripts (json).")
]


def complain(message: str) -> None:
    """Print one line to standard error."""
    print(f"authgate: {visible(message)}", file=sys.stderr)


def fail(message: str, status: int = FAILED) -> NoReturn:
    """Print one line to standard error and end with `status`."""
    complain(message)
    raise typer.Exit(status)


def print_json(value: object) -> None:
    """Print a value as JSON in ASCII, so that nothing in it reaches a terminal raw."""
    print(json.dumps(value, indent=2, allow_nan=False))


def visible(text: str) -> str:
    """Return text with everything escaped that a terminal would not print as a character of its own.

    Control characters could move the cursor or change the title, others the direction of reading.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def console() -> Console:
    """Return standard output in colours where it is a terminal and NO_COLOR is not set."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def print_rows(out: Console, rows: Iterable[tuple[str, str]], *, style: str | None = None) -> None:
    """Print names and values in two columns, escaped."""
    from rich.text import Text

    shown = [(visible(name), visible(value)) for name, value in rows]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        out.print(Text.assemble("  ", (name.ljust(width), "cyan"), "  ", (value, style or "")))
