"""The answer to every decision: status and headers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authgate.errors import REASONS, Challenge, Reason
from authgate.model import NO_EVIDENCE, Allow, Deny, Identity, Unavailable
from authgate.server.http.response import challenge, render

COMMON = (("Cache-Control", "no-store"), ("Content-Length", "0"), ("Server", "authgate"))
IDENTITY = (("Remote-User", "alice"), ("Remote-Groups", ""))
ALICE = Identity("alice")
DENIALS = [reason for reason, info in REASONS.items() if info.status in (401, 403)]
UNKNOWNS = [reason for reason, info in REASONS.items() if info.status == 503]
# RFC 9110, section 11.6.1, and RFC 6750, section 3: quoted strings without anything to escape.
CHALLENGE = re.compile(
    r'Bearer realm="authgate"(, error="(?P<error>[a-z_]+)", error_description="(?P<words>[ !#-\[\]-~]*)")?'
)


def test_allow_is_200_with_identity_headers() -> None:
    """There are no other headers."""
    for reason in (Reason.AUTHENTICATED, Reason.ANONYMOUS):
        assert render(Allow(ALICE, reason, NO_EVIDENCE, IDENTITY)) == (200, IDENTITY + COMMON)


@pytest.mark.parametrize("reason", DENIALS)
def test_a_denial_has_its_status_challenge_and_reason(reason: Reason) -> None:
    """401 or 403, with a Bearer challenge (RFC 6750, section 3)."""
    info = REASONS[reason]
    status, headers = render(Deny(reason, "a detail", NO_EVIDENCE))
    names = dict(headers)
    match = CHALLENGE.fullmatch(names["WWW-Authenticate"])

    assert status == info.status
    assert match is not None
    assert (match["error"] or "") == info.challenge.value
    assert match["words"] == (f"{info.meaning}: a detail" if info.challenge is not Challenge.NONE else None)
    assert headers[1:] == (("X-Auth-Reason", reason.value), *COMMON)


@pytest.mark.parametrize("reason", DENIALS)
def test_a_401_also_asks_for_a_password_that_can_be_a_token(reason: Reason) -> None:
    """Both challenges are in one line, Basic first. A 403 has no Basic, because another password would not help."""
    plain, asking = (
        dict(render(Deny(reason, "a detail", NO_EVIDENCE), reads_basic=basic)[1])["WWW-Authenticate"]
        for basic in (False, True)
    )
    basic = 'Basic realm="authgate", charset="UTF-8", ' if REASONS[reason].status == 401 else ""
    assert asking == basic + plain


@pytest.mark.parametrize("reason", UNKNOWNS)
def test_unavailable_is_503_with_retry_after(reason: Reason) -> None:
    """There is no challenge, because the client did nothing wrong."""
    assert render(Unavailable(reason, "a detail", 7, NO_EVIDENCE)) == (
        503,
        (("Retry-After", "7"), ("X-Auth-Reason", reason.value), *COMMON),
    )


def test_an_unknown_endpoint_is_404_with_its_reason() -> None:
    """It has no challenge."""
    assert render(Deny(Reason.NO_SUCH_ENDPOINT, "", NO_EVIDENCE)) == (
        404,
        (("X-Auth-Reason", "no_such_endpoint"), *COMMON),
    )


def test_every_reason_can_be_rendered() -> None:
    """Each belongs to one kind of decision."""
    allowed = {Reason.AUTHENTICATED, Reason.ANONYMOUS}

    assert {*DENIALS, *UNKNOWNS, *allowed, Reason.NO_SUCH_ENDPOINT} == set(Reason)


@pytest.mark.parametrize("reason", [*DENIALS, Reason.NO_SUCH_ENDPOINT])
def test_only_a_200_has_identity_headers(reason: Reason) -> None:
    """This holds even if the identity is known."""
    _, headers = render(Deny(reason, "policy 'default'", NO_EVIDENCE, ALICE))

    assert {name for name, _ in headers} <= {
        "WWW-Authenticate",
        "X-Auth-Reason",
        "Cache-Control",
        "Content-Length",
        "Server",
    }
    assert not any("alice" in value for _, value in headers)


def test_a_request_without_a_credential_gets_no_error_code() -> None:
    """RFC 6750, section 3.1."""
    assert challenge(Reason.NO_CREDENTIAL, "") == 'Bearer realm="authgate"'


@pytest.mark.parametrize(
    ("reason", "detail", "value"),
    [
        pytest.param(
            Reason.TOKEN_EXPIRED,
            "at 2027-01-15T09:00:00Z",
            'Bearer realm="authgate", error="invalid_token", '
            'error_description="the token has expired: at 2027-01-15T09:00:00Z"',
            id="with a detail",
        ),
        pytest.param(
            Reason.MULTIPLE_CREDENTIALS,
            "",
            'Bearer realm="authgate", error="invalid_request", '
            'error_description="the request has more than one credential"',
            id="without one",
        ),
        pytest.param(
            Reason.NOT_ALLOWED,
            'a "b" \\ c\r\nX: y\x00\x7fä☃',
            'Bearer realm="authgate", error="insufficient_scope", error_description='
            "\"no allow entry of the policy matches the identity: a 'b' ' c''X: y''''\"",
            id="with characters that are not allowed",
        ),
    ],
)
def test_a_challenge_has_a_description(reason: Reason, detail: str, value: str) -> None:
    """It is a text on one line."""
    assert challenge(reason, detail) == value


@given(st.sampled_from(DENIALS), st.text(max_size=1000))
def test_any_detail_makes_a_valid_challenge(reason: Reason, detail: str) -> None:
    """A description has only %x20-21 / %x23-5B / %x5D-7E (RFC 6750, section 3), and a maximum length."""
    match = CHALLENGE.fullmatch(challenge(reason, detail))

    assert match is not None
    assert len(match["words"] or "") <= 200
