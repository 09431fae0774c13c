"""`authgate policy test`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authgate.cli.settings import ConfigOption, load_or_fail, print_problems
from authgate.cli.terminal import FAILED, USAGE, Output, OutputOption, fail, print_data, visible

if TYPE_CHECKING:
    from authgate.tools.policy_tests import Result

policy_app = typer.Typer(help="Test policies.", no_args_is_help=True)


@policy_app.callback()
def policy() -> None:
    """Test policies."""


@policy_app.command("test")
def run_tests(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|-",
            help="A YAML file of requests and expected decisions, or - for standard input.",
        ),
    ],
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Compare the policies' decisions about a table of requests with the expected ones.

    Uses neither the network nor tokens. Exit status 1 if a decision is not as expected.
    """
    import asyncio

    from authgate.config import ConfigError, load_policy_tests
    from authgate.service import CompositionError
    from authgate.tools.policy_tests import run

    if str(file) == str(config) == "-":
        fail("FILE and --config cannot both be standard input", USAGE)
    try:
        table = load_policy_tests(file)
    except ConfigError as error:
        print_problems(error.problems, file)
        raise typer.Exit(FAILED) from None
    path = config if config is not None or table.config is None else file.parent / table.config
    loaded = load_or_fail(path)
    try:
        results = asyncio.run(run(loaded.config, table.tests))
    except CompositionError as error:
        fail(str(error))
    failed = [result for result in results if not result.passed]
    if output is not Output.TEXT:
        print_data(
            {"passed": len(results) - len(failed), "failed": [_as_json(result) for result in failed]}, output
        )
    else:
        for result in failed:
            _print(result)
        print(f"{len(results) - len(failed)} of {len(results)} as expected")
    if failed:
        raise typer.Exit(FAILED)


def _print(result: Result) -> None:
    test, detail = result.test, f" ({result.detail})" if result.detail else ""
    got = "no decision" if result.reason is None else result.reason.value
    print(visible(test.name), file=sys.stderr)
    print(f"  - {visible(test.expect)}", file=sys.stderr)
    print(f"  + {got}{visible(detail)}", file=sys.stderr)


def _as_json(result: Result) -> dict[str, object]:
    return {
        "name": result.test.name,
        "expected": result.test.expect,
        "reason": None if result.reason is None else result.reason.value,
        "detail": result.detail,
    }
