"""`claimValidationRules`, `claimMappings` and `userValidationRules` of a `jwt` issuer.

Source: k8s.io/apiserver, pkg/apis/apiserver/v1/types.go. As there, "" is nothing: a field that is written down and
empty is not given. What holds between the fields is in checks_claims.py.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeVar

from pydantic import BeforeValidator, Field

from authgate.config.models.entries import ExpressionText
from authgate.config.models.fields import ClaimName, ConfigModel, Many, Prefix, Text

_T = TypeVar("_T")


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _empty_if_none(value: object) -> object:
    return () if value is None else value


Given = Annotated[_T | None, BeforeValidator(_none_if_empty)]
"""A field that null and "" leave out."""

_Rules = Annotated[Many[_T], BeforeValidator(_empty_if_none)]


class ClaimValidationRule(ConfigModel):
    """What must hold of a token's claims: a claim with a value, or an expression."""

    claim: Given[ClaimName] = Field(
        default=None, description="The claim's name, or a JSON pointer to a nested one: /realm_access/roles."
    )
    required_value: Annotated[Prefix, BeforeValidator(lambda value: "" if value is None else value)] = Field(
        default="", description='The value that the claim must have; "" also holds for null.'
    )
    expression: Given[ExpressionText] = Field(
        default=None, description="In CEL over `claims`, in place of a claim: what must be true."
    )
    message: Given[Text] = Field(default=None, description="What is said where the expression is not true.")


class PrefixedClaimOrExpression(ConfigModel):
    """A claim that names someone, and what is put before it; or an expression that gives the name."""

    claim: Given[ClaimName] = Field(
        default=None, description="The claim's name, or a JSON pointer to a nested one: /realm_access/roles."
    )
    prefix: Prefix | None = Field(
        default=None,
        description='With a claim, required: put before its value, literally ("-" is a dash); "" is none.',
    )
    expression: Given[ExpressionText] = Field(
        default=None, description="In CEL over `claims`, in place of a claim: the name, or the names."
    )


class ClaimOrExpression(ConfigModel):
    """A claim, or an expression in its place."""

    claim: Given[ClaimName] = Field(
        default=None, description="The claim's name, or a JSON pointer to a nested one: /realm_access/roles."
    )
    expression: Given[ExpressionText] = Field(
        default=None, description="In CEL over `claims`, in place of a claim: the value."
    )


class ExtraMapping(ConfigModel):
    """One key of the identity's `extra`."""

    absent: ClassVar = {"valueExpression": "is required: an expression that gives a text or a list of texts"}

    key: Text = Field(description="The key: a path below a domain of yours, such as example.org/department.")
    value_expression: ExpressionText = Field(
        description='In CEL over `claims`: its text or texts; without any ("", [], null) the key is left out.'
    )


class ClaimMappings(ConfigModel):
    """How claims become an identity."""

    username: PrefixedClaimOrExpression = Field(description="The user's name.")
    groups: PrefixedClaimOrExpression | None = Field(
        default=None, description="The user's groups; null: none."
    )
    uid: ClaimOrExpression | None = Field(default=None, description="The user's unique id; null: none.")
    extra: _Rules[ExtraMapping] = Field(default=(), description="What else is told of the user.")


class UserValidationRule(ConfigModel):
    """What must hold of the identity that the claims gave."""

    expression: ExpressionText = Field(description="In CEL over `user`: what must be true.")
    message: Given[Text] = Field(default=None, description="What is said where the expression is not true.")


ClaimValidationRules = _Rules[ClaimValidationRule]
"""Rules over claims; all must hold."""

UserValidationRules = _Rules[UserValidationRule]
"""Rules over the identity; all must hold."""
