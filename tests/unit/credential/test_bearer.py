"""Parsing `Authorization` values into one bearer token."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authgate.credential.bearer import parse_credential
from authgate.errors import REASONS, Reason, Step
from authgate.model import BearerToken, Rejected

LIMIT = 64
TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
JWT = b"eyJhbGciOiJSUzI1NiJ9.e30.c2ln"


def outcome(*values: bytes) -> str | Rejected:
    """The token's text, or the rejection."""
    found = parse_credential(values, LIMIT)
    return found.text if isinstance(found, BearerToken) else found


@pytest.mark.parametrize(
    ("value", "token"),
    [
        pytest.param(b"Bearer " + JWT, JWT, id="a JWT"),
        pytest.param(b"Bearer abc", b"abc", id="a token68 that is no JWT"),
        pytest.param(b"Bearer a-._~+/Z9", b"a-._~+/Z9", id="every kind of character"),
        pytest.param(b"Bearer YWI=", b"YWI=", id="padding at the end"),
        pytest.param(b"Bearer YQ====", b"YQ====", id="any amount of padding"),
        pytest.param(b"bearer abc", b"abc", id="lower-case scheme"),
        pytest.param(b"BEARER abc", b"abc", id="upper-case scheme"),
        pytest.param(b"bEaReR abc", b"abc", id="mixed-case scheme"),
        pytest.param(b"Bearer   abc", b"abc", id="several spaces"),
        pytest.param(b"Bearer abc ", b"abc", id="trailing space"),
        pytest.param(b"Bearer abc\t", b"abc", id="trailing tab"),
        pytest.param(b" \tBearer abc", b"abc", id="leading white space"),
        pytest.param(b"Bearer " + b"a" * LIMIT, b"a" * LIMIT, id="exactly at the limit"),
        pytest.param(b"Bearer" + b" " * 1000 + b"a" * LIMIT, b"a" * LIMIT, id="spaces do not count"),
    ],
)
def test_a_token68_after_the_scheme_is_the_token(value: bytes, token: bytes) -> None:
    """RFC 6750, section 2.1: the scheme in any case, spaces, one token68."""
    assert outcome(value) == token.decode()


