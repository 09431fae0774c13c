"""Identities from CEL expressions: mappings, and rules over claims and over the user, as in kube-apiserver."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from authgate.dev.compact import OMIT
from authgate.errors import Reason
from authgate.expressions import Expects, Sees, compile_expression
from authgate.model import Identity, JSONValue, Rejected, VerifiedClaims
from authgate.verify.mapped import ClaimRules, Condition, Mapped, PrefixedClaim, mapped_identity
from tests.support.tokens import ISSUER, claims

if TYPE_CHECKING:
    from collections.abc import Mapping

SUB = PrefixedClaim("sub")
AUTHENTICATED = "system:authenticated"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


def by(expression: str) -> Mapped:
    """A mapping by an expression."""
    return Mapped("its.place", compile_expression(expression, Sees.CLAIMS, Expects.ANY))


def claims_rule(expression: str, message: str = "") -> ClaimRules:
    """Return claim rules with a condition on claims."""
    condition = Condition("its.place", compile_expression(expression, Sees.CLAIMS, Expects.BOOL), message)
    return ClaimRules(SUB, claims=(condition,))


def user_rule(expression: str, message: str = "", **rules: object) -> ClaimRules:
    """Return claim rules with a condition on the user that the other rules give."""
    condition = Condition("its.place", compile_expression(expression, Sees.USER, Expects.BOOL), message)
    return ClaimRules(SUB, **{"user": (condition,), **rules})  # type: ignore[arg-type] # by their names


def mapped(rules: ClaimRules, **changes: object) -> Identity | Rejected:
    """Return the result of the rules for a token with these claims."""
    members = cast("Mapping[str, JSONValue]", claims(**{"jti": OMIT, **changes}))
    return mapped_identity(VerifiedClaims(members), ISSUER, ("my-audience",), rules=rules, issuer_name="corp")


def identity(rules: ClaimRules, **changes: object) -> Identity:
    """Return the identity that the rules give."""
    found = mapped(rules, **changes)
    assert isinstance(found, Identity), found
    return found


def refusal(rules: ClaimRules, **changes: object) -> Rejected:
    """Return the rejection that the rules give."""
    found = mapped(rules, **changes)
    assert isinstance(found, Rejected), found
    return found


@pytest.mark.parametrize(
    ("expression", "changes", "username"),
    [
        ("claims.sub", {}, "user-1"),
        ("'corp:' + claims.sub", {}, "corp:user-1"),
        ("has(claims.upn) ? claims.upn : claims.sub", {"upn": "jane"}, "jane"),
        ("claims.?upn.orValue(claims.sub)", {}, "user-1"),
    ],
)
def test_an_expression_gives_the_username(expression: str, changes: dict[str, object], username: str) -> None:
    """The expression's text is the username, without a prefix."""
    assert identity(ClaimRules(by(expression)), **changes).username == username


@pytest.mark.parametrize(
    "value",
    ["", None, 1, True, ["a"], {}, "a\nb", "a\udfff", OMIT],
    ids=["empty", "null", "number", "boolean", "list", "object", "newline", "surrogate", "missing"],
)
def test_a_username_must_be_text(value: object) -> None:
    """The token is rejected, and the detail names the expression."""
    found = refusal(ClaimRules(by("claims.x")), x=value)

    assert found.reason is Reason.IDENTITY_INVALID
    assert found.detail.startswith("its.place")


@pytest.mark.parametrize(
    ("value", "groups"),
    [
        (["a", "b"], ("a", "b")),
        ("a", ("a",)),
        (["a", "", "b"], ("a", "b")),
        ("", ()),
        ([], ()),
        (None, ()),
    ],
    ids=["list", "text", "list with an empty text", "empty text", "empty list", "null"],
)
def test_an_expression_gives_groups(value: object, groups: tuple[str, ...]) -> None:
    """A text is one group. Null and empty texts give no group."""
    assert identity(ClaimRules(SUB, groups=by("claims.x")), x=value).groups == (*groups, AUTHENTICATED)


@pytest.mark.parametrize(
    "value",
    [["a", None], ["a", 1], 1, True, {"a": "b"}, ["a\nb"], OMIT],
    ids=["null in a list", "mixed list", "number", "boolean", "object", "newline", "missing"],
)
def test_groups_must_be_text_or_a_list_of_texts(value: object) -> None:
    """Another value rejects the token."""
    found = refusal(ClaimRules(SUB, groups=by("claims.x")), x=value)

    assert found.reason is Reason.IDENTITY_INVALID
    assert found.detail.startswith("its.place")


