"""Roles: which claims a token must have, and how they rename the user."""

from __future__ import annotations

from typing import Any

import pytest

from authgate.errors import Reason
from authgate.json_pointer import JSONPointer
from authgate.model import Identity, VerifiedClaims
from authgate.policy.conditions import PolicyInput
from authgate.policy.role import BoundClaim, Leeways, Role

NOW = 1_800_000_000.0
ADA = Identity("corp:ada", groups=("corp:dev", "system:authenticated"), audiences=("vault",))
CLAIMS: dict[str, Any] = {
    "sub": "ada",
    "exp": NOW + 100,
    "iat": NOW - 100,
    "nbf": NOW,
    "n": 7,
    "half": 0.5,
    "flag": True,
    "empty": None,
    "email": "ada@corp.example",
    "groups": ["dev", "ops"],
    "mixed": ["dev", 1],
    "realm": {"roles": ["a", "b"], "a/b": "c"},
}


def refusal(role: Role, claims: dict[str, Any] | None = CLAIMS, now: float = NOW) -> Reason | None:
    """Why a token with these claims does not meet the role."""
    known = None if claims is None else VerifiedClaims(claims)
    found = role.refuses(PolicyInput(ADA, known, now=now))
    return found[0] if found else None


BOUND = {
    "the value": ("/email", ["ada@corp.example"], False, True),
    "one of several": ("/email", ["x", "ada@corp.example"], False, True),
    "another value": ("/email", ["ada@corp.examplE"], False, False),
    "one in a list": ("/groups", ["ops"], False, True),
    "none in a list": ("/groups", ["op"], False, False),
    "nested": ("/realm/roles", ["b"], False, True),
    "nested by index": ("/realm/roles/0", ["a"], False, True),
    "a name with a slash": ("/realm/a~1b", ["c"], False, True),
    "missing": ("/missing", [""], False, False),
    "null": ("/empty", ["None"], False, False),
    "an object": ("/realm", ["x"], False, False),
    "a number": ("/n", [7], False, True),
    "a number as text is another": ("/n", ["7"], False, False),
    "a fraction": ("/half", [0.5], False, True),
    "true": ("/flag", [True], False, True),
    "true is not one": ("/flag", [1], False, False),
    "one is not true": ("/mixed", [True], False, False),
    "a star is a letter": ("/email", ["*@corp.example"], False, False),
    "a glob": ("/email", ["*@corp.example"], True, True),
    "a glob in the middle": ("/email", ["ada@*.example"], True, True),
    "a glob for all of it": ("/email", ["ada@corp"], True, False),
    "a glob with two stars": ("/email", ["a*@*.example"], True, True),
    "two stars in a row": ("/email", ["ada**example"], True, True),
    "the end is not the middle": ("/email", ["*ada*ada@corp.example"], True, False),
    "a glob over a list": ("/groups", ["o*"], True, True),
    "a glob takes texts only": ("/n", ["*"], True, False),
    "a dot is a dot": ("/email", ["ada@corp?example", "ada@corp.exampl."], True, False),
}


@pytest.mark.parametrize(("pointer", "values", "glob", "holds"), BOUND.values(), ids=BOUND)
def test_a_bound_claim_matches_its_values(pointer: str, values: list[Any], glob: bool, holds: bool) -> None:
    """A claim matches if it is one of the values, or a list with one of them."""
    assert BoundClaim(JSONPointer(pointer), values, glob=glob).holds(CLAIMS) is holds


def test_an_unverified_email_address_does_not_match() -> None:
    """It could belong to someone else."""
    bound = BoundClaim(JSONPointer("/email"), ["ada@corp.example"], glob=False)
    assert bound.holds(CLAIMS | {"email_verified": True})
    assert not bound.holds(CLAIMS | {"email_verified": False})


def test_a_glob_with_many_stars_takes_linear_time() -> None:
    """Otherwise anyone who can choose a claim's value could block all requests."""
    bound = BoundClaim(JSONPointer("/name"), ["*a" * 20 + "*b"], glob=True)
    assert not bound.holds({"name": "a" * 12_000})
    assert bound.holds({"name": "a" * 12_000 + "b"})


ROLES = {
    "nothing more": (Role(), None),
    "the audience": (Role(audiences=frozenset({"vault", "x"})), None),
    "another audience": (Role(audiences=frozenset({"x"})), Reason.AUDIENCE_MISMATCH),
    "the subject": (Role(subject="ada"), None),
    "another subject": (Role(subject="ad"), Reason.NOT_ALLOWED),
    "a claim": (Role(claims=(BoundClaim(JSONPointer("/n"), [7], glob=False),)), None),
    "one claim of two": (
        Role(claims=tuple(BoundClaim(JSONPointer("/n"), [n], glob=False) for n in (7, 8))),
        Reason.NOT_ALLOWED,
    ),
    "a lifetime": (Role(max_lifetime=200), None),
    "a shorter lifetime": (Role(max_lifetime=199), Reason.TOKEN_LIFETIME_TOO_LONG),
}


