"""`policies.*.role`: requirements for the token, as in Vault's JWT roles."""

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
    """Requirements for a token that is valid; every field that is set must match."""

    bound_audiences: SomeExactTexts | None = Field(
        default=None,
        description="Audiences, of those that are accepted; the token must have one of them.",
    )
    bound_subject: Annotated[Text, exact] | None = Field(
        default=None, description="The value of `sub`, in full."
    )
    bound_claims: Annotated[dict[ClaimName, _Values], Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Claims by name or JSON pointer (/realm/roles), and their values; one of the values must match.",
    )
    bound_claims_type: Literal["string", "glob"] = Field(
        default="string",
        description="string: values are compared literally; glob: * matches any characters, \\* a literal star.",
    )
    user_claim: ClaimName | None = Field(
        default=None,
        description="The claim with the user name for the app; null: the username of the identity.",
    )
    groups_claim: ClaimName | None = Field(
        default=None,
        description="The claim with the groups for the app; null: the groups of the identity.",
    )
    claim_mappings: Annotated[dict[ClaimName, HeaderName], Field(max_length=64)] = Field(
        default_factory=dict, description="Claims, and the response headers for them."
    )
    expiration_leeway: _Leeway | None = Field(
        default=None,
        description="How long a token is accepted after `exp`; null: clockSkewLeeway, or the issuer's.",
    )
    not_before_leeway: _Leeway | None = Field(
        default=None,
        description="How long a token is accepted before `nbf`; null: clockSkewLeeway, or the issuer's.",
    )
    clock_skew_leeway: _Leeway | None = Field(
        default=None, description="How far clocks can differ, for `exp`, `nbf` and `iat`; null: the issuer's."
    )
    max_token_lifetime: Annotated[float, Seconds(at_least=1, at_most=10 * 365 * 86400)] | None = Field(
        default=None,
        description="The longest lifetime of a token (`exp` minus `iat`); null: no limit.",
    )

    @model_validator(mode="after")
    def _has_globs_of_few_stars(self) -> RoleConfig:
        if self.bound_claims_type == "glob":
            for values in (self.bound_claims or {}).values():
                for value in values:
                    check_glob(str(value))
        return self

    @model_validator(mode="after")
    def _is_not_empty(self) -> RoleConfig:
        if not self.model_fields_set - {"bound_claims_type"}:
            raise ValueError(
                "an empty role would match everyone; set boundAudiences, boundSubject or boundClaims"
            )
        return self
