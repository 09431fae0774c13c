"""`authgate check`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authgate.cli.settings import ConfigOption, OutputOption, print_problems
from authgate.cli.terminal import FAILED, USAGE, Output, fail, print_data

if TYPE_CHECKING:
    from authgate.config import LoadedConfig, Problem


def check(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE|-", help="The configuration file; the same as --config.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Check a configuration and list every problem.

    Prints each problem to standard error as `file:line: path: message`. Makes no network requests. The exit status is 1
    if authgate would refuse to start with the configuration. What may be missing on this machine only, such as a free
    port or a pod's cluster, is a warning.
    """
    import asyncio

    from authgate.config import ConfigError, load
    from authgate.config.models.files import input_name

    if file is not None:
        source = context.get_parameter_source("config")
        if source is not None and source.name == "COMMANDLINE":  # AUTHGATE_CONFIG is only a default
            fail("give the configuration once: as FILE or as --config", USAGE)
        config = file
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    try:
        loaded = load(config, os.environ)
    except ConfigError as error:
        problems = error.problems
    else:
        problems, further = asyncio.run(_preflight_problems(loaded))
        warnings = (*loaded.warnings, *further)
    if output is not Output.TEXT:
        print_data(
            {
                "valid": not problems,
                "problems": [problem.fields() for problem in problems],
                "warnings": [warning.fields() for warning in warnings],
            },
            output,
        )
    else:
        print_problems(problems, config)
        print_problems(warnings, config, "warning")
        if not problems:
            print(f"{input_name(config) if config else 'the environment'}: the configuration is valid")
        else:
            print(
                "1 problem found" if len(problems) == 1 else f"{len(problems)} problems found",
                file=sys.stderr,
            )
    if problems:
        raise typer.Exit(FAILED)


async def _preflight_problems(loaded: LoadedConfig) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Return what prevents a start anywhere, and what prevents it on this machine only."""
    from authgate.compose import Dependencies
    from authgate.config import Finding
    from authgate.observability.metrics import Metrics
    from authgate.service import SystemClock
    from authgate.service.preflight import preflight

    obstacles = await preflight(
        loaded.config, Dependencies(clock=SystemClock(), metrics=Metrics(), environ=os.environ)
    )
    found = [
        (obstacle.certain, loaded.located(Finding(obstacle.path, obstacle.message))) for obstacle in obstacles
    ]
    return tuple(problem for certain, problem in found if certain), tuple(
        problem for certain, problem in found if not certain
    )
