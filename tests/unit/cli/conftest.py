"""Fixtures for tests of the command line: a command runs in this process."""

from __future__ import annotations

from typing import Protocol

import pytest
import typer
from typer.testing import CliRunner, Result

from authgate.cli.commands import app


class Run(Protocol):
    """Run `authgate` with these words."""

    def __call__(
        self, *words: object, stdin: str | bytes | None = None, env: dict[str, str] | None = None
    ) -> Result:
        """Return its output and exit status. An unexpected exception is raised."""
        ...


@pytest.fixture
def run() -> Run:
    """The command line, in this process."""

    def run_words(
        *words: object, stdin: str | bytes | None = None, env: dict[str, str] | None = None
    ) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words], stdin, env, catch_exceptions=False)

    return run_words


def command_context() -> typer.Context:
    """The context of the command line, from which its tree of commands is read."""
    return typer.Context(typer.main.get_command(app), info_name="authgate")
