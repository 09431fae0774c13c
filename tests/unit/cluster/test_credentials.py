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
    """Writes content of the same length in place, and gives the file its old times."""
    before = path.stat()
    path.write_text(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_file_is_read_when_it_changes(tmp_path: Path) -> None:
    """A file that was replaced is read again at once."""
    file = tmp_path / "token"
    file.write_text("first\n")
    credential = TokenFileSource(file, None, Seconds())
    (tmp_path / "new").write_text("other\n")
    (tmp_path / "new").replace(file)
    assert credential.latest().token == "other"


@pytest.mark.parametrize(("after", "token"), [(59.9, "first"), (60.0, "other")])
def test_file_is_read_after_a_minute(tmp_path: Path, after: float, token: str) -> None:
    """A file whose change cannot be seen is read again when a minute has passed."""
    file = tmp_path / "token"
    file.write_text("first")
    clock = Seconds()
    credential = TokenFileSource(file, None, clock)
    unnoticed(file, "other")
    clock.value += after
    assert credential.latest().token == token


async def test_file_is_read_after_a_refusal(tmp_path: Path) -> None:
    """After a refusal the file is read again even if it looks unchanged."""
    file = tmp_path / "token"
    file.write_text("first")
    credential = TokenFileSource(file, None, Seconds())
    unnoticed(file, "other")
    assert (await credential.renew()).token == "other"


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"caf\xc3\xa9", b"x" * 65_537, None])
def test_bad_file_later(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None) -> None:
    """A file that becomes unusable leaves the last token in use, with a warning that does not quote it."""
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
def test_bad_file_at_first(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """A file that is unusable at the start is an error that names it."""
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(ClusterConfigError, match=f"token file .*token: .*{problem}"):
        TokenFileSource(tmp_path / "token", None, Seconds())


async def test_fixed_credential() -> None:
    """A fixed credential is the same before and after a refusal."""
    credential = FixedSource(Credential("Bearer abc"))
    assert await credential.current() == await credential.renew() == credential.latest()


@pytest.mark.parametrize(
    ("authorization", "token"),
    [("Bearer abc", "abc"), ("Basic abc", None), (None, None), ("Bearer ", None)],
)
def test_shown_token(authorization: str | None, token: str | None) -> None:
    """Only a Bearer header has a token."""
    assert Credential(authorization).token == token


def test_shown_has_no_secret_repr() -> None:
    """The repr of a credential has no secret."""
    assert "abc" not in repr(Credential("Bearer abc"))


def jwt_of(payload: bytes) -> str:
    """A token of JWT shape with this payload."""
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
def test_own_token(token: str | None, claims: OwnToken) -> None:
    """The subject is read from every JWT, the issuer only from a ServiceAccount's token."""
    assert read_own_token(token) == claims
