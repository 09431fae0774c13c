"""RFC 6750, bearer tokens: the grammars of credentials and challenges."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authgate.credential.bearer import parse_credential
from authgate.errors import REASONS, Challenge, Reason
from authgate.model import NO_EVIDENCE, BearerToken, Deny, Rejected
from authgate.server.http.response import render

LIMIT = 4096
TOKEN_CHARACTERS = (string.ascii_letters + string.digits + "-._~+/").encode()

GOOD = {
    "the RFC's own example": b"Bearer mF_9.B5f-4.1JqM",
    "one character": b"Bearer a",
    "every character": b"Bearer " + TOKEN_CHARACTERS,
    "padding": b"Bearer YWxpY2U6c2VjcmV0==",
    "more padding than base64 has": b"Bearer a=====",
    "the scheme in lower case": b"bearer mF_9.B5f-4.1JqM",
    "the scheme in capitals": b"BEARER mF_9.B5f-4.1JqM",
    "many spaces after the scheme": b"Bearer    mF_9.B5f-4.1JqM",
}
BAD = {
    "nothing": b"",
    "the scheme alone": b"Bearer",
    "no token after the scheme": b"Bearer ",
    "padding alone": b"Bearer =",
    "padding inside": b"Bearer a=b",
    "two tokens": b"Bearer a b",
    "a comma list": b"Bearer a, Bearer b",
    "a trailing comma": b"Bearer a,",
    "a tab for the space": b"Bearer\ta",
    "a quoted token": b'Bearer "a"',
    "an auth-param": b'Bearer token="a"',
    "a percent sign": b"Bearer a%20b",
    "NUL": b"Bearer a\x00",
    "a line break": b"Bearer a\r\n b",
    "a high byte": b"Bearer a\xff",
    "UTF-8": "Bearer é".encode(),
    "another scheme": b"Basic YWxpY2U6c2VjcmV0",
    "a longer scheme": b"BearerX a",
    "no scheme": b"mF_9.B5f-4.1JqM",
}
_CHALLENGE = re.compile(r'Bearer ((?:[a-z_]+="[\x20-\x21\x23-\x5b\x5d-\x7e]*"(?:, )?)+)')
_PARAMETER = re.compile(r'([a-z_]+)="([^"]*)"')
_REFUSALS = [reason for reason, info in REASONS.items() if info.status in (401, 403)]


def parameters(header: str) -> dict[str, str]:
    """Return the parameters of a Bearer challenge; fails if it does not follow the grammar of section 3."""
    match = _CHALLENGE.fullmatch(header)
    assert match is not None, header
    pairs = _PARAMETER.findall(match[1])
    assert len(dict(pairs)) == len(pairs), "section 3: attributes must not appear more than once"
    return dict(pairs)


def challenge_of(reason: Reason, detail: str = "") -> dict[str, str]:
    """Return the parameters of the challenge for a denial with this reason."""
    _, headers = render(Deny(reason, detail, NO_EVIDENCE))
    (header,) = [value for name, value in headers if name == "WWW-Authenticate"]
    return parameters(header)


@pytest.mark.parametrize("value", GOOD.values(), ids=GOOD.keys())
def test_section_2_1_a_credential_follows_the_grammar(value: bytes) -> None:
    """A value of the form `"Bearer" 1*SP b64token` is a credential. Its b64token is the token."""
    token = parse_credential([value], LIMIT)
    assert isinstance(token, BearerToken)
    assert token.text.encode() == value.split()[1]


@pytest.mark.parametrize("value", BAD.values(), ids=BAD.keys())
def test_section_2_1_other_values_are_rejected(value: bytes) -> None:
    """A value that does not match the grammar is not a credential."""
    assert isinstance(parse_credential([value], LIMIT), Rejected)


@given(
    st.lists(
        st.sampled_from([b"Bearer", b"bearer", b"Basic", b" ", b"\t", b",", b"=", b"a", b"/", b'"', b"\xff"])
        | st.binary(max_size=3)
    ).map(b"".join)
)
def test_section_2_1_nothing_else_is_a_credential(value: bytes) -> None:
    """A field value is accepted if and only if a byte-by-byte check of the grammar accepts it."""
    token = parse_credential([value], LIMIT)
    assert isinstance(token, BearerToken) == _is_credential(value.strip(b" \t"))


def _is_credential(value: bytes) -> bool:
    scheme, space, rest = value.partition(b" ")
    body = rest.lstrip(b" ").rstrip(b"=")
    return (
        scheme.lower() == b"bearer"
        and bool(space)
        and bool(body)
        and all(byte in TOKEN_CHARACTERS for byte in body)
    )


@pytest.mark.parametrize(
    "values",
    [[b"Bearer a", b"Bearer a"], [b"Bearer a", b"Basic b"], [b"", b"Bearer a"]],
    ids=["the same token twice", "two schemes", "one of them empty"],
)
def test_section_2_a_request_has_one_credential(values: list[bytes]) -> None:
    """A request with more than one credential is denied. authgate does not choose one of them."""
    verdict = parse_credential(values, LIMIT)
    assert isinstance(verdict, Rejected)
    assert verdict.reason is Reason.MULTIPLE_CREDENTIALS


@pytest.mark.parametrize("reason", _REFUSALS)
def test_section_3_every_denial_has_a_challenge(reason: Reason) -> None:
    """Every 401 and 403 has one Bearer challenge with a realm."""
    assert challenge_of(reason)["realm"] == "authgate"


@pytest.mark.parametrize("reason", [each for each in _REFUSALS if each is not Reason.NO_CREDENTIAL])
def test_section_3_1_error_codes(reason: Reason) -> None:
    """The error is one of the three registered codes: insufficient_scope with 403, the others with 401.

    Section 3.1 requires 400 for invalid_request, but proxies accept only 401 and 403 from auth subrequests.
    """
    error, status = Challenge(challenge_of(reason)["error"]), REASONS[reason].status
    assert (error is Challenge.INSUFFICIENT_SCOPE) == (status == 403)
    assert error is not Challenge.NONE


def test_section_3_1_no_error_without_a_credential() -> None:
    """The challenge for a request without a credential has no error code and no description."""
    assert challenge_of(Reason.NO_CREDENTIAL) == {"realm": "authgate"}


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (Reason.CREDENTIAL_MALFORMED, "invalid_request"),
        (Reason.MULTIPLE_CREDENTIALS, "invalid_request"),
        (Reason.TOKEN_MALFORMED, "invalid_token"),
        (Reason.TOKEN_EXPIRED, "invalid_token"),
        (Reason.SIGNATURE_INVALID, "invalid_token"),
        (Reason.NOT_ALLOWED, "insufficient_scope"),
    ],
)
def test_section_3_1_which_error(reason: Reason, error: str) -> None:
    """A malformed request, an invalid token and missing privileges have different error codes."""
    assert challenge_of(reason)["error"] == error


@given(st.sampled_from(_REFUSALS), st.text())
def test_section_3_characters_of_a_description(reason: Reason, detail: str) -> None:
    """No detail ends the quoted string or contains characters that section 3 forbids."""
    assert set(challenge_of(reason, detail)) <= {"realm", "error", "error_description"}
