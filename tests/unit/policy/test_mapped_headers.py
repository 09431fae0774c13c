"""Headers from claims and from expressions."""

from __future__ import annotations

from typing import Any

import pytest

from authgate.errors import Reason
from authgate.expressions import Expects, Sees, compile_expression
from authgate.json_pointer import JSONPointer
from authgate.model import Headers, Identity, VerifiedClaims
from authgate.policy.headers import HeaderFailure, HeaderMapper
from authgate.policy.mapped_headers import ClaimHeader, ExpressionHeader, MappedHeader

ADA = Identity("ada", groups=("dev",))


def of_claim(pointer: str = "/x") -> MappedHeader:
    """The header X of a claim."""
    return ClaimHeader("X", JSONPointer(pointer))


def of_expression(text: str) -> MappedHeader:
    """The header X of an expression."""
    expression = compile_expression(text, Sees.CLAIMS | Sees.USER, Expects.ANY)
    return ExpressionHeader("X", expression, "headers.set[0].expression")


def header_of(
    header: MappedHeader, claims: dict[str, Any] | None, max_bytes: int = 1000
) -> Headers | HeaderFailure:
    """The value of this header for Ada."""
    mapper = HeaderMapper("none", max_bytes, mapped=[header])
    return mapper.map(ADA, claims=None if claims is None else VerifiedClaims(claims))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("a b", "a b", id="a text"),
        pytest.param("", "", id="an empty text"),
        pytest.param(None, "", id="null"),
        pytest.param(True, "true", id="true"),
        pytest.param(False, "false", id="false"),
        pytest.param(7, "7", id="an integer"),
        pytest.param(7.0, "7", id="a whole number"),
        pytest.param(0.5, "0.5", id="a fraction"),
        pytest.param(["a,b", "c%", 1, True], "a%2Cb,c%25,1,true", id="a list, joined as groups are"),
        pytest.param([], "", id="an empty list"),
        pytest.param("ä", "ä", id="a letter beyond ASCII"),
    ],
)
def test_a_claim_becomes_a_header(value: object, text: str) -> None:
    """Scalars are sent as text, lists are joined like groups."""
    assert header_of(of_claim(), {"x": value}) == (("X", text),)


@pytest.mark.parametrize(("verified", "text"), [(True, "a@b"), (False, ""), ("true", ""), (None, "")])
def test_an_unverified_email_address_is_not_sent(verified: object, text: str) -> None:
    """It could belong to someone else."""
    assert header_of(of_claim("/email"), {"email": "a@b", "email_verified": verified}) == (("X", text),)


@pytest.mark.parametrize("claims", [{}, None], ids=["a token without it", "a TokenReview"])
def test_an_absent_claim_is_an_empty_header(claims: dict[str, Any] | None) -> None:
    """The header is always sent, so that it replaces the client's own."""
    assert header_of(of_claim(), claims) == (("X", ""),)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"a": 1}, id="an object"),
        pytest.param([["a"]], id="a list of lists"),
        pytest.param(["a", None], id="a list with null"),
        pytest.param("a\r\nX-Admin: 1", id="a line break"),
        pytest.param(["a", " b"], id="a list with white space at an end"),
        pytest.param("\x00", id="NUL"),
        pytest.param("\ud800", id="a lone surrogate"),
        pytest.param(" a", id="white space before"),
        pytest.param("a\u2003", id="white space behind"),
    ],
)
def test_a_value_that_no_header_can_carry_is_denied(value: object) -> None:
    """Values are never changed. The denial names the header, not the value."""
    refused = header_of(of_claim(), {"x": value})
    assert isinstance(refused, HeaderFailure)
    assert refused.reason is Reason.IDENTITY_UNSENDABLE
    assert refused.detail.startswith("header X")


def test_a_claim_that_is_too_long_is_denied() -> None:
    """Values are never truncated to fit `headers.maxBytes`."""
    assert header_of(of_claim(), {"x": ["g" * 50] * 10_000}) == HeaderFailure(Reason.IDENTITY_TOO_LARGE)


def test_a_nested_claim_is_named_by_its_pointer() -> None:
    """A pointer can refer to members of objects and lists."""
    assert header_of(of_claim("/realm/roles/1"), {"realm": {"roles": ["a", "b"]}}) == (("X", "b"),)


@pytest.mark.parametrize(
    ("text", "header"),
    [
        pytest.param("user.username + '@' + claims.tenant", "ada@acme", id="user and claims"),
        pytest.param("user.groups", "dev", id="a list"),
        pytest.param("claims.?missing.orValue('none')", "none", id="a default for a missing claim"),
    ],
)
def test_an_expression_becomes_a_header(text: str, header: str) -> None:
    """Its value is sent like that of a claim."""
    assert header_of(of_expression(text), {"tenant": "acme"}) == (("X", header),)


def test_an_expression_that_fails_denies() -> None:
    """The denial names the expression."""
    refused = header_of(of_expression("claims.missing"), {})
    assert isinstance(refused, HeaderFailure)
    assert refused.detail.startswith("header X: headers.set[0].expression: ")


def test_anonymous_requests_have_every_header_empty() -> None:
    """Otherwise the client's own header could reach the app."""
    assert HeaderMapper("none", 1000, mapped=[of_claim()]).anonymous() == (("X", ""),)
