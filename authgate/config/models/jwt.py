"""`jwt[]`: other issuers, as kube-apiserver's AuthenticationConfiguration writes them, and authgate's additions.

Each error is at the field where kube-apiserver reports it, and "" means "not given", as there.
Source: k8s.io/apiserver, pkg/apis/apiserver/v1/types.go and pkg/apis/apiserver/validation/validation.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Final, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from authgate.config.models.expressions import compiled, over
from authgate.config.models.fields import (
    NO_HTTP,
    NO_URL,
    TENANT,
    Block,
    ClaimName,
    ConfigModel,
    Label,
    Many,
    Matching,
    Prefix,
    Refused,
    Seconds,
    Some,
    SomeTexts,
    Text,
    default_name,
    different,
    issuer_name,
    issuer_url,
    keys_url,
    refuse,
)
from authgate.config.models.files import FilePath, check_certificates
from authgate.config.models.keys import KeyRefreshConfig, StaticKeysConfig
from authgate.config.problems import Finding, shown
from authgate.expressions import MAX_LENGTH, Expects, Sees
from authgate.vocabulary import DEFAULT_ALGORITHMS, Algorithm

_T = TypeVar("_T")
_BOTH: Final = "must not have both a claim and an expression"
_NEITHER: Final = "needs a claim or an expression"
_DOMAIN: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_KEY: Final = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")
_MAX_DOMAIN: Final = 253
_TENANT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NO_TENANTS: Final = frozenset({"common", "organizations", "consumers"})

# Values and conditions


def _unless_empty(value: object) -> object:
    return None if value == "" else value


Given = Annotated[_T | None, BeforeValidator(_unless_empty)]
"""A field for which null and "" mean that it is not given."""

_Rules = Annotated[Many[_T], BeforeValidator(lambda value: () if value is None else value)]
_ExpressionText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_LENGTH)]
# A mapping may have any type, as with kube-apiserver: a value that is not a name is refused token by token.
_Mapped = Annotated[_ExpressionText, over(Sees.CLAIMS, Expects.ANY)]
_ClaimCondition = Annotated[_ExpressionText, over(Sees.CLAIMS, Expects.BOOL)]
_UserCondition = Annotated[_ExpressionText, over(Sees.USER, Expects.BOOL)]


def _once(field: str, why: str) -> AfterValidator:
    """Return a validator that refuses a list in which two entries have the same value of a field."""

    def check(entries: tuple[_T, ...]) -> tuple[_T, ...]:
        values = [getattr(entry, field) for entry in entries]
        repeated = [index for index, value in enumerate(values) if value and value in values[:index]]
        if repeated:
            message = f"is given twice: {why}"
            refuse(
                *(Finding((index, field), message, shown(values[index]), rule=message) for index in repeated)
            )
        return entries

    return AfterValidator(check)


class ClaimValidationRule(ConfigModel):
    """A condition on the claims: a claim that must have a value, or an expression."""

    claim: Given[ClaimName] = Field(
        default=None, description="The claim's name, or a JSON pointer to a nested one: /realm_access/roles."
    )
    required_value: Annotated[Prefix, BeforeValidator(lambda value: "" if value is None else value)] = Field(
        default="", description='The value that the claim must have; "" also matches null.'
    )
    expression: Given[_ClaimCondition] = Field(
        default=None, description="A CEL expression over `claims`, instead of a claim; it must be true."
    )
    message: Given[Text] = Field(default=None, description="The error message if the expression is not true.")

    def contradictions(self) -> Iterator[Finding]:
        """Yield what does not fit the claim, or the expression."""
        if self.claim and self.expression:
            yield _plain(_BOTH)
        elif not self.claim and not self.expression:
            yield _plain(_NEITHER)
        elif self.claim and self.message:
            yield _plain("must not be given with a claim: it belongs to an expression", "message")
        elif self.expression and self.required_value:
            yield _plain(
                "must not be given with an expression, which is the whole condition", "requiredValue"
            )


class PrefixedClaimOrExpression(ConfigModel):
    """A claim with a name, and the prefix of the name; or an expression that returns the name."""

    claim: Given[ClaimName] = Field(
        default=None, description="The claim's name, or a JSON pointer to a nested one: /realm_access/roles."
    )
    prefix: Prefix | None = Field(
        default=None,
        description='Required with a claim: text that is put before its value ("-" is a dash); "" means no prefix.',
    )
    expression: Given[_Mapped] = Field(
        default=None,
        description="A CEL expression over `claims`, instead of a claim; it returns the name or names.",
    )

    def contradictions(self) -> Iterator[Finding]:
        """Yield what does not fit the claim, or the expression."""
        if self.claim and self.expression:
            yield _plain(_BOTH)
        elif self.claim and self.prefix is None:
            yield _plain(
                'is required with a claim: it is put before the claim\'s value; "" for no prefix', "prefix"
            )
        elif self.expression and self.prefix is not None:
            yield _plain(
                "must not be given with an expression, which can add a prefix itself: 'corp:' + claims.sub",
                "prefix",
            )


class ClaimOrExpression(ConfigModel):
    """A claim, or an expression instead."""

    claim: Given[ClaimName] = Field(
        default=None, description="The claim's name, or a JSON pointer to a nested one: /realm_access/roles."
    )
    expression: Given[_Mapped] = Field(
        default=None, description="A CEL expression over `claims`, instead of a claim; it returns the value."
    )

    def contradictions(self) -> Iterator[Finding]:
        """Yield that both are given."""
        if self.claim and self.expression:
            yield _plain(_BOTH)


class ExtraMapping(ConfigModel):
    """One key of the identity's `extra`."""

    absent: ClassVar = {
        "valueExpression": "is required: an expression that returns a text or a list of texts"
    }

    key: Text = Field(description="The key: a path below a domain of yours, such as example.org/department.")
    value_expression: _Mapped = Field(
        description='A CEL expression over `claims` that returns a text or texts; "", [] and null omit the key.'
    )

    @field_validator("key")
    @classmethod
    def _is_below_a_domain(cls, key: str) -> str:
        domain, slash, path = key.partition("/")
        if not slash or not path or len(domain) > _MAX_DOMAIN or not _DOMAIN.fullmatch(domain.lower()):
            raise ValueError("must be a path below a domain, such as example.org/department")
        if not _KEY.fullmatch(path):
            raise ValueError("must have only characters of a URL's path after the domain")
        if key != key.lower():
            raise ValueError("must be in lower case")
        if any(f".{domain}".endswith(f".{reserved}") for reserved in ("kubernetes.io", "k8s.io")):
            raise ValueError("must not be below k8s.io or kubernetes.io, which are reserved for Kubernetes")
        return key


