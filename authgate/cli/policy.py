"""`authgate policy test`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authgate.cli.settings import ConfigOption, load_or_fail, print_problems
from authgate.cli.terminal import FAILED, USAGE, Output, fail, print_data
from authgate.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from authgate.tools.policy_tests import Result


class ResultOutput(StrEnum):
    """The output format of policy tests."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
    JUNIT = "junit"


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
    output: Annotated[
        ResultOutput,
        typer.Option(
            "--output", "-o", help="text for people, json or yaml for scripts, junit for CI systems."
        ),
    ] = ResultOutput.TEXT,
) -> None:
    """Compare the policies' decisions about a table of requests with the expected ones.

    Uses neither the network nor tokens. Exit status 1 if a decision is not as expected.
    """
    import asyncio

    from authgate.config import ConfigError, load_policy_tests
    from authgate.config.models.files import input_name
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
    if output is ResultOutput.JUNIT:
        print(_as_junit(input_name(file), results))
    elif output is not ResultOutput.TEXT:
        data = {"passed": len(results) - len(failed), "failed": list(map(_as_json, failed))}
        print_data(data, Output(output.value))
    else:
        for result in failed:
            _print(result)
        print(f"{len(results) - len(failed)} of {len(results)} as expected")
    if failed:
        raise typer.Exit(FAILED)


def _print(result: Result) -> None:
    print(visible(result.test.name), file=sys.stderr)
    print(f"  - {visible(result.test.expect)}", file=sys.stderr)
    print(f"  + {_decision(result)}", file=sys.stderr)


def _decision(result: Result) -> str:
    detail = f" ({result.detail})" if result.detail else ""
    return visible(("no decision" if result.reason is None else result.reason.value) + detail)


def _as_junit(file: str, results: Sequence[Result]) -> str:
    """Return the results as JUnit's XML, which CI systems show."""
    from xml.etree import ElementTree as Xml

    failed = sum(not result.passed for result in results)
    counts = {"tests": str(len(results)), "failures": str(failed), "errors": "0", "skipped": "0"}
    suites = Xml.Element("testsuites", counts)
    suite = Xml.SubElement(suites, "testsuite", {"name": visible(file), **counts})
    for result in results:
        case = Xml.SubElement(
            suite, "testcase", {"name": visible(result.test.name), "classname": visible(file)}
        )
        if not result.passed:
            message = f"expected {visible(result.test.expect)}, but got {_decision(result)}"
            Xml.SubElement(case, "failure", {"message": message})
    Xml.indent(suites)
    document: bytes = Xml.tostring(suites, encoding="us-ascii", xml_declaration=True)
    return document.decode("ascii")


def _as_json(result: Result) -> dict[str, object]:
    return {
        "name": result.test.name,
        "expected": result.test.expect,
        "reason": None if result.reason is None else result.reason.value,
        "detail": result.detail,
    }
