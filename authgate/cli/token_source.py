"""Read a token from a file or standard input, with a size limit, but never from the command line."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from authgate.cli.terminal import USAGE, complain, fail

MAX_BYTES: Final = 1 << 20
"""The size limit: the maximum of `limits.maxTokenBytes`."""

TOKEN_IN_ARGUMENTS: Final = (
    "a token must not be on the command line, where other users can read it: name a FILE that holds it, or pipe it"
    " to stdin"
)

_TOKEN = re.compile(
    r"(?i:bearer\s+\S)|eyJ[A-Za-z0-9_-]{8,}"
)  # eyJ is the base64url of '{"', where a JWT begins

_CREDENTIAL = re.compile(r"(?i:(?:authorization\s*:\s*)?bearer(?:\s+|\Z))")

_RESPONSES: Final = {
    "access_token": ".access_token",
    "id_token": ".id_token",
    "TokenRequest": ".status.token",
    "value": ".value",
}
"""The places of tokens in responses (OAuth 2.0, OpenID Connect, Kubernetes, GitHub Actions), by a word in them."""


def looks_like_token(argument: str) -> bool:
    """Report whether an argument contains a JWT or a bearer credential."""
    return _TOKEN.search(argument) is not None


def read_token(file: str | None) -> str:
    """Return the token in a file (None or "-": standard input) without surrounding white space, or end the command.

    A pasted header or credential, `Authorization: Bearer …`, is accepted as well.

    An error message never contains the file name: it may be a token that was passed by mistake.
    """
    if file is not None and looks_like_token(file):
        fail(TOKEN_IN_ARGUMENTS, USAGE)
    if file is None and sys.stdin.isatty():
        fail("no token: name a FILE that holds it, or pipe it to stdin (- reads it from the terminal)", USAGE)
    try:
        data = _read_stdin() if file in (None, "-") else _read_file(file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        fail(
            f"cannot read the token file: {reason} (the argument must be a FILE or -, never the token itself)"
        )
    if len(data) > MAX_BYTES:
        fail(f"the token is longer than {MAX_BYTES} bytes, the largest limits.maxTokenBytes")
    # Bytes that are not UTF-8 stay visible as replacement characters.
    token = data.decode("utf-8", "replace").strip()
    credential = _CREDENTIAL.match(token)
    if credential is not None:
        complain(f"note: {credential[0].strip()!r} before the token is ignored")
        token = token[credential.end() :]
    if token.startswith("{"):
        way = next((way for word, way in _RESPONSES.items() if f'"{word}"' in token), "")
        how = f", such as with `jq -r {way}`" if way else ""
        fail(f"this is a JSON object, not a token: give only the token in it{how}", USAGE)
    if not token:
        fail(f"no token: {'standard input' if file in (None, '-') else 'the file'} is empty")
    return token


def _read_stdin() -> bytes:
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def _read_file(file: str | None) -> bytes:
    with Path(file or "").open("rb") as opened:
        return opened.read(MAX_BYTES + 1)
