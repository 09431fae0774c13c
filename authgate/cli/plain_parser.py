"""Parse the options of short commands without Typer."""

from __future__ import annotations

import inspect
import textwrap
from argparse import ArgumentParser, HelpFormatter
from typing import TYPE_CHECKING, Any, Final

from authgate.cli.terminal import did_you_mean
from authgate.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

# Typer converts option values with pydantic, whose import takes longer than a short command takes to run.
UNPARSED: Final[dict[str, Any]] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}
"""Context settings of a command that parses its own arguments, including --help."""


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
