"""Shared by all commands: exit statuses, errors, and safe terminal output.

`serve` uses this module without Typer, so Typer is not imported here.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NoReturn

from authgate.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console

FAILED: Final = 1
USAGE: Final = 2
DENIED: Final = 3


class Output(StrEnum):
    """The output format."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


def complain(message: str) -> None:
    """Print one line to standard error."""
    print(f"authgate: {visible(message)}", file=sys.stderr)


def fail(message: str, status: int = FAILED) -> NoReturn:
    """Print one line to standard error and end with `status`."""
    complain(message)
    sys.exit(status)


def print_json(value: object) -> None:
    """Print a value as ASCII JSON, so that a terminal interprets nothing in it."""
    print(json.dumps(value, indent=2, allow_nan=False))


def print_data(value: Mapping[str, object], output: Output) -> None:
    """Print a value as JSON or YAML, both in ASCII."""
    if output is not Output.YAML:
        print_json(value)
        return
    from authgate.tools.yaml_text import yaml_text

    print(yaml_text(value), end="")


def counted(number: int, thing: str) -> str:
    """Return a number of things in words: `no problems`, `1 problem`, `2 problems`."""
    return f"1 {thing}" if number == 1 else f"{number or 'no'} {thing}s"


def console(*, stderr: bool = False) -> Console:
    """Return standard output or standard error, with colours if it is a terminal and NO_COLOR is not set."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def print_rows(out: Console, rows: Iterable[tuple[str, str]], *, style: str | None = None) -> None:
    """Print escaped names and values in two columns."""
    from rich.text import Text

    shown = [(visible(name), visible(value)) for name, value in rows]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        out.print(Text.assemble("  ", (name.ljust(width), "cyan"), "  ", (value, style or "")))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `. Did you mean 'X'?` with the known name that is nearest to a wrong one, or "" if no name is near."""
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1)
    return f". Did you mean '{close[0]}'?" if close else ""
