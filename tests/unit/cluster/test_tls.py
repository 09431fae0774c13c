"""When a TLS context is rebuilt, and what its files may contain."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from authgate.cluster.connection import ClientCertificate, ClusterConfigError, Connection
from authgate.cluster.tls import TLSContexts

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority."""
    return trustme.CA()


@pytest.fixture
def contexts(tmp_path: Path, authority: trustme.CA) -> Callable[[], TLSContexts]:
    """Return contexts that follow a CA file."""
    (tmp_path / "ca.crt").write_bytes(authority.cert_pem.bytes())
    return lambda: TLSContexts(Connection(origin="test", server="https://api", ca=tmp_path / "ca.crt"))


def test_unchanged(contexts: Callable[[], TLSContexts]) -> None:
    """While no file changes, the context stays the same, and so do connections."""
    made = contexts()
    assert made.context(None) is made.context(None)


def test_changed(contexts: Callable[[], TLSContexts], tmp_path: Path) -> None:
    """A new CA file makes a new context that trusts its certificates only."""
    made = contexts()
    before = made.context(None)
    (tmp_path / "ca.crt").write_bytes(trustme.CA().cert_pem.bytes())
    after = made.context(None)
    assert (
        len({certificate["serialNumber"] for c in (before, after) for certificate in c.get_ca_certs()}) == 2
    )


def test_broken_later(
    contexts: Callable[[], TLSContexts], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A CA file that becomes unusable leaves the last good context in use, with one warning."""
    made = contexts()
    good = made.context(None)
    (tmp_path / "ca.crt").unlink()
    assert [made.context(None) for _ in range(3)] == [good] * 3
    assert caplog.text.count("the last good certificates stay in use") == 1


def test_every_certificate_is_verified(contexts: Callable[[], TLSContexts]) -> None:
    """Chain and host name are verified."""
    context = contexts().context(None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_system_authorities() -> None:
    """Without a CA the system's authorities are trusted, and certificates are verified."""
    context = TLSContexts(Connection(origin="test", server="https://api")).context(None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_comments_in_the_file(authority: trustme.CA) -> None:
    """Text around the certificates, in any script, is a comment."""
    ca = "# Zertifikat für alle\n".encode() + authority.cert_pem.bytes()
    context = TLSContexts(Connection(origin="test", server="https://api", ca=ca)).context(None)
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize(
    "ca",
    [b"", b"text", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", Path("no-such-file")],
    ids=["empty", "text", "broken", "missing"],
)
def test_unusable_authority(ca: bytes | Path) -> None:
    """A CA without a certificate is an error and never means the system's authorities."""
    with pytest.raises(ClusterConfigError, match="certificate-authority"):
        TLSContexts(Connection(origin="test", server="https://api", ca=ca)).context(None)


def test_client_certificate(tmp_path: Path, authority: trustme.CA) -> None:
    """A client certificate whose file changes makes a new context."""
    mine = authority.issue_cert(common_name="gate")
    (tmp_path / "c.crt").write_bytes(mine.cert_chain_pems[0].bytes())
    pair = ClientCertificate(tmp_path / "c.crt", mine.private_key_pem.bytes())
    made = TLSContexts(Connection(origin="test", server="https://api"))
    before = made.context(pair)
    (tmp_path / "c.crt").write_bytes(mine.cert_chain_pems[0].bytes() + b"\n")
    assert made.context(pair) is not before


def encrypted(key: bytes) -> bytes:
    """The same key behind a password."""
    return load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
    )


@pytest.mark.parametrize("fault", ["other key", "password", "no key"])
def test_unusable_client_certificate(authority: trustme.CA, fault: str) -> None:
    """A mismatched pair, or a key with a password, is an error without a prompt."""
    mine, other = authority.issue_cert(common_name="a"), authority.issue_cert(common_name="b")
    keys = {
        "other key": other.private_key_pem.bytes(),
        "password": encrypted(mine.private_key_pem.bytes()),
        "no key": b"",
    }
    pair = ClientCertificate(mine.cert_chain_pems[0].bytes(), keys[fault])
    with pytest.raises(ClusterConfigError, match="must be one PEM pair"):
        TLSContexts(Connection(origin="test", server="https://api")).context(pair)
