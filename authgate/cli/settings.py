"""Options that several commands share, and how the problems of a configuration are printed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from authgate.cli.terminal import FAILED, Output, console
from authgate.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from authgate.config import LoadedConfig, Problem

_STYLES: Final = {"warning": "bold yellow", "note": "bold blue", "problem": "bold red"}

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE|-",
        envvar="AUTHGATE_CONFIG",
        help="The configuration file, or - for standard input. AUTHGATE_… variables override it, and can replace it.",
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


OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="text for people, json or yaml for scripts.")
]
TokenArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE|-",
        help="The file that holds the token. Without it, or with -: standard input.",
        show_default=False,
    ),
]


def load_or_fail(path: Path | None, flags: Mapping[str, object] | None = None) -> LoadedConfig:
    """Return the effective configuration, or print its problems and exit."""
    from authgate.config import ConfigError, load

    try:
        return load(path, os.environ, flags or {})
    except ConfigError as error:
        print_problems(error.problems, path)
        raise typer.Exit(FAILED) from None


def print_problems(problems: Iterable[Problem], file: Path | str | None = None, label: str = "") -> None:
    """Print problems to standard error as `file:line: label: path: message`, in colour on a terminal.

    Each is on one line; the caret of an expression is on further lines.
    """
    from rich.text import Text

    from authgate.config.models.files import input_name

    out = console(stderr=True)
    name = None if file is None else input_name(file)
    for problem in problems:
        place = "" if problem.line is None or name is None else f"{name}:{problem.line}: "
        path = "" if place and problem.path == name else f"{problem.path}: "
        if problem.line is not None and name is None:
            path = f"{problem.path} (line {problem.line}): "
        sentence = "\n".join(map(visible, problem.sentence.split("\n")))
        kind = (f"{label}: ", _STYLES[label]) if label else ""
        out.print(Text.assemble((visible(place), "bold"), kind, (visible(path), "cyan"), sentence))
