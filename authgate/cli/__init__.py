"""The command line: one module per command, which parses options, calls the library and prints the result.

Commands import slow packages only when they run, so that `authgate --help` and `authgate version` are fast.
"""

from __future__ import annotations

# ruff: noqa: E402 - the process is prepared before the slow imports
import os
import signal
import sys
import time


def _prepare_process() -> None:
    """Handle signals, closed standard descriptors and an impossible clock before anything slow is imported.

    The kernel drops signals to process 1 that have no handler, so SIGTERM and SIGINT get one. A closed standard
    descriptor would be reused for a socket, and logs be written to it, so /dev/null takes its place. With a clock that
    Python cannot represent, importing `logging` fails, so the process ends with one line.
    """
    if os.getpid() == 1:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: os._exit(0))
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this descriptor
            os.set_inheritable(descriptor, True)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w", encoding="utf-8", closefd=False))  # noqa: SIM115 - stays open
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - stays open
    try:
        time.time()
    except OverflowError:
        sys.exit(
            "authgate: the system clock is wrong: it is later than April 2262; set it, for example with NTP"
        )


_prepare_process()

import errno
from contextlib import contextmanager, suppress
from io import TextIOWrapper
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
from authgate.cli.policy import policy_app
from authgate.cli.serve import serve
from authgate.cli.snippets import snippets
from authgate.cli.terminal import FAILED, UNPARSED, USAGE, complain, did_you_mean
from authgate.cli.token import token
from authgate.cli.token_source import TOKEN_IN_ARGUMENTS, looks_like_token
from authgate.cli.version import print_version, version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["app", "main"]

_FAILED_WRITES = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}


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
    # Every error is raised again. Typer and click each have a class for an unknown option.
    except Exception as error:
        possible = getattr(error, "possibilities", None)
        if possible:
            error.message = str(error.message).rstrip(".") + did_you_mean(error.option_name, possible)  # type: ignore[attr-defined]
            error.possibilities = None  # type: ignore[attr-defined]
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; `arguments` default to those of the process.

    An argument that contains a token is rejected before anything can print it: every user of the machine can read a
    process's arguments.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if any(looks_like_token(word) for word in words):
        complain(TOKEN_IN_ARGUMENTS)
        sys.exit(USAGE)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for terminals that cannot show a name
    try:
        try:
            app(words, prog_name="authgate")
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in _FAILED_WRITES:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter writes what is left at its exit
        if error.errno != errno.EPIPE:  # the reader of a pipe may stop early, as `head` does
            with suppress(OSError):
                complain(f"cannot write the output: {error.strerror}")
        sys.exit(FAILED)
