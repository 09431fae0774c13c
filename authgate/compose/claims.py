"""Compose the claim rules and mappings of `jwt[]` and `introspection[]`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from authgate.compose.dependencies import CompositionError, compiled
from authgate.expressions import Expects, Sees
from authgate.verify.mapped import (
    ClaimRules,
    Condition,
    Mapped,
    PrefixedClaim,
    RequiredClaim,
    claims_of,
    mapped_identity,
    spiffe_identity,
    tenant_identity,
)

if TYPE_CHECKING:
    from authgate.config import ClaimsConfig, JWTIssuerConfig, PrefixedClaimOrExpression
    from authgate.verify.jwt import Identify
    from authgate.verify.recognition import IdentityClaims


def identify_of(item: JWTIssuerConfig) -> Identify:
    """Return what names the sender of an issuer's tokens."""
    identify: Identify = partial(mapped_identity, rules=claim_rules(item), issuer_name=item.name)
    if item.gate.spiffe is not None:
        return partial(spiffe_identity, trust_domain=item.gate.spiffe.trust_domain, identify=identify)
    return partial(tenant_identity, tenants=item.tenants, identify=identify) if item.tenants else identify


def identity_claims_of(item: JWTIssuerConfig) -> IdentityClaims | None:
    """Return the claims that the identities of an issuer depend on, or None if they cannot be listed."""
    return None if item.gate.spiffe is not None or item.tenants else claims_of(claim_rules(item))


def claim_rules(item: ClaimsConfig) -> ClaimRules:
    """Return how claims become an identity; raises `CompositionError` for an invalid expression."""
    mappings = item.claim_mappings
    username = _name(mappings.username, "claimMappings.username")
    if username is None:
        raise CompositionError("claimMappings.username: needs a claim or an expression")
    return ClaimRules(
        username,
        groups=None if mappings.groups is None else _name(mappings.groups, "claimMappings.groups"),
        uid=_uid(item),
        required=tuple(
            RequiredClaim(rule.claim, rule.required_value)
            for rule in item.claim_validation_rules
            if rule.claim is not None
        ),
        extra=tuple(
            (extra.key, _mapped(extra.value_expression, f"claimMappings.extra[{index}].valueExpression"))
            for index, extra in enumerate(mappings.extra)
        ),
        claims=tuple(
            _condition(
                rule.expression, Sees.CLAIMS, f"claimValidationRules[{index}].expression", rule.message
            )
            for index, rule in enumerate(item.claim_validation_rules)
            if rule.expression is not None
        ),
        user=tuple(
            _condition(rule.expression, Sees.USER, f"userValidationRules[{index}].expression", rule.message)
            for index, rule in enumerate(item.user_validation_rules)
        ),
    )


def _name(mapping: PrefixedClaimOrExpression, place: str) -> PrefixedClaim | Mapped | None:
    if mapping.expression is not None:
        return _mapped(mapping.expression, f"{place}.expression")
    return None if mapping.claim is None else PrefixedClaim(mapping.claim, mapping.prefix or "")


def _uid(item: ClaimsConfig) -> str | Mapped | None:
    uid = item.claim_mappings.uid
    if uid is None or uid.expression is None:
        return None if uid is None else uid.claim
    return _mapped(uid.expression, "claimMappings.uid.expression")


def _mapped(text: str, place: str) -> Mapped:
    return Mapped(place, compiled(text, Sees.CLAIMS, Expects.ANY, place))


def _condition(text: str, sees: Sees, place: str, message: str | None) -> Condition:
    return Condition(place, compiled(text, sees, Expects.BOOL, place), message or "")