class ClaimMappings(ConfigModel):
    """How claims become an identity."""

    username: PrefixedClaimOrExpression = Field(description="The user's name.")
    groups: PrefixedClaimOrExpression | None = Field(
        default=None, description="The user's groups; null: none."
    )
    uid: ClaimOrExpression | None = Field(default=None, description="The user's unique id; null: none.")
    extra: Annotated[_Rules[ExtraMapping], _once("key", "a key can have one expression")] = Field(
        default=(), description="Additional values of the user."
    )

    @field_validator("username")
    @classmethod
    def _has_a_source(cls, value: PrefixedClaimOrExpression) -> PrefixedClaimOrExpression:
        if not value.claim and not value.expression:
            refuse(_plain(_NEITHER))
        return value


class UserValidationRule(ConfigModel):
    """A condition on the identity."""

    expression: _UserCondition = Field(description="A CEL expression over `user`; it must be true.")
    message: Given[Text] = Field(default=None, description="The error message if the expression is not true.")


def _plain(sentence: str, *path: str) -> Finding:
    return Finding(path, sentence, rule=sentence)


class ClaimsConfig(ConfigModel):
    """How claims become an identity, and the conditions on both."""

    absent: ClassVar = {
        "claimMappings": "is required: which claims name the user, such as {username: {claim: sub, prefix: 'corp:'}}",
    }
    claim_validation_rules: Annotated[
        _Rules[ClaimValidationRule],
        _once("claim", "a claim can have one required value"),
        _once("expression", "an expression is needed only once"),
    ] = Field(default=(), description="Conditions on the claims; all must be true.")
    claim_mappings: ClaimMappings = Field(description="How claims become an identity.")
    user_validation_rules: Annotated[
        _Rules[UserValidationRule], _once("expression", "an expression is needed only once")
    ] = Field(default=(), description="Conditions on the identity; all must be true.")

    def contradictions(self) -> Iterator[Finding]:
        """Yield an email address that may be unverified."""
        username = self.claim_mappings.username.expression
        if username and "email" in _claims_of(username):
            rules = (rule.expression for rule in self.claim_validation_rules)
            extra = (mapping.value_expression for mapping in self.claim_mappings.extra)
            if not any("email_verified" in _claims_of(text) for text in (username, *rules, *extra) if text):
                yield _plain(
                    "uses claims.email without claims.email_verified, so a user could choose another's address; check"
                    " it here, in a claimValidationRules expression or in an extra one, such as"
                    " claims.?email_verified.orValue(true) == true",
                    "claimMappings",
                    "username",
                    "expression",
                )

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


