"""The command line as a Typer application."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from authgate.cli.check import check
from authgate.cli.completion import completion
from authgate.cli.config import config_app
from authgate.cli.dev import dev
from authgate.cli.doctor import doctor
from authgate.cli.explain import explain
from authgate.cli.healthcheck import healthcheck
from authgate.cli.help import WIDTH, help_
from authgate.cli.inspect import inspect
from authgate.cli.plain_parser import UNPARSED
from authgate.cli.policy import policy_app
from authgate.cli.serve import serve
from authgate.cli.snippets import snippets
from authgate.cli.terminal import did_you_mean
from authgate.cli.token import token
from authgate.cli.version import print_version, version

if TYPE_CHECKING:
    from collections.abc import Iterator


# Help and errors are plain text because they are often read in logs. Tracebacks never show local variables, which may
# hold a token. The callback has its own --help because Typer's loads pydantic even when it is not used.
class _Commands(TyperGroup):
    """The commands, whose errors about an unknown option suggest the nearest one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _suggesting():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with _suggesting():
            return super().invoke(ctx)


@contextmanager
def _suggesting() -> Iterator[None]:
    try:
        yield
    # Every error is raised again. Typer and click each have a class for an unknown option, with these attributes.
    except Exception as error:
        possible = getattr(error, "possibilities", None)
        if possible:
            unknown: Any = error
            unknown.message = str(unknown.message).rstrip(".") + did_you_mean(unknown.option_name, possible)
            unknown.possibilities = None
        raise


app = typer.Typer(
    cls=_Commands,
    name="authgate",
    add_completion=False,
    add_help_option=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH},
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
app.command()(completion)
app.command("help")(help_)
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

    Exit status: 0 success, 1 failure, 2 wrong usage, 3 the token is denied.
    """
    if show_version:
        print_version()
        raise typer.Exit
    if show_help or context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit
