"""The options that choose a configuration, and how its problems are printed."""

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
        help="The configuration file. AUTHGATE_… variables override it, and can replace it.",
        show_default=False,
    ),
]
ListenOption = Annotated[
    list[str] | None,
    typer.Option(
        "--listen",
        metavar="ADDRESS",
        help="The address of /verify: host:port or unix:/path. Can be repeated.",
        show_default=False,
    ),
]
AdminOption = Annotated[
    str | None,
    typer.Option(
        "--admin",
        metavar="ADDRESS",
        help="The address of metrics and probes; null for none.",
        show_default=False,
    ),
]


def load_or_fail(path: Path | None, flags: Mapping[str, object] | None = None) -> LoadedConfig:
    """Return the effective configuration, or print its problems and exit."""
    from authgate.config import ConfigError, load

    try:
        return load(path, os.environ, flags or {})
    except ConfigError as error:
        print_problems(error.problems)
        raise typer.Exit(FAILED) from None


def print_problems(problems: Iterable[Problem], label: str = "") -> None:
    """Print problems to standard error, one on each line; the caret of an expression is on further lines."""
    for problem in problems:
        print(label + "\n".join(map(visible, str(problem).split("\n"))), file=sys.stderr)
