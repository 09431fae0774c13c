"""When a TLS context is rebuilt, and the accepted contents of its files."""

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


def test_an_unchanged_file_keeps_the_context(contexts: Callable[[], TLSContexts]) -> None:
    """Connections are kept, too."""
    made = contexts()
    assert made.context(None) is made.context(None)


def test_a_changed_ca_file_makes_a_new_context(contexts: Callable[[], TLSContexts], tmp_path: Path) -> None:
    """The new context trusts only the certificates of the new file."""
    made = contexts()
    before = made.context(None)
    (tmp_path / "ca.crt").write_bytes(trustme.CA().cert_pem.bytes())
    after = made.context(None)
    assert (
        len({certificate["serialNumber"] for c in (before, after) for certificate in c.get_ca_certs()}) == 2
    )


def test_a_ca_file_that_becomes_unusable_is_a_warning(
    contexts: Callable[[], TLSContexts], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The last valid context stays in use, and one warning is logged."""
    made = contexts()
    good = made.context(None)
    (tmp_path / "ca.crt").unlink()
    assert [made.context(None) for _ in range(3)] == [good] * 3
    assert caplog.text.count("the last good certificates stay in use") == 1


def test_every_certificate_is_verified(contexts: Callable[[], TLSContexts]) -> None:
    """Chain and host name are verified."""
    context = contexts().context(None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_without_a_ca_the_systems_authorities_are_trusted() -> None:
    """Certificates are still verified."""
    context = TLSContexts(Connection(origin="test", server="https://api")).context(None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_ca_file_can_have_comments(authority: trustme.CA) -> None:
    """Any text around the certificates is a comment."""
    ca = "# Zertifikat für alle\n".encode() + authority.cert_pem.bytes()
    context = TLSContexts(Connection(origin="test", server="https://api", ca=ca)).context(None)
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize(
    "ca",
    [b"", b"text", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", Path("no-such-file")],
    ids=["empty", "text", "broken", "missing"],
)
def test_a_ca_without_a_certificate_is_an_error(ca: bytes | Path) -> None:
    """The system's authorities are not used instead."""
    with pytest.raises(ClusterConfigError, match="certificate-authority"):
        TLSContexts(Connection(origin="test", server="https://api", ca=ca)).context(None)


def test_a_changed_client_certificate_makes_a_new_context(tmp_path: Path, authority: trustme.CA) -> None:
    """The files are compared at each call."""
    mine = authority.issue_cert(common_name="gate")
    (tmp_path / "c.crt").write_bytes(mine.cert_chain_pems[0].bytes())
    pair = ClientCertificate(tmp_path / "c.crt", mine.private_key_pem.bytes())
    made = TLSContexts(Connection(origin="test", server="https://api"))
    before = made.context(pair)
    (tmp_path / "c.crt").write_bytes(mine.cert_chain_pems[0].bytes() + b"\n")
    assert made.context(pair) is not before


def encrypted(key: bytes) -> bytes:
    """Return the same key, encrypted with a password."""
    return load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
    )


@pytest.mark.parametrize("fault", ["other key", "password", "no key"])
def test_an_unusable_client_certificate_is_an_error(authority: trustme.CA, fault: str) -> None:
    """The key does not fit the certificate, or has a password. There is no prompt."""
    mine, other = authority.issue_cert(common_name="a"), authority.issue_cert(common_name="b")
    keys = {
        "other key": other.private_key_pem.bytes(),
        "password": encrypted(mine.private_key_pem.bytes()),
        "no key": b"",
    }
    pair = ClientCertificate(mine.cert_chain_pems[0].bytes(), keys[fault])
    with pytest.raises(ClusterConfigError, match="must be one PEM pair"):
        TLSContexts(Connection(origin="test", server="https://api")).context(pair)
