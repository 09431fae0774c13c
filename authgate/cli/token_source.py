"""Where a token comes from: a file or standard input, bounded, and never the command line."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from authgate.cli.terminal import USAGE, fail

MAX_BYTES: Final = 1 << 20
"""The most that is read: as much as `limits.maxTokenBytes` can allow."""

_TOKEN = re.compile(
    r"(?i:bearer\s+\S)|eyJ[A-Za-z0-9_-]{8,}"
)  # eyJ is the base64url of '{"', where a JWT begins

TokenArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE|-",
        help="The file that holds the token; - or nothing: standard input.",
        show_default=False,
    ),
]


def looks_like_token(argument: str) -> bool:
    """Tell whether an argument holds a JWT or a bearer credential."""
    return _TOKEN.search(argument) is not None


def read_token(file: str | None) -> str:
    """Return the token of a file (None or "-": standard input) without white space around it, or end the command.

    The name of a file that cannot be opened is not repeated: somebody may have put a token in its place.
    """
    if file is not None and looks_like_token(file):
        fail(
            "a token must not stand on the command line: give a FILE that holds it, or pipe it to stdin",
            USAGE,
        )
    if file is None and sys.stdin.isatty():
        fail("no token: give a FILE that holds it, or pipe it to stdin (- reads it from the terminal)", USAGE)
    try:
        data = _read_stdin() if file in (None, "-") else _read_file(file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        fail(f"the token file cannot be read: {reason} (a FILE or - is expected, never the token itself)")
    if len(data) > MAX_BYTES:
        fail(f"the token is longer than {MAX_BYTES} bytes, which no gate accepts")
    # Whatever is no ASCII stays visible as what it is not: part of a token.
    token = data.decode("utf-8", "replace").strip()
    if not token:
        fail("the token is empty: what should have written it has failed")
    return token


def _read_stdin() -> bytes:
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def _read_file(file: str | None) -> bytes:
    with Path(file or "").open("rb") as opened:
        return opened.read(MAX_BYTES + 1)
