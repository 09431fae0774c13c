"""The command line: one module per command, which parses options, calls the library and prints the result.

Commands import slow packages only when they run, so that `authgate --help` and `authgate version` are fast. `serve` is
not even parsed in this process (`config_process`), so that a gate does not keep the parser and the configuration's
models in memory.
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
import gc
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING

from authgate.cli.terminal import FAILED, USAGE, complain
from authgate.cli.token_source import TOKEN_IN_ARGUMENTS, looks_like_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from authgate.cli.config_process import Recipient

_FAILED_WRITES = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}


def main(arguments: Sequence[str] | None = None, *, writer: int | None = None) -> None:
    """Run the command line and exit; `arguments` default to those of the process.

    `writer` is the end of a pipe for the configuration, in a process that reads it for a reload.
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
            if writer is not None:
                from authgate.cli.config_process import Recipient

                run(words, Recipient(writer, again=True))
            elif words[:1] == ["serve"]:
                from authgate.cli.serving import serve_words

                serve_words(words)
            else:
                run(words)
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


def run(words: Sequence[str], recipient: Recipient | None = None) -> None:
    """Run a command in this process. With a recipient, `serve` only reads its configuration."""
    if words[:1] == ["serve"]:
        from authgate.cli.serve import app  # without the other commands
    else:
        from authgate.cli.commands import app
    if recipient is not None:
        gc.disable()  # the process ends soon: a quarter of the time for a thousand policies
    app(words, prog_name="authgate", obj=recipient)
