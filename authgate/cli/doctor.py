"""`authgate doctor`."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import typer

from authgate.cli.settings import ConfigOption, load_or_fail, print_problems
from authgate.cli.terminal import FAILED, Output, OutputOption, console, counted, print_json, visible

if TYPE_CHECKING:
    from authgate.tools.doctor import Finding

_STYLES: Final = {"good": "green", "warning": "yellow", "bad": "bold red"}


def doctor(config: ConfigOption = None, output: OutputOption = Output.TEXT) -> None:
    """Check every issuer and cluster of a configuration from this machine, as the gate would use them.

    Prints one line per check, and how to fix each problem. Exit status 1 if requests would fail.
    """
    import asyncio

    from authgate.compose import Dependencies
    from authgate.observability.log import configure
    from authgate.observability.metrics import Metrics
    from authgate.service import SystemClock
    from authgate.tools.doctor import Level, examine

    loaded = load_or_fail(config)
    configure("error", "text")
    deps = Dependencies(clock=SystemClock(), metrics=Metrics(), environ=os.environ)
    findings = asyncio.run(examine(loaded.config, deps))
    bad = sum(finding.level is Level.BAD for finding in findings)
    if output is Output.JSON:
        print_json(
            {
                "good": not bad,
                "findings": [asdict(finding) for finding in findings],
                "warnings": [problem.fields() for problem in loaded.warnings],
            }
        )
    else:
        print_problems(loaded.warnings, "warning: ")
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
