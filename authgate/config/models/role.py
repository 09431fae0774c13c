"""`policies.*.role`: what a token must claim, as Vault's JWT roles say it."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from authgate.config.models.fields import (
    ClaimName,
    ConfigModel,
    Seconds,
    SomeExactTexts,
    Text,
    check_glob,
    exact,
)
from authgate.config.models.headers import HeaderName


def _listed(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _finite(value: bool | int | float | str) -> bool | int | float | str:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


_Value = Annotated[bool | int | float | Text, AfterValidator(_finite)]
_SCALAR = {"type": ["boolean", "number", "string"]}
_Values = Annotated[
    tuple[_Value, ...],
    Field(min_length=1, max_length=64),
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1, "maxItems": 64}]}),
]
_Leeway = Annotated[float, Seconds(at_most=600)]


class RoleConfig(ConfigModel):
    """What everybody who passes must have, beyond a good token; every field that is given must hold."""

    bound_audiences: SomeExactTexts | None = Field(
        default=None,
        description="Audiences, one of which the token must be for; among those that are accepted.",
    )
    bound_subject: Annotated[Text, exact] | None = Field(
        default=None, description="What `sub` must be, in full."
    )
    bound_claims: Annotated[dict[ClaimName, _Values], Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Claims by name or JSON pointer (/realm/roles), and the values of which one must be there.",
    )
    bound_claims_type: Literal["string", "glob"] = Field(
        default="string",
        description="string: values are compared as they stand; glob: * stands for any characters, \\* for a star.",
    )
    user_claim: ClaimName | None = Field(
        default=None, description="The claim that names the user to the app; null: the identity's username."
    )
    groups_claim: ClaimName | None = Field(
        default=None,
        description="The claim that lists the user's groups for the app; null: the identity's groups.",
    )
    claim_mappings: Annotated[dict[ClaimName, HeaderName], Field(max_length=64)] = Field(
        default_factory=dict, description="Claims and the headers that tell them to the app."
    )
    expiration_leeway: _Leeway | None = Field(
        default=None,
        description="How long after `exp` the role takes a token; null: clockSkewLeeway, or the issuer's.",
    )
    not_before_leeway: _Leeway | None = Field(
        default=None,
        description="How long before `nbf` the role takes one; null: clockSkewLeeway, or the issuer's.",
    )
    clock_skew_leeway: _Leeway | None = Field(
        default=None, description="How far clocks may differ, for all three; null: the issuer's."
    )
    max_token_lifetime: Annotated[float, Seconds(at_least=1, at_most=10 * 365 * 86400)] | None = Field(
        default=None,
        description="Tokens issued for longer than this (`exp` less `iat`) are refused; null: no bound.",
    )

    @model_validator(mode="after")
    def _has_globs_of_few_stars(self) -> RoleConfig:
        if self.bound_claims_type == "glob":
            for values in (self.bound_claims or {}).values():
                for value in values:
                    check_glob(str(value))
        return self

    @model_validator(mode="after")
    def _says_something(self) -> RoleConfig:
        if not self.model_fields_set - {"bound_claims_type"}:
            raise ValueError(
                "an empty role would match everyone; set boundAudiences, boundSubject or boundClaims"
            )
        return self
