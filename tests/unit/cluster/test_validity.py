"""How long certificates and tokens are valid, as the files and tokens say now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trustme

from authgate.cluster.validity import CertificateValidity, TokenValidity, Validity
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey

if TYPE_CHECKING:
    from pathlib import Path

END = datetime(2040, 5, 6, 7, 8, 9, tzinfo=UTC)
LATER = datetime(2041, 5, 6, 7, 8, 9, tzinfo=UTC)


def chain(end: datetime) -> bytes:
    """Return a certificate that is valid until `end`, followed by its CA."""
    authority = trustme.CA()
    leaf = authority.issue_cert("gate.example.com", not_after=end)
    return b"".join(blob.bytes() for blob in leaf.cert_chain_pems) + authority.cert_pem.bytes()


def test_the_first_certificate_counts() -> None:
    """The CA behind it has its own times."""
    validity = CertificateValidity(chain(END))()
    assert validity is not None
    assert validity.ends == END.timestamp()
    assert 0 < validity.begins < validity.ends


def test_a_replaced_file_is_read_again(tmp_path: Path) -> None:
    """It may also disappear and come back."""
    file = tmp_path / "tls.crt"
    read = CertificateValidity(file)
    assert read() is None
    file.write_bytes(chain(END))
    assert getattr(read(), "ends", None) == END.timestamp()
    file.unlink()
    assert read() is None
    file.write_bytes(chain(LATER))
    assert getattr(read(), "ends", None) == LATER.timestamp()


def test_an_unreadable_certificate_has_no_validity() -> None:
    """The client that uses it reports the error."""
    assert CertificateValidity(b"not a certificate")() is None
    assert CertificateValidity(b"")() is None


def test_a_token_is_read_when_it_changes() -> None:
    """Its validity is from iat until exp."""
    issuer = Issuer("https://issuer.example.com", SigningKey.generate("ES256"), clock=lambda: 1_800_000_000.0)
    tokens = [issuer.mint(lifetime=600.0), issuer.mint(lifetime=600.0, claims={"exp": 1_800_000_900})]
    current = tokens[0]
    read = TokenValidity(lambda: current)
    assert read() == Validity(1_800_000_000.0, 1_800_000_600.0)
    current = tokens[1]
    assert read() == Validity(1_800_000_000.0, 1_800_000_900.0)


def test_a_token_without_times_has_no_validity() -> None:
    """An opaque token, a legacy token and no token are never renewed."""
    for token in ("opaque", "e30.e30.e30", None):
        assert TokenValidity(lambda token=token: token)() is None  # type: ignore[misc]
