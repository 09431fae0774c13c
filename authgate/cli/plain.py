"""Options of the commands that must answer at once, read by the standard library.

Typer converts option values with pydantic, whose import takes longer than all that these commands do.
"""

from __future__ import annotations

import inspect
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

UNPARSED: Final[dict[str, Any]] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}
"""Context settings of a command that is handed its arguments as they are, `--help` among them."""


def plain_parser(command: Callable[..., None]) -> ArgumentParser:
    """Return a parser with the help of a command's docstring; it ends the process with 2 on wrong usage."""
    return ArgumentParser(
        f"authgate {command.__name__}",
        description=inspect.getdoc(command),
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