# Issuers


def asymmetric(value: object) -> object:
    """Return a value that does not name HMAC or `none` unchanged; raises ValueError for one that does."""
    if isinstance(value, str) and (value.upper().startswith("HS") or value.lower() == "none"):
        raise ValueError("must be a signature by a private key: HMAC and none are not supported")
    return value


def _different_types(values: tuple[str, ...]) -> tuple[str, ...]:
    if len({value.lower() for value in values}) != len(values):
        raise ValueError("names the same entry twice")
    return values


@dataclass(frozen=True, slots=True)
class _Fetching:
    """What the `gate` of an entry means for its URLs.

    Whether keys are found through the issuer, whether http is allowed, and whether there are several tenants.
    """

    through_issuer: bool = True
    http: bool = False
    tenants: bool = False


_USUAL: Final = _Fetching()
_FETCHING: Final[ContextVar[_Fetching]] = ContextVar("fetching", default=_USUAL)
"""That of the entry under validation."""


_HTTP_ADVICE: Final = (
    ". Configure the provider's external https:// address (Keycloak: KC_HOSTNAME), or set gate.jwksURL to an https://"
    " URL of the keys; gate.unsafeAllowHTTP: true allows http://, so that anyone on the network can replace the keys"
)


def _fetched(check: Callable[..., str], url: str) -> str:
    try:
        return check(url, http=_FETCHING.get().http)
    except ValueError as error:
        raise ValueError(f"{error}{_HTTP_ADVICE if str(error) == NO_HTTP else ''}") from None


def _issuer(text: str) -> str:
    fetching = _FETCHING.get()
    if TENANT in text:
        if not fetching.tenants:
            raise ValueError(
                f"has {TENANT}, which matches many issuers: list the tenants to accept in gate.tenants, or write one"
            )
        # The tenants share one key set, so the host, which vouches for them, cannot depend on the tenant.
        if text.count(TENANT) != 1 or TENANT in text.partition("://")[2].partition("/")[0]:
            raise ValueError(f"must have {TENANT} once, in the path")
        _issuer(text.replace(TENANT, "tenant"))
        return text
    if not fetching.through_issuer:
        return issuer_name(text)
    try:
        return _fetched(issuer_url, text)
    except ValueError as error:
        if text.startswith("spiffe://"):
            raise ValueError(
                f"{error}; for SPIFFE, set gate.spiffe and gate.jwksURL, the URL of the bundle"
            ) from None
        if str(error) == NO_URL:
            raise ValueError(
                f"{NO_URL}; with gate.jwksURL or gate.staticKeys, an issuer can be any text"
            ) from None
        raise


_URL = Annotated[str, StringConstraints(max_length=2048)]
_DiscoveryURL = Annotated[_URL, AfterValidator(partial(_fetched, issuer_url))]
_KeysURL = Annotated[_URL, AfterValidator(partial(_fetched, keys_url))]


