"""The command line: one module a command, which parses, calls and prints.

Commands import what is heavy when they run, so that `authgate --help` and `authgate version` answer at once.
"""

from __future__ import annotations

# Before the imports below, which take most of a second on a busy machine.
# ruff: noqa: E402
from authgate.cli.startup import prepare_process

prepare_process()

import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated

import typer

from authgate.cli.check import check
from authgate.cli.config import config_app
from authgate.cli.dev import dev
from authgate.cli.doctor import doctor
from authgate.cli.explain import explain
from authgate.cli.healthcheck import healthcheck
from authgate.cli.inspect import inspect
from authgate.cli.plain import UNPARSED
from authgate.cli.policy import policy_app
from authgate.cli.serve import serve
from authgate.cli.snippets import snippets
from authgate.cli.terminal import USAGE, complain
from authgate.cli.token import token
from authgate.cli.token_source import looks_like_token
from authgate.cli.version import print_version, version

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["app", "main"]

# Plain help and errors: they are read in logs as often as on terminals. Tracebacks never show local variables, which
# may hold a token. The option --help is the callback's own: Typer's loads pydantic also where it is not given.
app = typer.Typer(
    name="authgate",
    add_completion=False,
    add_help_option=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve)
app.command()(dev)
app.command()(check)
app.command()(doctor)
app.add_typer(config_app, name="config")
app.add_typer(policy_app, name="policy")
app.command()(inspect)
app.command()(explain)
app.command()(token)
app.command()(snippets)
app.command(context_settings=UNPARSED)(healthcheck)
app.command(context_settings=UNPARSED)(version)


@app.callback(invoke_without_command=True)
def authgate(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)
    ] = False,
    show_help: Annotated[
        bool, typer.Option("--help", "-h", help="Show this message and exit.", is_eager=True)
    ] = False,
) -> None:
    """Verify Kubernetes ServiceAccount and OIDC tokens for a proxy's auth subrequests.

    Exit status: 0 good, 1 failed, 2 wrong usage, 3 the token is denied.
    """
    if show_version:
        print_version()
        raise typer.Exit
    if show_help or context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; `arguments` default to the process's own.

    A token among them is refused before anything could repeat it: every user of the machine can read them.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if any(looks_like_token(word) for word in words):
        complain("a token must not stand on the command line: give a FILE that holds it, or pipe it to stdin")
        sys.exit(USAGE)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a name that the terminal cannot show is no failure
    app(words, prog_name="authgate")
