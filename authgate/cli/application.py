"""The Typer application without its commands: the options of `authgate` itself, and how errors are shown."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from authgate import __version__
from authgate.cli.terminal import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTH: Final = 10_000
"""The largest width of the help, so that the width of the terminal decides."""


def new_application() -> typer.Typer:
    """Return the command line of `authgate` without commands."""
    # Help and errors are plain text because they are often read in logs. Tracebacks never show local variables, which
    # may hold a token. The callback has its own --help because Typer's loads pydantic even when it is not used.
    application = typer.Typer(
        cls=_Commands,
        name="authgate",
        add_completion=False,
        add_help_option=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDTH},
    )
    application.callback(invoke_without_command=True)(authgate)
    return application


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
        print(f"authgate {__version__}")
        raise typer.Exit
    if show_help or context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit
