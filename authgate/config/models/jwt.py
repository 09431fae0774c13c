"""`jwt[]`: other issuers, as kube-apiserver's AuthenticationConfiguration writes them, and authgate's additions.

Source: k8s.io/apiserver, pkg/apis/apiserver/v1/types.go and pkg/apis/apiserver/validation/validation.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
)

from authgate.config.models.claims import (
    ClaimMappings,
    ClaimOrExpression,
    ClaimValidationRules,
    Given,
    PrefixedClaimOrExpression,
    UserValidationRules,
)
from authgate.config.models.fields import (
    Block,
    ConfigModel,
    FilePath,
    IssuerURL,
    KeysURL,
    Label,
    Matching,
    Refused,
    Seconds,
    Some,
    SomeTexts,
    Text,
    different,
)
from authgate.config.models.keys import KeyRefreshConfig, StaticKeysConfig
from authgate.config.models.pem import check_certificates
from authgate.config.models.urls import host_of
from authgate.vocabulary import ALGORITHMS, Algorithm


def _asymmetric(value: object) -> object:
    if isinstance(value, str) and (value.upper().startswith("HS") or value.lower() == "none"):
        raise ValueError("must be a signature by a private key: HMAC and none can't be configured")
    return value


def _different_types(values: tuple[str, ...]) -> tuple[str, ...]:
    if len({value.lower() for value in values}) != len(values):
        raise ValueError("names the same entry twice")
    return values


class IssuerConfig(ConfigModel):
    """Who issues the tokens, and for whom."""

    absent: ClassVar = {
        "audiences": "is required: the audiences that tokens must be issued for, such as [my-app]"
    }
    refused: ClassVar = {
        "egressSelectorType": Refused("egress selection belongs to kube-apiserver; leave it out", ""),
    }

    url: IssuerURL = Field(description="The issuer, exactly as its tokens name it in `iss`.")
    discovery_url: Given[IssuerURL] = Field(
        default=None,
        description="The discovery document's whole URL, where it is not <url>/.well-known/openid-configuration.",
    )
    certificate_authority: Given[Annotated[Block, AfterValidator(check_certificates)]] = Field(
        default=None,
        description="PEM certificates that the issuer's server must chain to; null: the system's.",
    )
    audiences: SomeTexts = Field(
        description="The audiences that tokens must be issued for; one of them must match."
    )
    audience_match_policy: Given[Literal["MatchAny"]] = Field(
        default=None, validate_default=True, description="Must be MatchAny where there are several audiences."
    )

    @field_validator("discovery_url")
    @classmethod
    def _discovery_is_elsewhere(cls, value: str | None, info: ValidationInfo) -> str | None:
        url = info.data.get("url")
        if value is None or url is None:
            return value
        base = url.rstrip("/")
        if value.rstrip("/") in (base, f"{base}/.well-known/openid-configuration"):
            raise ValueError(
                "must differ from the issuer's URL and its own well-known document; leave it out"
            )
        return value

    @field_validator("audience_match_policy")
    @classmethod
    def _several_audiences_say_how(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and len(info.data.get("audiences", ())) > 1:
            raise ValueError("must be MatchAny where there are several audiences")
        return value


class KeysConfig(KeyRefreshConfig):
    """How an issuer's keys are fetched and how long they are kept."""

    token_file: FilePath | None = Field(
        default=None,
        description="A file with a bearer token to present to the issuer; read again for every fetch.",
    )


class IssuerGateConfig(ConfigModel):
    """authgate's additions to an issuer."""

    name: Label | None = Field(
        default=None,
        description="The issuer's label in metrics, logs and policies; null: the host of its URL, with port and path "
        "where several issuers share the host.",
    )
    algorithms: Annotated[Some[Annotated[Algorithm, BeforeValidator(_asymmetric)]], different] = Field(
        default=ALGORITHMS, description="The signature algorithms that its tokens may use."
    )
    leeway: Annotated[float, Seconds(at_most=600)] = Field(
        default=60.0, description="How far the issuer's clock may be ahead, for `nbf` and `iat`."
    )
    expiry_leeway: Annotated[float, Seconds(at_most=600)] = Field(
        default=0.0, description="How long after its `exp` a token is still taken, for clocks that differ."
    )
    max_token_lifetime: Annotated[float, Seconds(at_least=1, at_most=10 * 365 * 86400)] | None = Field(
        default=None,
        description="Tokens issued for longer than this (`exp` less `iat`) are refused; null: no bound.",
    )
    jwks_url: KeysURL | None = Field(
        default=None, description="Where the keys are, for issuers without a discovery document."
    )
    static_keys: StaticKeysConfig | None = Field(
        default=None, description="Keys that are given and never fetched."
    )
    keys: KeysConfig = Field(default_factory=KeysConfig, description="How the keys are fetched and kept.")
    types: Annotated[
        Some[
            Annotated[
                Text,
                Matching(
                    r"[A-Za-z0-9!#$&^_.+-]+(/[A-Za-z0-9!#$&^_.+-]+)?", 'must be a media type such as "at+jwt"'
                ),
            ]
        ],
        AfterValidator(_different_types),
    ] = Field(
        default=("JWT", "at+jwt"),
        description="What a token's `typ` may be, case and `application/` aside; one without `typ` passes.",
    )
    unsafe_ignore_confirmation: bool = Field(
        default=False,
        description="true: a token that is bound to a key or certificate of its sender (`cnf`) is accepted as a bearer"
        " token, so that whoever steals it can use it; false: it is refused.",
    )


class JWTIssuerConfig(ConfigModel):
    """One issuer."""

    absent: ClassVar = {
        "claimMappings": "is required: who a token's bearer is, such as {username: {claim: sub, prefix: 'corp:'}}",
    }
    issuer: IssuerConfig = Field(description="Who issues the tokens, and for whom.")
    claim_validation_rules: ClaimValidationRules = Field(
        default=(), description="What must hold of a token's claims; all of it."
    )
    claim_mappings: ClaimMappings = Field(description="How claims become an identity.")
    user_validation_rules: UserValidationRules = Field(
        default=(), description="What must hold of the identity that the claims gave; all of it."
    )
    gate: IssuerGateConfig = Field(default_factory=IssuerGateConfig, description="authgate's additions.")

    @property
    def name(self) -> str:
        """The issuer's label: the configured one, else the host of its URL.

        Where several issuers share a host, `Config` has given each its name.
        """
        return self.gate.name or host_of(self.issuer.url) or ""

    def mapped_claims(self) -> Iterator[tuple[str, str]]:
        """Yield the claims that are mapped, each by the name of its mapping."""
        for name in ("username", "groups", "uid"):
            mapping: PrefixedClaimOrExpression | ClaimOrExpression | None = getattr(self.claim_mappings, name)
            if mapping is not None and mapping.claim is not None:
                yield name, mapping.claim

    def expressions(self) -> Iterator[tuple[str, str]]:
        """Yield the expressions of claim rules and mappings, each with its place below the issuer."""
        for index, rule in enumerate(self.claim_validation_rules):
            if rule.expression is not None:
                yield f"claimValidationRules[{index}].expression", rule.expression
        mappings = self.claim_mappings
        for name in ("username", "groups", "uid"):
            mapping: PrefixedClaimOrExpression | ClaimOrExpression | None = getattr(mappings, name)
            if mapping is not None and mapping.expression is not None:
                yield f"claimMappings.{name}.expression", mapping.expression
        for index, extra in enumerate(mappings.extra):
            yield f"claimMappings.extra[{index}].valueExpression", extra.value_expression
        for index, rule_of_user in enumerate(self.user_validation_rules):
            yield f"userValidationRules[{index}].expression", rule_of_user.expression
