"""Shared by all commands: exit statuses, errors, safe terminal output, and option parsing without Typer."""

from __future__ import annotations

import difflib
import inspect
import json
import sys
import textwrap
from argparse import ArgumentParser, HelpFormatter
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from authgate.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rich.console import Console

FAILED: Final = 1
USAGE: Final = 2
DENIED: Final = 3

# Typer converts option values with pydantic, whose import takes longer than a short command takes to run.
UNPARSED: Final[dict[str, Any]] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}
"""Context settings of a command that parses its own arguments, including --help."""


class Output(StrEnum):
    """The output format."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="text for people, json or yaml for scripts.")
]


def complain(message: str) -> None:
    """Print one line to standard error."""
    print(f"authgate: {visible(message)}", file=sys.stderr)


def fail(message: str, status: int = FAILED) -> NoReturn:
    """Print one line to standard error and end with `status`."""
    complain(message)
    raise typer.Exit(status)


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
    close = difflib.get_close_matches(name, list(known), n=1)
    return f". Did you mean '{close[0]}'?" if close else ""


class _Parser(ArgumentParser):
    """A parser that suggests the nearest option instead of an unknown one."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = (name for action in self._actions for name in action.option_strings)
            hint = did_you_mean(unknown[0].partition("=")[0], known)
            self.error(f"unrecognized arguments: {visible(' '.join(unknown))}{hint}")
        return parsed


def plain_parser(command: Callable[..., None]) -> ArgumentParser:
    """Return a parser with a command's docstring as its help; it ends the process with status 2 on wrong usage."""
    return _Parser(
        f"authgate {command.__name__}",
        description=inspect.getdoc(command),
        formatter_class=_Paragraphs,
        allow_abbrev=False,
    )


class _Paragraphs(HelpFormatter):
    """Wraps each paragraph of a description at the terminal's width."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            textwrap.fill(" ".join(paragraph.split()), width, initial_indent=indent, subsequent_indent=indent)
            for paragraph in text.split("\n\n")
        )
