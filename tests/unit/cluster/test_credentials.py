"""When the gate's own token is read again, and which of its claims are used."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest

from authgate.cluster.connection import ClusterConfigError
from authgate.cluster.credentials import Credential, FixedSource, TokenFileSource
from authgate.cluster.own_token import OwnToken, read_own_token

if TYPE_CHECKING:
    from pathlib import Path


class Seconds:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.value = 1000.0

    def __call__(self) -> float:
        return self.value


def unnoticed(path: Path, content: str) -> None:
    """Write content of the same length in place, and restore the file's times."""
    before = path.stat()
    path.write_text(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """A file that was replaced is read again at once."""
    file = tmp_path / "token"
    file.write_text("first\n")
    credential = TokenFileSource(file, None, Seconds())
    (tmp_path / "new").write_text("other\n")
    (tmp_path / "new").replace(file)
    assert credential.latest().token == "other"


@pytest.mark.parametrize(("after", "token"), [(59.9, "first"), (60.0, "other")])
def test_a_file_is_read_again_after_a_minute(tmp_path: Path, after: float, token: str) -> None:
    """A file whose change cannot be detected is read again after a minute."""
    file = tmp_path / "token"
    file.write_text("first")
    clock = Seconds()
    credential = TokenFileSource(file, None, clock)
    unnoticed(file, "other")
    clock.value += after
    assert credential.latest().token == token


async def test_a_file_is_read_again_after_a_rejection(tmp_path: Path) -> None:
    """After the API server rejects the token, the file is read again even if it looks unchanged."""
    file = tmp_path / "token"
    file.write_text("first")
    credential = TokenFileSource(file, None, Seconds())
    unnoticed(file, "other")
    assert (await credential.renew()).token == "other"


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"caf\xc3\xa9", b"x" * 65_537, None])
def test_a_file_that_becomes_unusable_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    """The last token stays in use. The warning does not quote the file."""
    file = tmp_path / "token"
    file.write_text("first")
    credential = TokenFileSource(file, None, Seconds())
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    assert (credential.latest().token, "the last token stays in use" in caplog.text) == ("first", True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"two words", "without spaces"),
        (b"x" * 65_537, "longer than"),
        (None, "cannot be read"),
    ],
    ids=["empty", "words", "long", "missing"],
)
def test_an_unusable_file_at_startup_is_an_error(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """The error names the file."""
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(ClusterConfigError, match=f"token file .*token: .*{problem}"):
        TokenFileSource(tmp_path / "token", None, Seconds())


async def test_a_fixed_credential_never_changes() -> None:
    """It is the same before and after a rejection."""
    credential = FixedSource(Credential("Bearer abc"))
    assert await credential.current() == await credential.renew() == credential.latest()


@pytest.mark.parametrize(
    ("authorization", "token"),
    [("Bearer abc", "abc"), ("Basic abc", None), (None, None), ("Bearer ", None)],
)
def test_only_a_bearer_header_has_a_token(authorization: str | None, token: str | None) -> None:
    """The value of any other header is not used as a token."""
    assert Credential(authorization).token == token


def test_the_repr_of_a_credential_has_no_secret() -> None:
    """A credential can be logged without showing its secret."""
    assert "abc" not in repr(Credential("Bearer abc"))


def jwt_of(payload: bytes) -> str:
    """Return a token in the form of a JWT with this payload."""
    return f"e30.{base64.urlsafe_b64encode(payload).rstrip(b'=').decode()}.c2ln"


BOUND = {"iss": "https://issuer", "sub": "system:serviceaccount:a:b", "kubernetes.io": {"namespace": "a"}}


@pytest.mark.parametrize(
    ("token", "claims"),
    [
        (jwt_of(json.dumps(BOUND).encode()), OwnToken("system:serviceaccount:a:b", "https://issuer")),
        (jwt_of(b'{"iss": "https://issuer", "sub": "me"}'), OwnToken("me", "")),
        (jwt_of(b'{"iss": 1, "sub": [], "kubernetes.io": {}}'), OwnToken()),
        (jwt_of(b'{"iss": "https://issuer", "kubernetes.io": "x"}'), OwnToken()),
        (jwt_of(b"[" * 40_000), OwnToken()),
        (jwt_of(b"\xff"), OwnToken()),
        (jwt_of(b'{"sub": "' + b"x" * 70_000 + b'"}'), OwnToken()),
        ("opaque", OwnToken()),
        ("a.!!!.b", OwnToken()),
        ("a.é.b", OwnToken()),
        (None, OwnToken()),
        ("", OwnToken()),
    ],
    ids=[
        "bound",
        "not bound",
        "types",
        "claim",
        "deep",
        "bytes",
        "long",
        "opaque",
        "base64",
        "é",
        "none",
        "empty",
    ],
)
def test_the_claims_of_the_gates_own_token_are_read(token: str | None, claims: OwnToken) -> None:
    """The subject is read from every JWT, the issuer only from a ServiceAccount's token."""
    assert read_own_token(token) == claims
