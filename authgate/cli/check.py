"""`authgate check`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

from authgate.cli.settings import ConfigOption, print_problems
from authgate.cli.terminal import FAILED, Output, OutputOption, print_json

if TYPE_CHECKING:
    from authgate.config import Config, LoadedConfig, Problem


def check(config: ConfigOption = None, output: OutputOption = Output.TEXT) -> None:
    """Tell everything that is wrong with a configuration.

    Nothing is asked over the network. Exit status 1 where the gate would refuse the configuration at start.
    """
    import asyncio

    from authgate.config import ConfigError, load

    loaded: LoadedConfig | None = None
    problems: tuple[Problem, ...]
    try:
        loaded = load(config, os.environ)
    except ConfigError as error:
        problems = error.problems
    else:
        problems = asyncio.run(_composition_problems(loaded.config))
    warnings = loaded.warnings if loaded else ()
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


async def _composition_problems(config: Config) -> tuple[Problem, ...]:
    """Put together what needs no network, and tell what refuses: a set of keys of which none can be used.

    Clusters are left out but for those with static keys: how one is reached is for the machine to tell on which the
    gate will run.
    """
    from authgate.app import CompositionError, SystemClock
    from authgate.compose import Surroundings, compose
    from authgate.config import Problem
    from authgate.metrics import Metrics

    around = Surroundings(SystemClock(), Metrics(), os.environ)
    static = tuple(cluster for cluster in config.clusters if cluster.static_keys is not None)
    try:
        pipeline = await compose(config.model_copy(update={"cluster": static or None}), around)
    except CompositionError as error:
        path, _, message = str(error).partition(": ")
        return (Problem(path, message),)
    await pipeline.close()
    return ()