@pytest.mark.parametrize(("value", "uid"), [("u-1", "u-1"), ("", "")], ids=["text", "empty"])
def test_an_expression_gives_the_uid(value: str, uid: str) -> None:
    """An empty text gives no uid."""
    assert identity(ClaimRules(SUB, uid=by("claims.x")), x=value).uid == uid


@pytest.mark.parametrize("value", [None, 1, ["a"], OMIT], ids=["null", "number", "list", "missing"])
def test_a_uid_must_be_text(value: object) -> None:
    """An expression's null rejects the token."""
    assert refusal(ClaimRules(SUB, uid=by("claims.x")), x=value).reason is Reason.IDENTITY_INVALID


def test_expressions_give_extra() -> None:
    """Keys are sorted and include the credential's id. A key without a text is left out."""
    rules = ClaimRules(
        SUB,
        extra=(
            ("example.com/b", by("claims.b")),
            ("example.com/a", by("claims.a")),
            ("example.com/none", by("claims.?none.orValue([])")),
            ("example.com/empty", by("''")),
            ("example.com/null", by("null")),
        ),
    )

    assert identity(rules, a="1", b=["2", "", "3"], jti="t-1").extra == (
        (CREDENTIAL_ID, ("JTI=t-1",)),
        ("example.com/a", ("1",)),
        ("example.com/b", ("2", "3")),
    )


@pytest.mark.parametrize("value", [1, ["a", 1], {}, "a\nb", OMIT])
def test_extra_must_be_text_or_a_list_of_texts(value: object) -> None:
    """A claim that is missing or has another type rejects the token."""
    rules = ClaimRules(SUB, extra=(("example.com/a", by("claims.x")),))

    assert refusal(rules, x=value).reason is Reason.IDENTITY_INVALID


def test_a_true_rule_over_claims_accepts_the_token() -> None:
    """The result `true` is required."""
    assert isinstance(mapped(claims_rule("claims.hd == 'corp'"), hd="corp"), Identity)


@pytest.mark.parametrize(
    ("rules", "changes", "detail"),
    [
        pytest.param(
            claims_rule("claims.hd == 'corp'", "only for us"), {"hd": "x"}, "only for us", id="false"
        ),
        pytest.param(claims_rule("claims.hd == 'corp'"), {"hd": "x"}, "is not true", id="false, unexplained"),
        pytest.param(claims_rule("claims.hd == 'corp'", "only for us"), {}, "is missing", id="missing"),
        pytest.param(claims_rule("claims.n > 1"), {"n": "2"}, "an unsupported type", id="another type"),
    ],
)
def test_a_false_or_failing_rule_over_claims_rejects_the_token(
    rules: ClaimRules, changes: dict[str, object], detail: str
) -> None:
    """The detail names the rule. If the rule is false, it contains the rule's message."""
    found = refusal(rules, **changes)

    assert found.reason is Reason.CLAIM_RULE_FAILED
    assert found.detail.startswith("its.place: ")
    assert detail in found.detail


def test_a_rule_over_the_user_sees_the_mapped_identity() -> None:
    """It sees username, uid, groups and extra, without system:authenticated."""
    rules = user_rule(
        "user.username == 'user-1' && user.uid == 'u' && user.groups == ['a']"
        " && user.extra == {'example.com/a': ['b']}",
        uid="oid",
        groups=PrefixedClaim("groups"),
        extra=(("example.com/a", by("'b'")),),
    )

    assert identity(rules, oid="u", groups=["a"]).groups == ("a", AUTHENTICATED)


def test_a_false_rule_over_the_user_rejects_the_token() -> None:
    """The detail contains the rule's message."""
    found = refusal(user_rule("!user.username.startsWith('user')", "no users"))

    assert (found.reason, found.detail) == (Reason.USER_RULE_FAILED, "its.place: no users")


def test_a_failing_rule_over_the_user_rejects_the_token() -> None:
    """An error is not `true`."""
    found = refusal(user_rule("user.extra['example.com/a'] == ['b']"))

    assert found.reason is Reason.USER_RULE_FAILED
    assert "is missing" in found.detail
