"""`authgate doctor`."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from authgate.cli.settings import ConfigOption, OutputOption, load_or_fail, print_problems
from authgate.cli.terminal import FAILED, Output, console, counted, print_data
from authgate.text import visible

if TYPE_CHECKING:
    from authgate.config import Problem
    from authgate.tools.doctor import Finding

_STYLES: Final = {"good": "green", "warning": "yellow", "bad": "bold red"}


def doctor(
    issuer: Annotated[
        str | None,
        typer.Argument(
            metavar="ISSUER-URL", help="Check this issuer instead of a configuration.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Check every issuer and cluster of a configuration from this machine, as the gate would use them.

    Prints one line per check, and how to fix each problem. Exit status 1 if requests would fail.
    """
    import asyncio

    from authgate.compose import Dependencies
    from authgate.observability.log import configure
    from authgate.observability.metrics import Metrics
    from authgate.service import SystemClock
    from authgate.tools.doctor import Level, examine, examine_url

    configure("error", "text")
    warnings: tuple[Problem, ...] = ()
    if issuer is not None:
        findings = asyncio.run(examine_url(issuer, os.environ))
    else:
        loaded = load_or_fail(config)
        warnings = loaded.warnings
        deps = Dependencies(clock=SystemClock(), metrics=Metrics(), environ=os.environ)
        findings = asyncio.run(examine(loaded.config, deps))
    bad = sum(finding.level is Level.BAD for finding in findings)
    if output is not Output.TEXT:
        print_data(
            {
                "good": not bad,
                "findings": [asdict(finding) for finding in findings],
                "warnings": [problem.fields() for problem in warnings],
            },
            output,
        )
    else:
        print_problems(warnings, config, "warning")
        _print(findings)
        print(f"{counted(bad, 'problem')} found")
    if bad:
        raise typer.Exit(FAILED)


def _print(findings: list[Finding]) -> None:
    from rich.text import Text

    out = console()
    for finding in findings:
        level = finding.level.value
        out.print(
            Text.assemble(
                (f"{level:<8}", _STYLES[level]), f" {visible(finding.subject)}: {visible(finding.sentence)}"
            )
        )
        if finding.remedy:
            out.print(Text(f"         -> {visible(finding.remedy)}", "bold"))
