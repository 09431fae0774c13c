"""Build policies, their rules and their roles from `policies`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authgate.compose.dependencies import compiled
from authgate.expressions import Expects
from authgate.json_pointer import claim_pointer
from authgate.policy.conditions import Entry, ExpressionHolds, GroupIn, IssuerIn, ServiceAccountIn, UserIn
from authgate.policy.mapped_headers import ClaimHeader
from authgate.policy.routes import HostPatterns, PathPattern, RequestMatch
from authgate.policy.rules import OpenPaths, Policy, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.config import (
        AccessReviewConfig,
        EntryConfig,
        PolicyConfig,
        PolicyVersionConfig,
        RoleConfig,
        RuleConfig,
    )
    from authgate.expressions import Sees
    from authgate.policy.access_review import AccessRule
    from authgate.policy.conditions import Condition
    from authgate.policy.role import Role


def policy_of(name: str, item: PolicyConfig) -> Policy:
    """Return a configured policy; raise `CompositionError` for an invalid expression."""
    shadow = None
    if item.shadow is not None:
        shadow = _version(name, item.shadow, place=f"policies.{name}.shadow.")
    return _version(name, item, place=f"policies.{name}.", access=item.access_review, shadow=shadow)


def reads_claims(policies: Iterable[Policy]) -> bool:
    """Return whether a policy reads claims, so that verdicts must keep them."""
    versions = (version for policy in policies for version in (policy, policy.shadow) if version is not None)
    return any(clause.reads_claims for version in versions for clause in version.clauses)


def _version(
    name: str,
    item: PolicyVersionConfig,
    *,
    place: str,
    access: AccessReviewConfig | None = None,
    shadow: Policy | None = None,
) -> Policy:
    made = _Entries(item.sees)
    return Policy(
        name,
        audiences=frozenset(item.audiences) if item.audiences is not None else None,
        allow=made.listed(item.allow, f"{place}allow"),
        deny=made.listed(item.deny, f"{place}deny") or (),
        open_paths=OpenPaths(item.anonymous),
        access=_access(access),
        rules=tuple(made.rule(rule, f"{place}rules[{index}]") for index, rule in enumerate(item.rules)),
        shadow=shadow,
        role=_role(item.role) if item.role is not None else None,
        preflights=item.cors_preflight == "allow",
    )


def _access(item: AccessReviewConfig | None) -> AccessRule | None:
    if item is None:
        return None
    from authgate.compose.access_review import access_rule  # not needed by most policies

    return access_rule(item)


def _role(item: RoleConfig) -> Role:
    """Return a configured role."""
    from authgate.policy.role import BoundClaim, Leeways, Role  # not needed by most policies

    glob = item.bound_claims_type == "glob"
    skew = item.clock_skew_leeway
    leeways = Leeways(
        skew if item.expiration_leeway is None else item.expiration_leeway,
        skew if item.not_before_leeway is None else item.not_before_leeway,
        skew,
    )
    return Role(
        audiences=frozenset(item.bound_audiences) if item.bound_audiences is not None else None,
        subject=item.bound_subject,
        claims=tuple(
            BoundClaim(claim_pointer(name), values, glob=glob)
            for name, values in (item.bound_claims or {}).items()
        ),
        user=claim_pointer(item.user_claim) if item.user_claim is not None else None,
        groups=claim_pointer(item.groups_claim) if item.groups_claim is not None else None,
        headers=tuple(
            ClaimHeader(header, claim_pointer(claim)) for claim, header in item.claim_mappings.items()
        ),
        leeways=leeways if leeways != Leeways() else None,
        max_lifetime=item.max_token_lifetime,
    )


class _Entries:
    """Build the entries and rules of one version of a policy. Their expressions see the same variables."""

    def __init__(self, sees: Sees) -> None:
        self._sees = sees

    def rule(self, item: RuleConfig, place: str) -> Rule:
        """Return a rule. `place` is its path in the configuration."""
        match = RequestMatch(
            None if item.hosts is None else HostPatterns(item.hosts),
            None if item.methods is None else frozenset(item.methods),
            None if item.paths is None else tuple(map(PathPattern, item.paths)),
            item.raw_path == "allow",
        )
        allow = self.listed(item.allow, f"{place}.allow")
        if item.expression is not None:
            allow = (Entry([self._expression(item.expression, f"{place}.expression")]),)
        deny = self.listed(item.deny, f"{place}.deny")
        return Rule(
            match,
            allow=allow,
            deny=deny,
            access=_access(item.access_review),
            anonymous=item.anonymous,
        )

    def listed(self, items: tuple[EntryConfig, ...] | None, place: str) -> tuple[Entry, ...] | None:
        """Return the entries of a list, or None if there is no list."""
        if items is None:
            return None
        return tuple(self._entry(item, f"{place}[{index}]") for index, item in enumerate(items))

    def _entry(self, item: EntryConfig, place: str) -> Entry:
        conditions: list[Condition] = []
        if item.issuers is not None:
            conditions.append(IssuerIn(item.issuers))
        if item.service_accounts is not None:
            conditions.append(ServiceAccountIn(item.service_accounts))
        if item.users is not None:
            conditions.append(UserIn(item.users))
        if item.groups is not None:
            conditions.append(GroupIn(item.groups))
        if item.expression is not None:  # last, since it costs the most
            conditions.append(self._expression(item.expression, f"{place}.expression"))
        return Entry(conditions)

    def _expression(self, text: str, place: str) -> ExpressionHolds:
        return ExpressionHolds(compiled(text, self._sees, Expects.BOOL, place), place)
