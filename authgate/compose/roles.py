"""Build roles from `policies.*.role`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authgate.json_pointer import claim_pointer
from authgate.policy.mapped_headers import ClaimHeader
from authgate.policy.role import BoundClaim, Leeways, Role

if TYPE_CHECKING:
    from authgate.config import RoleConfig


def role_of(item: RoleConfig) -> Role:
    """Return the role of a configuration."""
    glob = item.bound_claims_type == "glob"
    skew = item.clock_skew_leeway
    leeways = Leeways(
        skew if item.expiration_leeway is None else item.expiration_leeway,
        skew if item.not_before_leeway is None else item.not_before_leeway,
        skew,
    )
    return Role(
        frozenset(item.bound_audiences) if item.bound_audiences is not None else None,
        item.bound_subject,
        tuple(
            BoundClaim(claim_pointer(name), values, glob=glob)
            for name, values in (item.bound_claims or {}).items()
        ),
        claim_pointer(item.user_claim) if item.user_claim is not None else None,
        claim_pointer(item.groups_claim) if item.groups_claim is not None else None,
        tuple(ClaimHeader(header, claim_pointer(claim)) for claim, header in item.claim_mappings.items()),
        leeways if leeways != Leeways() else None,
        item.max_token_lifetime,
    )