@pytest.mark.parametrize(
    ("values", "reason", "detail"),
    [
        pytest.param([], Reason.NO_CREDENTIAL, "", id="missing"),
        pytest.param([b""], Reason.CREDENTIAL_MALFORMED, "empty", id="empty"),
        pytest.param([b" \t "], Reason.CREDENTIAL_MALFORMED, "empty", id="only white space"),
        pytest.param([b"Bearer a", b"Bearer b"], Reason.MULTIPLE_CREDENTIALS, "(2 times)", id="two headers"),
        pytest.param([b"Bearer a", b"Bearer a"], Reason.MULTIPLE_CREDENTIALS, "2 ", id="two equal headers"),
        pytest.param([b"Bearer a", b""], Reason.MULTIPLE_CREDENTIALS, "2 ", id="one of two empty"),
        pytest.param([b"", b"", b""], Reason.MULTIPLE_CREDENTIALS, "3 ", id="three empty headers"),
        pytest.param([b"Bearer a, Bearer b"], Reason.MULTIPLE_CREDENTIALS, "comma", id="comma list"),
        pytest.param([b"Bearer a,"], Reason.MULTIPLE_CREDENTIALS, "comma", id="comma at the end"),
        pytest.param([b"Bearer ,a"], Reason.MULTIPLE_CREDENTIALS, "comma", id="comma at the beginning"),
        pytest.param([b"Bearer"], Reason.CREDENTIAL_MALFORMED, "no token follows", id="scheme alone"),
        pytest.param([b"Bearer   "], Reason.CREDENTIAL_MALFORMED, "no token follows", id="scheme and spaces"),
        pytest.param([b"Basic dTpw"], Reason.SCHEME_NOT_BEARER, "", id="wrong scheme"),
        pytest.param([b"DPoP abc"], Reason.SCHEME_NOT_BEARER, "DPoP proofs", id="DPoP"),
        pytest.param([b"Digest a=b, c=d"], Reason.SCHEME_NOT_BEARER, "", id="wrong scheme with a list"),
        pytest.param([b"Bearerx abc"], Reason.SCHEME_NOT_BEARER, "", id="longer scheme"),
        pytest.param([b"Token Bearer"], Reason.SCHEME_NOT_BEARER, "", id="the scheme's name as a token"),
        pytest.param([JWT], Reason.SCHEME_NOT_BEARER, "", id="token without scheme"),
        pytest.param([b"Bearer:abc"], Reason.CREDENTIAL_MALFORMED, "does not start", id="colon"),
        pytest.param([b"Bearer\tabc"], Reason.CREDENTIAL_MALFORMED, "does not start", id="tab for the space"),
        pytest.param([b"Bearer \tabc"], Reason.CREDENTIAL_MALFORMED, "bytes", id="tab after the space"),
        pytest.param([b"Bearer a\tb"], Reason.CREDENTIAL_MALFORMED, "bytes", id="tab inside"),
        pytest.param([b"Bearer a b"], Reason.CREDENTIAL_MALFORMED, "bytes", id="two tokens"),
        pytest.param(
            [b"Bearer bearer a"], Reason.CREDENTIAL_MALFORMED, "begins with 'Bearer '", id="scheme twice"
        ),
        pytest.param([b"Bearer a\x00b"], Reason.CREDENTIAL_MALFORMED, "bytes", id="NUL"),
        pytest.param([b"Bearer abc\x00"], Reason.CREDENTIAL_MALFORMED, "bytes", id="NUL at the end"),
        pytest.param([b"Bearer abc\n"], Reason.CREDENTIAL_MALFORMED, "bytes", id="newline at the end"),
        pytest.param([b"Bearer\n"], Reason.CREDENTIAL_MALFORMED, "", id="newline after the scheme"),
        pytest.param([b"Bearer abc\r"], Reason.CREDENTIAL_MALFORMED, "bytes", id="carriage return"),
        pytest.param([b"Bearer a\xe9"], Reason.CREDENTIAL_MALFORMED, "bytes", id="high byte"),
        pytest.param(["Bearer ä".encode()], Reason.CREDENTIAL_MALFORMED, "bytes", id="UTF-8"),
        pytest.param([b"\xa0Bearer abc"], Reason.CREDENTIAL_MALFORMED, "does not start", id="no-break space"),
        pytest.param(
            ["Ｂearer abc".encode()],  # noqa: RUF001 - the look-alike is intended
            Reason.CREDENTIAL_MALFORMED,
            "does not start",
            id="a scheme of look-alikes",
        ),
        pytest.param([b'Bearer "abc"'], Reason.CREDENTIAL_MALFORMED, "quoted", id="double quotes"),
        pytest.param([b"Bearer 'abc'"], Reason.CREDENTIAL_MALFORMED, "quoted", id="single quotes"),
        pytest.param([b"Bearer a=b"], Reason.CREDENTIAL_MALFORMED, "bytes", id="padding in the middle"),
        pytest.param([b"Bearer =ab"], Reason.CREDENTIAL_MALFORMED, "bytes", id="padding at the beginning"),
        pytest.param([b"Bearer ="], Reason.CREDENTIAL_MALFORMED, "bytes", id="padding alone"),
    ],
)
def test_anything_else_is_rejected_with_a_reason(values: list[bytes], reason: Reason, detail: str) -> None:
    """Two headers, a list, quotes and invalid bytes each have their own reason and detail."""
    found = outcome(*values)

    assert isinstance(found, Rejected)
    assert found.reason is reason
    assert detail in found.detail


@pytest.mark.parametrize("size", [LIMIT + 1, 100_000])
def test_a_token_over_the_limit_is_rejected_with_both_sizes(size: int) -> None:
    """The detail has the length and the limit in bytes."""
    assert outcome(b"Bearer " + b"a" * size) == Rejected(
        Reason.CREDENTIAL_TOO_LARGE, f"{size} bytes, the limit is {LIMIT} bytes"
    )


@pytest.mark.parametrize("bad", [b"\x00", b"!", b" x", b'"'], ids=["NUL", "sign", "space", "quote"])
def test_no_detail_quotes_the_credential(bad: bytes) -> None:
    """It could be a real token with a typing error."""
    found = outcome(b"Bearer s3cr3ts3cr3t" + bad)

    assert isinstance(found, Rejected)
    assert "s3cr3t" not in found.detail


@given(st.lists(st.binary(max_size=100) | st.binary(max_size=80).map(b"Bearer ".__add__), max_size=3))
def test_any_bytes_give_a_valid_token_or_a_reason_of_this_step(values: list[bytes]) -> None:
    """No input raises an error, and every token that leaves this step follows RFC 6750."""
    found = outcome(*values)

    if isinstance(found, Rejected):
        assert REASONS[found.reason].step is Step.CREDENTIAL
    else:
        assert TOKEN68.fullmatch(found)
        assert len(found) <= LIMIT


def test_a_token_has_no_repr() -> None:
    """A log line or traceback with the object does not contain the token."""
    token = BearerToken("s3cr3t")

    assert "s3cr3t" not in f"{token!r} {token}"


@pytest.mark.parametrize("byte", range(256), ids=lambda byte: f"{byte:#04x}")
def test_the_usual_spelling_is_parsed_like_every_other(byte: int) -> None:
    """`Bearer` with one space has a faster path, which must give the same results for every byte."""
    for token in (bytes([byte]), b"a" + bytes([byte]), bytes([byte]) + b"a", b"a" + bytes([byte]) + b"a"):
        assert outcome(b"Bearer " + token) == outcome(b"bearer " + token)