@pytest.mark.parametrize(("role", "reason"), ROLES.values(), ids=ROLES)
def test_a_token_must_meet_the_role(role: Role, reason: Reason | None) -> None:
    """Every configured field must match."""
    assert refusal(role) is reason


def test_an_unknown_lifetime_is_too_long() -> None:
    """The lifetime of a token without `iat` is unknown."""
    assert refusal(Role(max_lifetime=200), {"exp": NOW}) is Reason.TOKEN_LIFETIME_TOO_LONG


def test_a_role_needs_the_claims() -> None:
    """After a TokenReview the claims are unknown, so no token meets a role."""
    assert refusal(Role(subject="ada"), None) is Reason.NOT_ALLOWED


@pytest.mark.parametrize(
    ("leeways", "now", "reason"),
    [
        pytest.param(Leeways(expiration=0), NOW + 99, None, id="before its end"),
        pytest.param(Leeways(expiration=0), NOW + 100, Reason.TOKEN_EXPIRED, id="at its end"),
        pytest.param(Leeways(expiration=10), NOW + 109, None, id="within the leeway"),
        pytest.param(Leeways(expiration=10), NOW + 110, Reason.TOKEN_EXPIRED, id="after the leeway"),
        pytest.param(Leeways(not_before=0), NOW - 1, Reason.TOKEN_NOT_YET_VALID, id="before nbf"),
        pytest.param(Leeways(not_before=1), NOW - 1, None, id="before nbf, within the leeway"),
        pytest.param(Leeways(issued_at=0), NOW - 101, Reason.TOKEN_NOT_YET_VALID, id="before iat"),
        pytest.param(Leeways(), NOW + 1000, None, id="those of the issuer"),
    ],
)
def test_leeways_of_a_role(leeways: Leeways, now: float, reason: Reason | None) -> None:
    """A role can only be stricter than its issuer."""
    assert refusal(Role(leeways=leeways), now=now) is reason


def test_claims_rename_user_and_groups() -> None:
    """All other parts of the identity are unchanged."""
    named = Role(user=JSONPointer("/email"), groups=JSONPointer("/groups")).rename(ADA, CLAIMS)
    assert isinstance(named, Identity)
    assert (named.username, named.groups, named.audiences) == ("ada@corp.example", ("dev", "ops"), ("vault",))


def test_a_single_group_may_be_a_string() -> None:
    """A groups claim that is a string is one group."""
    named = Role(groups=JSONPointer("/sub")).rename(ADA, CLAIMS)
    assert isinstance(named, Identity)
    assert named.groups == ("ada",)


@pytest.mark.parametrize(
    ("role", "claims"),
    [
        pytest.param(Role(user=JSONPointer("/missing")), CLAIMS, id="no user"),
        pytest.param(Role(user=JSONPointer("/n")), CLAIMS, id="a user that is a number"),
        pytest.param(Role(user=JSONPointer("/u")), {"u": ""}, id="an empty user"),
        pytest.param(
            Role(user=JSONPointer("/u")), {"u": "system:serviceaccount:a:b"}, id="a user of Kubernetes' own"
        ),
        pytest.param(Role(user=JSONPointer("/u")), {"u": "a\nb"}, id="a user with a line break"),
        pytest.param(
            Role(user=JSONPointer("/email")), CLAIMS | {"email_verified": False}, id="an unverified address"
        ),
        pytest.param(
            Role(groups=JSONPointer("/email")), CLAIMS | {"email_verified": "true"}, id="as a group, too"
        ),
        pytest.param(Role(groups=JSONPointer("/missing")), CLAIMS, id="no groups"),
        pytest.param(Role(groups=JSONPointer("/mixed")), CLAIMS, id="groups that are not strings"),
        pytest.param(
            Role(groups=JSONPointer("/g")), {"g": ["system:masters"]}, id="a group of Kubernetes' own"
        ),
    ],
)
def test_a_name_that_cannot_be_used_is_denied(role: Role, claims: dict[str, Any]) -> None:
    """The name is missing, invalid, unverified or reserved."""
    assert isinstance(role.rename(ADA, claims), str)


def test_a_service_account_keeps_its_own_name() -> None:
    """A reserved name is allowed if the identity already has it."""
    account = Identity("system:serviceaccount:a:b", cluster="home")
    named = Role(user=JSONPointer("/sub")).rename(account, {"sub": "system:serviceaccount:a:b"})
    assert named == account
