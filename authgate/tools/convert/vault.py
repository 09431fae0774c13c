"""A role of Vault's JWT auth method, and the method's configuration, as an issuer and a policy.

Source: Vault's API documentation of the jwt/oidc auth method (configuration and roles).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from authgate.config import Problem
from authgate.json_pointer import claim_named
from authgate.tools.convert.values import ConversionError, Converted, Original, read_original
from authgate.vocabulary import DEFAULT_POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator

_USUAL_SKEW: Final = 60
_SUBJECT: Final = (
    "sub",
    "/sub",
)  # already the username, with the prefix of the issuer
_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_CONFIG: Final = frozenset(
    {
        "bound_issuer",
        "jwks_ca_pem",
        "jwks_url",
        "jwt_supported_algs",
        "jwt_validation_pubkeys",
        "oidc_discovery_ca_pem",
        "oidc_discovery_url",
    }
)
_ROLE: Final = frozenset(
    {
        "bound_audiences",
        "bound_claims",
        "bound_claims_type",
        "bound_subject",
        "claim_mappings",
        "clock_skew_leeway",
        "groups_claim",
        "role_type",
        "user_claim",
        "user_claim_json_pointer",
    }
)
_OMITTED: Final = {
    "default_role": "is omitted: a request selects its policy by its path",
    "expiration_leeway": "is omitted: it applies to tokens without exp, which authgate denies",
    "not_before_leeway": "is omitted: it applies to tokens without nbf, which are valid immediately",
    "token_bound_cidrs": "is omitted: authgate does not check addresses; let the proxy do that",
    "bound_cidrs": "is omitted: authgate does not check addresses; let the proxy do that",
    "token_policies": "is omitted: define permissions in the app or in policies.NAME.rules",
    "policies": "is omitted: define permissions in the app or in policies.NAME.rules",
    "token_ttl": "is omitted: authgate issues no Vault tokens; exchange.ttl is the lifetime of its own tokens",
    "token_max_ttl": "is omitted: authgate issues no Vault tokens; exchange.ttl is the lifetime of its own tokens",
}
_OF_TOKENS: Final = "is omitted: it applies to tokens that Vault issues"
_OF_LOGIN: Final = "is omitted: it applies to browser logins, which authgate does not have"
_LOGIN: Final = ("oidc_", "allowed_redirect", "verbose_oidc", "namespace_in", "max_age", "callback_mode")
_UNKNOWN: Final = "is omitted: authgate does not know this field of a JWT role"


def from_vault_role(role: str, auth_config: str, policy: str = DEFAULT_POLICY) -> Converted:
    """Return the configuration of a gate that allows the tokens that a Vault role accepts; raises `ConversionError`.

    `role` is the output of `vault read -format=json auth/jwt/role/NAME`, `auth_config` that of `auth/jwt/config`.
    """
    wanted, method = _Answer(role, "role"), _Answer(auth_config, "config")
    kind = wanted.fields.get("role_type") or "oidc"
    if kind != "jwt":
        raise ConversionError(
            [Problem("role_type", 'must be "jwt": other roles log in with a browser', str(kind))]
        )
    notes = [*wanted.omitted(_ROLE), *method.omitted(_CONFIG)]
    document: dict[str, object] = {
        "apiVersion": "authgate.dev/v1alpha1",
        "kind": "AuthgateConfiguration",
        "jwt": [_issuer(method, wanted, notes)],
        "policies": {policy: {"role": _role(wanted, notes)}},
    }
    return Converted(document, tuple(notes))


class _Answer:
    """The output of Vault: the fields below `data`, or the fields themselves."""

    def __init__(self, text: str, what: str) -> None:
        self._original: Original = read_original(text)
        data = self._original.fields.get("data", self._original.fields)
        if not isinstance(data, dict):
            raise ConversionError([Problem(f"the {what}", "must be the output of vault read -format=json")])
        self.fields: dict[str, Any] = data
        self._below = ("data",) if "data" in self._original.fields else ()

    def note(self, name: str, message: str) -> Problem:
        """Return a note about a field."""
        return self._original.note((*self._below, name), message)

    def omitted(self, known: frozenset[str]) -> Iterator[Problem]:
        """Yield a note for every non-empty field without a counterpart."""
        for name, value in self.fields.items():
            if name not in known and value not in (None, "", 0, False, (), {}):
                yield self.note(name, _OMITTED.get(name) or _reason_for(name))


def _reason_for(name: str) -> str:
    if name.startswith("token_") or name in ("ttl", "max_ttl", "period", "num_uses"):
        return _OF_TOKENS
    if name.startswith(_LOGIN):
        return _OF_LOGIN
    return _UNKNOWN


def _issuer(method: _Answer, role: _Answer, notes: list[Problem]) -> dict[str, object]:
    fields = method.fields
    discovery = str(fields.get("oidc_discovery_url") or "")
    url = str(fields.get("bound_issuer") or discovery)
    if not url:
        raise ConversionError(
            [
                Problem(
                    "bound_issuer",
                    "is empty, but authgate accepts only tokens of configured issuers; set it to their iss",
                )
            ]
        )
    issuer: dict[str, object] = {"url": url}
    gate: dict[str, object] = {}
    authority = fields.get("oidc_discovery_ca_pem") or fields.get("jwks_ca_pem")
    if discovery and discovery.rstrip("/") != url.rstrip("/"):
        issuer["discoveryURL"] = discovery.rstrip("/") + _WELL_KNOWN
    if authority:
        issuer["certificateAuthority"] = authority
    audiences = list(role.fields.get("bound_audiences") or ())
    if not audiences:
        notes.append(
            role.note(
                "bound_audiences", "is empty, but authgate needs an audience: set it to the aud of the tokens"
            )
        )
    issuer["audiences"] = audiences
    if len(audiences) > 1:
        issuer["audienceMatchPolicy"] = "MatchAny"
    if fields.get("jwks_url"):
        gate["jwksURL"] = fields["jwks_url"]
    if keys := fields.get("jwt_validation_pubkeys"):
        gate["staticKeys"] = {"inline": "".join(f"{str(key).strip()}\n" for key in keys)}
    if algorithms := fields.get("jwt_supported_algs"):
        gate["algorithms"] = list(algorithms)
    skew = _skew(role.fields.get("clock_skew_leeway"))
    gate |= {"leeway": f"{skew}s", "expiryLeeway": f"{skew}s"}
    mappings = {"username": {"claim": "sub", "prefix": "jwt:"}}
    return {"issuer": issuer, "claimMappings": mappings, "gate": gate}


def _skew(value: object) -> int:
    """Return the clock skew in seconds: in Vault, 0 means 60, and a negative value means none."""
    seconds = int(value) if isinstance(value, int | float) else int(re.sub(r"\D", "", str(value or 0)) or 0)
    return _USUAL_SKEW if seconds == 0 else max(seconds, 0)


def _role(answer: _Answer, notes: list[Problem]) -> dict[str, object]:
    fields = answer.fields
    role: dict[str, object] = {}
    for ours, theirs in (("boundAudiences", "bound_audiences"), ("boundSubject", "bound_subject")):
        if value := fields.get(theirs):
            role[ours] = list(value) if isinstance(value, tuple) else value
    if claims := fields.get("bound_claims"):
        kind = role["boundClaimsType"] = fields.get("bound_claims_type") or "string"
        role["boundClaims"] = {
            name: [_value(item, kind) for item in value] if isinstance(value, tuple) else _value(value, kind)
            for name, value in claims.items()
        }
    user = fields.get("user_claim")
    if user and user not in _SUBJECT:
        role["userClaim"] = user if fields.get("user_claim_json_pointer") else claim_named(str(user))
    if groups := fields.get("groups_claim"):
        role["groupsClaim"] = groups
    if mappings := fields.get("claim_mappings"):
        role["claimMappings"] = {claim: _header(str(name)) for claim, name in mappings.items()}
        for claim, name in mappings.items():
            note = f"becomes the header {_header(str(name))} instead of the metadata {name}"
            notes.append(answer.note("claim_mappings", f"{claim} {note}"))
    return role


def _value(value: object, kind: object) -> object:
    """Return the value of a bound claim; in Vault's globs, a backslash is literal even before a star."""
    return re.sub(r"(\\+)\*", r"\1\1*", value) if kind == "glob" and isinstance(value, str) else value


def _header(name: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", name)
    return "-".join(["X-Claim", *(word.capitalize() for word in words)])[:64]
