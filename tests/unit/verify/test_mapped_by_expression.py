"""Identities by expressions: mappings, and rules over claims and over the user, as the kube-apiserver judges them."""

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
    """Rules with a condition over claims."""
    condition = Condition("its.place", compile_expression(expression, Sees.CLAIMS, Expects.BOOL), message)
    return ClaimRules(SUB, claims=(condition,))


def user_rule(expression: str, message: str = "", **rules: object) -> ClaimRules:
    """Rules with a condition over the user whom the other rules name."""
    condition = Condition("its.place", compile_expression(expression, Sees.USER, Expects.BOOL), message)
    return ClaimRules(SUB, **{"user": (condition,), **rules})  # type: ignore[arg-type] # by their names


def mapped(rules: ClaimRules, **changes: object) -> Identity | Rejected:
    """What the rules make of a token with these claims."""
    members = cast("Mapping[str, JSONValue]", claims(**{"jti": OMIT, **changes}))
    return mapped_identity(VerifiedClaims(members), ISSUER, ("my-audience",), rules=rules, issuer_name="corp")


def identity(rules: ClaimRules, **changes: object) -> Identity:
    """The same, where it has to be an identity."""
    found = mapped(rules, **changes)
    assert isinstance(found, Identity), found
    return found


def refusal(rules: ClaimRules, **changes: object) -> Rejected:
    """The same, where it has to be a refusal."""
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
    """The expression's text is the name, with nothing before it."""
    assert identity(ClaimRules(by(expression)), **changes).username == username


@pytest.mark.parametrize(
    "value",
    ["", None, 1, True, ["a"], {}, "a\nb", "a\udfff", OMIT],
    ids=["empty", "null", "number", "boolean", "list", "object", "newline", "surrogate", "missing"],
)
def test_what_is_no_text_is_no_username(value: object) -> None:
    """Nobody in particular is nobody, and the place of the expression is told."""
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
    """A text is one group; null and empty texts are none."""
    assert identity(ClaimRules(SUB, groups=by("claims.x")), x=value).groups == (*groups, AUTHENTICATED)


@pytest.mark.parametrize(
    "value",
    [["a", None], ["a", 1], 1, True, {"a": "b"}, ["a\nb"], OMIT],
    ids=["null in a list", "mixed list", "number", "boolean", "object", "newline", "missing"],
)
def test_other_values_are_no_groups(value: object) -> None:
    """What is neither a text nor a list of texts refuses the token."""
    found = refusal(ClaimRules(SUB, groups=by("claims.x")), x=value)

    assert found.reason is Reason.IDENTITY_INVALID
    assert found.detail.startswith("its.place")


@pytest.mark.parametrize(("value", "uid"), [("u-1", "u-1"), ("", "")], ids=["text", "empty"])
def test_an_expression_gives_the_uid(value: str, uid: str) -> None:
    """An empty uid is none."""
    assert identity(ClaimRules(SUB, uid=by("claims.x")), x=value).uid == uid


@pytest.mark.parametrize("value", [None, 1, ["a"], OMIT], ids=["null", "number", "list", "missing"])
def test_what_is_no_text_is_no_uid(value: object) -> None:
    """By an expression, null is no uid."""
    assert refusal(ClaimRules(SUB, uid=by("claims.x")), x=value).reason is Reason.IDENTITY_INVALID


def test_expressions_give_extra() -> None:
    """Keys are sorted, with the credential's id; a key without any text is left out."""
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
def test_other_values_are_no_extra(value: object) -> None:
    """A claim that is missing or of another type refuses the token."""
    rules = ClaimRules(SUB, extra=(("example.com/a", by("claims.x")),))

    assert refusal(rules, x=value).reason is Reason.IDENTITY_INVALID


def test_a_rule_over_claims_that_holds_lets_the_token_pass() -> None:
    """What is true passes."""
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
def test_a_rule_over_claims_that_does_not_hold_refuses(
    rules: ClaimRules, changes: dict[str, object], detail: str
) -> None:
    """False and an error refuse alike; the place of the rule is told, and its message where it is false."""
    found = refusal(rules, **changes)

    assert found.reason is Reason.CLAIM_RULE_FAILED
    assert found.detail.startswith("its.place: ")
    assert detail in found.detail


def test_a_rule_over_the_user_sees_what_the_mappings_gave() -> None:
    """Username, uid, groups and extra, and not the group that everybody is in."""
    rules = user_rule(
        "user.username == 'user-1' && user.uid == 'u' && user.groups == ['a']"
        " && user.extra == {'example.com/a': ['b']}",
        uid="oid",
        groups=PrefixedClaim("groups"),
        extra=(("example.com/a", by("'b'")),),
    )

    assert identity(rules, oid="u", groups=["a"]).groups == ("a", AUTHENTICATED)


def test_a_rule_over_the_user_that_does_not_hold_refuses() -> None:
    """The rule's message is told."""
    found = refusal(user_rule("!user.username.startsWith('user')", "no users"))

    assert (found.reason, found.detail) == (Reason.USER_RULE_FAILED, "its.place: no users")


def test_a_rule_over_the_user_that_fails_refuses() -> None:
    """An error is never true."""
    found = refusal(user_rule("user.extra['example.com/a'] == ['b']"))

    assert found.reason is Reason.USER_RULE_FAILED
    assert "is missing" in found.detail
