"""The configuration as every command takes it: a file, the environment and flags; and how its problems are printed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authgate.cli.terminal import FAILED, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from authgate.config import LoadedConfig, Problem

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        envvar="AUTHGATE_CONFIG",
        help="The configuration file; AUTHGATE_… variables win over it and may be all there is.",
        show_default=False,
    ),
]
ListenOption = Annotated[
    list[str] | None,
    typer.Option(
        "--listen",
        metavar="ADDRESS",
        help="Where /verify is served: host:port or unix:/path; may be repeated.",
        show_default=False,
    ),
]
AdminOption = Annotated[
    str | None,
    typer.Option(
        "--admin",
        metavar="ADDRESS",
        help="Where metrics and probes are served; null: nowhere.",
        show_default=False,
    ),
]


def load_or_fail(path: Path | None, flags: Mapping[str, object] | None = None) -> LoadedConfig:
    """Return the configuration in effect, or print every problem of it and end the command."""
    from authgate.config import ConfigError, load

    try:
        return load(path, os.environ, flags or {})
    except ConfigError as error:
        print_problems(error.problems)
        raise typer.Exit(FAILED) from None


def print_problems(problems: Iterable[Problem], label: str = "") -> None:
    """Print problems to standard error, one a line; an expression's place is shown on lines of its own."""
    for problem in problems:
        print(label + "\n".join(map(visible, str(problem).split("\n"))), file=sys.stderr)