class IssuerConfig(ConfigModel):
    """The issuer, and the audiences of its tokens."""

    absent: ClassVar = {
        "audiences": "is required: the audiences that tokens must be issued for, such as [my-app]"
    }
    refused: ClassVar = {
        "egressSelectorType": Refused(
            "is not supported: egress selection belongs to kube-apiserver; leave it out", ""
        ),
    }

    url: Annotated[_URL, AfterValidator(_issuer)] = Field(
        description="The issuer, exactly as its tokens name it in `iss`; with gate.jwksURL or gate.staticKeys any text,"
        " else an https URL."
    )
    discovery_url: Given[_DiscoveryURL] = Field(
        default=None,
        description="The full URL of the discovery document, unless it is <url>/.well-known/openid-configuration.",
    )
    certificate_authority: Given[Annotated[Block, AfterValidator(check_certificates)]] = Field(
        default=None,
        description="PEM certificates of the CAs for the issuer's server; null: the system's.",
    )
    audiences: SomeTexts = Field(
        description="The audiences that tokens must be issued for; one of them must match."
    )
    audience_match_policy: Given[Literal["MatchAny"]] = Field(
        default=None, validate_default=True, description="Must be MatchAny if there are several audiences."
    )

    @field_validator("discovery_url")
    @classmethod
    def _differs_from_issuer(cls, value: str | None, info: ValidationInfo) -> str | None:
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
    def _is_set_for_several_audiences(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and len(info.data.get("audiences", ())) > 1:
            raise ValueError("must be MatchAny, because there are several audiences")
        return value


def _tenant(text: str) -> str:
    if not _TENANT_ID.fullmatch(text):
        raise ValueError("must be a tenant's id: letters, digits, dots, underscores and dashes")
    if text.lower() in _NO_TENANTS:
        raise ValueError("is no tenant: no token names it; write the id of each tenant")
    return text


class KeysConfig(KeyRefreshConfig):
    """How an issuer's keys are fetched and how long they are kept."""

    token_file: FilePath | None = Field(
        default=None,
        description="A file with a bearer token for requests to the issuer; it is read for every fetch.",
    )


class SpiffeConfig(ConfigModel):
    """A SPIFFE trust domain, whose JWT-SVIDs have no `iss`."""

    absent: ClassVar = {"trustDomain": "is required: the trust domain, such as example.org"}
    trust_domain: Annotated[
        Text, Matching(r"[a-z0-9._-]{1,255}", "must be a trust domain in lower case, such as example.org")
    ] = Field(description="The trust domain; issuer.url is spiffe:// with it, and `sub` must be an ID in it.")


class LoadBalancerConfig(ConfigModel):
    """AWS Application Load Balancers, which sign the header `x-amzn-oidc-data`."""

    absent: ClassVar = {"region": "is required: the load balancer's region, such as eu-west-1"}
    region: Annotated[Text, Matching(r"[a-z]{2}(-[a-z]+)+-\d", "must be a region, such as eu-west-1")] = (
        Field(description="The region of the load balancers, where their keys are.")
    )
    keys_url: _KeysURL | None = Field(
        default=None,
        description="The URL below which each key is at its id; null: https://public-keys.auth.elb.<region>.amazonaws.com.",
    )

    @property
    def base_url(self) -> str:
        """The URL below which each key is at its id."""
        return self.keys_url or f"https://public-keys.auth.elb.{self.region}.amazonaws.com"


class IssuerGateConfig(ConfigModel):
    """authgate's additions to an issuer."""

    name: Label | None = Field(
        default=None,
        description="The issuer's label in metrics, logs and policies; null: the host of its URL, with port and path "
        "where several issuers share the host, or else the issuer's name.",
    )
    algorithms: Annotated[Some[Annotated[Algorithm, BeforeValidator(asymmetric)]], different] = Field(
        default=DEFAULT_ALGORITHMS,
        description="The signature algorithms that its tokens may use; EdDSA includes Ed25519, and ML-DSA "
        "must be named.",
    )
    audience_claims: Annotated[Some[ClaimName], different] = Field(
        default=("aud",),
        description="The claims that name the audience, such as [client_id]; the first one that a token has counts.",
    )
    leeway: Annotated[float, Seconds(at_most=600)] = Field(
        default=60.0, description="How far the issuer's clock can be ahead, for `nbf` and `iat`."
    )
    expiry_leeway: Annotated[float, Seconds(at_most=600)] = Field(
        default=0.0, description="How long a token is accepted after its `exp`, for clocks that differ."
    )
    max_token_lifetime: Annotated[float, Seconds(at_least=1, at_most=10 * 365 * 86400)] | None = Field(
        default=None,
        description="The longest lifetime of a token (`exp` minus `iat`); null: no limit.",
    )
    tenants: Annotated[Many[Annotated[Text, AfterValidator(_tenant)]], different] = Field(
        default=(),
        description="Ids of the tenants whose tokens are accepted, each in the place of {tenantid} in issuer.url;"
        " all have the same keys.",
    )
    jwks_url: _KeysURL | None = Field(
        default=None, description="The URL of the keys, for issuers without a discovery document."
    )
    static_keys: StaticKeysConfig | None = Field(
        default=None, description="Keys in the configuration or a file, instead of fetched keys."
    )
    spiffe: SpiffeConfig | None = Field(
        default=None,
        description="Accept JWT-SVIDs of this trust domain, which have no `iss`; needs jwksURL (the bundle endpoint) or"
        " staticKeys.",
    )
    alb: LoadBalancerConfig | None = Field(
        default=None,
        description="Accept tokens that AWS load balancers sign (x-amzn-oidc-data); issuer.audiences are the ARNs of"
        " the load balancers.",
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
        description="Accepted values of `typ`, ignoring case and `application/`; a token without `typ` is accepted."
        " With spiffe, the default is [JWT, JOSE].",
    )
    unsafe_allow_http: bool = Field(
        default=False,
        description="true: the discovery document and the keys may be fetched over plain http, so that anyone on the"
        " network between can replace the keys and sign tokens; false: https only, except on loopback.",
    )
    unsafe_ignore_confirmation: bool = Field(
        default=False,
        description="true: a token that is bound to a key or certificate of its sender (`cnf`) is accepted as a bearer"
        " token, so that a stolen token can be used; false: it is rejected.",
    )


class JWTIssuerConfig(ClaimsConfig):
    """One issuer."""

    issuer: IssuerConfig = Field(description="The issuer, and the audiences of its tokens.")
    gate: IssuerGateConfig = Field(default_factory=IssuerGateConfig, description="authgate's additions.")

    @model_validator(mode="wrap")
    @classmethod
    def _validate_by_key_source(cls, data: object, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Validate the issuer by the rules of a URL or of a name, depending on where its keys are from."""
        gate = data.get("gate") if isinstance(data, dict) else None
        given = [
            name for name in ("jwksURL", "staticKeys", "spiffe", "alb") if _value(gate, name) is not None
        ]
        before = _FETCHING.set(
            _Fetching(not given, _value(gate, "unsafeAllowHTTP") is True, bool(_value(gate, "tenants")))
        )
        try:
            return validate(data)
        finally:
            _FETCHING.reset(before)

    def contradictions(self) -> Iterator[Finding]:
        """Yield second sources of keys, and what is wrong with the claim mappings."""
        sources = (
            (("issuer", "discoveryURL"), self.issuer.discovery_url),
            (("gate", "jwksURL"), self.gate.jwks_url),
            (("gate", "staticKeys"), self.gate.static_keys),
            (("gate", "alb"), self.gate.alb),
        )
        given = [path for path, value in sources if value is not None]
        spiffe = self.gate.spiffe
        if spiffe is not None:
            if self.issuer.url != f"spiffe://{spiffe.trust_domain}":
                yield _plain(f"must be spiffe://{spiffe.trust_domain}, as in gate.spiffe", "issuer", "url")
            if self.gate.jwks_url is None and self.gate.static_keys is None:
                yield _plain("needs gate.jwksURL, the bundle endpoint, or gate.staticKeys", "gate", "spiffe")
        if self.gate.alb is not None and self.gate.audience_claims != ("aud",):
            sentence = (
                "must not be given with alb: the audience is the load balancer's ARN in the token's header"
            )
            yield _plain(sentence, "gate", "audienceClaims")
        if self.gate.tenants and TENANT not in self.issuer.url:
            yield _plain(f"need {TENANT} in issuer.url, in the place of the tenant's id", "gate", "tenants")
        for path in given[1:]:
            yield _plain(f"must not be given with {'.'.join(given[0])}: keys have one source", *path)
        yield from super().contradictions()

    @property
    def types(self) -> tuple[str, ...]:
        """The accepted values of `typ`."""
        if self.gate.spiffe is not None and "types" not in self.gate.model_fields_set:
            return ("JWT", "JOSE")
        return self.gate.types

    @property
    def tenants(self) -> dict[str, str]:
        """The names of the issuers that the entry accepts, each with its tenant; empty for an entry of one issuer."""
        return {self.issuer.url.replace(TENANT, tenant): tenant for tenant in self.gate.tenants}

    @property
    def issuer_names(self) -> tuple[str, ...]:
        """The values of `iss` that the entry accepts."""
        return tuple(self.tenants) or (self.issuer.url,)

    @property
    def name(self) -> str:
        """The issuer's label: the configured one, or the host of its URL, or else its name.

        Where several issuers share a host, `Config` has given each its name.
        """
        return self.gate.name or default_name(self.issuer.url)


def _value(gate: object, name: str) -> object:
    """Return the value of a field in a `gate` that may not be valid, or None."""
    if isinstance(gate, IssuerGateConfig):
        gate = gate.model_dump(by_alias=True)
    return gate.get(name) if isinstance(gate, dict) else None


def _claims_of(text: str) -> frozenset[str]:
    return compiled(text, Sees.CLAIMS, Expects.ANY).claims
