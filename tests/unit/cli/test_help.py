from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from authgate.cli.command_tree import command_tree
from tests.support.tools import require_tool
from tests.unit.cli.conftest import command_context

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run


@pytest.mark.parametrize("command", ["", "check", "config show", "healthcheck", "policy test"])
def test_help_of_a_command(run: Run, command: str) -> None:
    """`authgate help COMMAND` is `authgate COMMAND --help`."""
    result = run("help", *command.split())
    assert (result.exit_code, result.stdout) == (0, run(*command.split(), "--help").stdout)


def test_help_of_an_unknown_command(run: Run) -> None:
    """A typo is an error with a suggestion."""
    result = run("help", "inspekt")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Did you mean 'inspect'?" in result.stderr


@pytest.mark.parametrize("command", ["explain", "healthcheck"])
@pytest.mark.parametrize("width", [60, 140])
def test_help_uses_the_width_of_the_terminal(command: str, width: int) -> None:
    """Lines are neither longer than the terminal nor needlessly short."""
    done = subprocess.run(
        [sys.executable, "-m", "authgate", "help", command],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": str(width)},
    )
    lengths = list(map(len, done.stdout.splitlines()))
    assert width * 0.6 < max(lengths) <= width


def test_the_manual_page_has_every_command_and_option(run: Run) -> None:
    """The page is generated from the same tree as the help."""
    page = run("help", "--man").stdout.replace("\\-", "-")
    for command in command_tree(command_context()).walk():
        assert command.commands or f".SS {command.usage}" in page
        assert all(option.names[0] in page for option in command.options)


@pytest.mark.parametrize(
    "checker",
    [("mandoc", "-T", "lint", "-W", "warning"), ("groff", "-man", "-ww", "-z")],
    ids=["mandoc", "groff"],
)
def test_the_manual_page_is_valid(run: Run, checker: tuple[str, ...]) -> None:
    """Programs that show manual pages find nothing wrong with it, except that it has no date."""
    require_tool(checker[0], "the manual page is not checked with it")
    page = run("help", "--man").stdout
    done = subprocess.run(checker, check=False, input=page, capture_output=True, text=True, timeout=60)
    complaints = (done.stdout + done.stderr).splitlines()
    assert [line for line in complaints if "missing date" not in line] == []
