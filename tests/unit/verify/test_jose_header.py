"""The header of a JWT: which parameters are read and which are rejected (RFC 7515, section 4)."""

from __future__ import annotations

import pytest

from authgate.dev.compact import JsonObject
from authgate.errors import Reason
from authgate.model import Rejected
from authgate.verify.compact import CompactParser, JOSEHeader, normalise_type
from tests.support.tokens import claims, unsigned

HEADER: JsonObject = {"alg": "RS256", "kid": "key-1"}


def header_of(changes: JsonObject) -> JOSEHeader | Rejected:
    """Return the parsed header of a token with these changes."""
    token = CompactParser().parse(unsigned({**HEADER, **changes}, claims()))
    return token if isinstance(token, Rejected) else token.header


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"crit": ["exp"]}, Reason.CRITICAL_HEADER, id="crit"),
        pytest.param({"crit": []}, Reason.CRITICAL_HEADER, id="empty crit"),
        pytest.param({"crit": None}, Reason.CRITICAL_HEADER, id="null crit"),
        pytest.param({"crit": ["b64"], "b64": True}, Reason.CRITICAL_HEADER, id="crit of a known one"),
        pytest.param({"b64": False}, Reason.CRITICAL_HEADER, id="b64 false"),
        pytest.param({"b64": 1}, Reason.CRITICAL_HEADER, id="b64 no boolean"),
        pytest.param({"enc": "A256GCM"}, Reason.TOKEN_ENCRYPTED, id="enc"),
        pytest.param({"enc": None}, Reason.TOKEN_ENCRYPTED, id="null enc"),
        pytest.param({"alg": None}, Reason.TOKEN_MALFORMED, id="null alg"),
        pytest.param({"alg": 1}, Reason.TOKEN_MALFORMED, id="number alg"),
        pytest.param({"alg": ["RS256"]}, Reason.TOKEN_MALFORMED, id="list alg"),
        pytest.param({"kid": None}, Reason.TOKEN_MALFORMED, id="null kid"),
        pytest.param({"kid": 1}, Reason.TOKEN_MALFORMED, id="number kid"),
        pytest.param({"kid": ["key-1"]}, Reason.TOKEN_MALFORMED, id="list kid"),
        pytest.param({"kid": "k" * 513}, Reason.TOKEN_MALFORMED, id="kid too long"),
        pytest.param({"typ": None}, Reason.TOKEN_MALFORMED, id="null typ"),
        pytest.param({"typ": 1}, Reason.TOKEN_MALFORMED, id="number typ"),
        pytest.param({"typ": ["JWT"]}, Reason.TOKEN_MALFORMED, id="list typ"),
        pytest.param({"x": "x" * 4096}, Reason.TOKEN_MALFORMED, id="header too long"),
    ],
)
def test_a_header_parameter_that_cannot_be_honoured_is_refused(changes: JsonObject, reason: Reason) -> None:
    """These are critical extensions, encryption, and parameters of the wrong type (RFC 7515, section 4)."""
    found = header_of(changes)

    assert isinstance(found, Rejected)
    assert found.reason is reason


def test_a_missing_alg_is_refused() -> None:
    """RFC 7515, section 4.1.1: `alg` is required."""
    found = CompactParser().parse(unsigned(b"{}", claims()))

    assert found == Rejected(Reason.TOKEN_MALFORMED, "'alg' is missing or not a string")


@pytest.mark.parametrize(
    ("changes", "header"),
    [
        pytest.param({"kid": ""}, JOSEHeader("RS256", "", None), id="empty kid"),
        pytest.param({"kid": "k" * 512}, JOSEHeader("RS256", "k" * 512, None), id="longest kid"),
        pytest.param({"b64": True}, JOSEHeader("RS256", "key-1", None), id="b64 true"),
        pytest.param(
            {"alg": "none"}, JOSEHeader("none", "key-1", None), id="alg none, for its issuer to refuse"
        ),
        pytest.param({"typ": "JWT"}, JOSEHeader("RS256", "key-1", "jwt"), id="typ in capitals"),
        pytest.param({"typ": "at+jwt"}, JOSEHeader("RS256", "key-1", "at+jwt"), id="typ of an access token"),
        pytest.param({"typ": "application/AT+JWT"}, JOSEHeader("RS256", "key-1", "at+jwt"), id="typ in full"),
        pytest.param({"typ": ""}, JOSEHeader("RS256", "key-1", ""), id="empty typ"),
        pytest.param(
            {
                "jku": "https://evil.example",
                "jwk": {"kty": "oct"},
                "x5u": "https://evil.example",
                "x5c": ["x"],
            },
            JOSEHeader("RS256", "key-1", None),
            id="pointers to keys, ignored",
        ),
    ],
)
def test_a_header_is_reduced_to_what_the_gate_reads(changes: JsonObject, header: JOSEHeader) -> None:
    """It keeps algorithm, kid and type, and ignores parameters that point to keys."""
    assert header_of(changes) == header


@pytest.mark.parametrize(
    ("typ", "normal"),
    [
        ("JWT", "jwt"),
        ("application/jwt", "jwt"),
        ("Application/At+Jwt", "at+jwt"),
        ("logout+jwt", "logout+jwt"),
        ("text/jwt", "text/jwt"),
    ],
)
def test_types_compare_as_media_types(typ: str, normal: str) -> None:
    """RFC 7515, section 4.1.9: case does not matter, and `application/` is optional."""
    assert normalise_type(typ) == normal
