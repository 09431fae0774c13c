"""The minimal Python server is a fair ceiling: it refuses what authgate refuses."""

from __future__ import annotations

import json
import time

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.bench.minimal import REFUSED, Verifier

ISSUER = Issuer("https://issuer.example", SigningKey.generate("RS256"))
VERIFIER = Verifier(json.dumps({"keys": [ISSUER.key.jwk()]}), ISSUER.url, "bench")
OTHER = Issuer("https://other.example", ISSUER.key)


def _token(issuer: Issuer = ISSUER, audience: str = "bench", **claims: object) -> bytes:
    return issuer.mint("web", audience, claims=claims).encode()


def test_good_token() -> None:
    """The response has the subject."""
    response = VERIFIER.response(_token())

    assert response.startswith(b"HTTP/1.1 200 OK\r\nX-Auth-Request-User: web\r\n")
    assert response.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(_token(exp=int(time.time()) - 1), id="expired"),
        pytest.param(_token(exp="4000000000"), id="expiry is a string"),
        pytest.param(_token(nbf=int(time.time()) + 86400), id="not yet valid"),
        pytest.param(_token(OTHER), id="issuer"),
        pytest.param(_token(audience="other"), id="audience"),
        pytest.param(_token()[:-8] + b"AAAAAAAA", id="signature"),
        pytest.param(_token().replace(b".", b"=.", 1), id="padding"),
        pytest.param(_token()[:-1] + b"B", id="unused bits"),
        pytest.param(b"a.b", id="garbage"),
        pytest.param(b"", id="empty"),
    ],
)
def test_bad_token(token: bytes) -> None:
    """Each of these is refused."""
    with pytest.raises(REFUSED):
        VERIFIER.response(token)
