"""`authgate check`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

from authgate.cli.settings import ConfigOption, print_problems
from authgate.cli.terminal import FAILED, Output, OutputOption, print_json

if TYPE_CHECKING:
    from authgate.config import LoadedConfig, Problem


def check(config: ConfigOption = None, output: OutputOption = Output.TEXT) -> None:
    """Tell everything that is wrong with a configuration.

    Nothing is asked over the network. Exit status 1 where the gate would refuse the configuration at start. What only
    this machine may lack, such as a free port or the cluster that a pod runs in, is a warning.
    """
    import asyncio

    from authgate.config import ConfigError, load

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    try:
        loaded = load(config, os.environ)
    except ConfigError as error:
        problems = error.problems
    else:
        problems, further = asyncio.run(_rehearsed(loaded))
        warnings = (*loaded.warnings, *further)
    if output is Output.JSON:
        print_json(
            {
                "valid": not problems,
                "problems": [problem.fields() for problem in problems],
                "warnings": [warning.fields() for warning in warnings],
            }
        )
    else:
        print_problems(problems)
        print_problems(warnings, "warning: ")
        if not problems:
            print(f"{config or 'the environment'}: a configuration that the gate can start with")
        else:
            print(f"{len(problems)} to mend", file=sys.stderr)
    if problems:
        raise typer.Exit(FAILED)


async def _rehearsed(loaded: LoadedConfig) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Return what a start would refuse, and what it would refuse on this machine but perhaps not on another."""
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
