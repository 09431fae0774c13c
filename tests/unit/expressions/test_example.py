"""The example in the documentation, from its file to identities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from authgate.compose.claims import claim_rules
from authgate.config import load
from authgate.errors import Reason
from authgate.model import Identity, JSONValue, Rejected, VerifiedClaims
from authgate.verify.mapped import mapped_identity

if TYPE_CHECKING:
    from authgate.verify.mapped import ClaimRules

FILE = Path(__file__).parents[3] / "deploy" / "examples" / "expressions.yaml"
CLAIMS: dict[str, JSONValue] = {
    "sub": "u-1",
    "tid": "9b1c",
    "iat": 1_700_000_000,
    "exp": 1_700_003_600,
    "email": "jane@example.com",
    "email_verified": True,
    "groups": ["staff", "dev"],
    "oid": "4f",
    "example.com/tenant": "blue",
}


@pytest.fixture(scope="module")
def rules() -> ClaimRules:
    """The claim rules and mappings of the example's issuer."""
    return claim_rules(load(FILE, {}).config.jwt[0])


def mapped(rules: ClaimRules, claims: dict[str, JSONValue]) -> Identity | Rejected:
    """The identity that the example maps claims to."""
    return mapped_identity(VerifiedClaims(claims), "https://i", ("my-app",), rules=rules, issuer_name="login")


def test_the_example_names_a_user(rules: ClaimRules) -> None:
    """Each mapping sets its part of the identity."""
    found = mapped(rules, CLAIMS)

    assert isinstance(found, Identity)
    assert found.username == "example:jane@example.com"
    assert found.uid == "4f"
    assert found.groups == ("example:staff", "example:dev", "system:authenticated")
    assert found.extra == (("example.com/tenant", ("blue",)),)


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        (
            {"tid": "other"},
            Reason.CLAIM_RULE_FAILED,
            "claim 'tid' does not have the required value",
        ),
        (
            {"exp": 1_700_003_601},
            Reason.CLAIM_RULE_FAILED,
            "claimValidationRules[1].expression: the token lifetime must be at most one hour",
        ),
        (
            {"amr": ["pwd"]},
            Reason.CLAIM_RULE_FAILED,
            "claimValidationRules[2].expression: the user must log in with a second factor",
        ),
        (
            {"groups": [1]},
            Reason.IDENTITY_INVALID,
            "claimMappings.groups.expression: a value has an unsupported type",
        ),
        (
            {"email": "jane doe@example.com"},
            Reason.USER_RULE_FAILED,
            "userValidationRules[0].expression: a username must not contain spaces",
        ),
        (
            {"groups": []},
            Reason.USER_RULE_FAILED,
            "userValidationRules[1].expression: the user must be in at least one group",
        ),
    ],
    ids=["claim", "lifetime", "second factor", "groups", "name", "no group"],
)
def test_the_example_rejects(
    rules: ClaimRules, changes: dict[str, JSONValue], reason: Reason, detail: str
) -> None:
    """Each rule has its own message and reports its place."""
    found = mapped(rules, CLAIMS | changes)

    assert isinstance(found, Rejected)
    assert (found.reason, found.detail) == (reason, detail)


def test_an_unverified_address_is_not_used(rules: ClaimRules) -> None:
    """The example falls back to the subject."""
    found = mapped(rules, CLAIMS | {"email_verified": False})

    assert isinstance(found, Identity)
    assert found.username == "example:u-1"
