"""`policies`: from configured entries to policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authgate.compose.access import access_rule
from authgate.policy.rules import Entry, GroupIn, IssuerIn, OpenPaths, Policy, ServiceAccountIn, UserIn

if TYPE_CHECKING:
    from authgate.config import PolicyConfig, RuleConfig


def policy_of(name: str, item: PolicyConfig) -> Policy:
    """Return the policy that a configuration names."""
    return Policy(
        name,
        frozenset(item.audiences) if item.audiences is not None else None,
        tuple(_entry(rule) for rule in item.allow) if item.allow is not None else None,
        tuple(_entry(rule) for rule in item.deny or ()),
        OpenPaths(item.anonymous),
        access_rule(item.access_review) if item.access_review is not None else None,
    )


def _entry(rule: RuleConfig) -> Entry:
    conditions: list[IssuerIn | UserIn | GroupIn | ServiceAccountIn] = []
    if rule.issuers is not None:
        conditions.append(IssuerIn(frozenset(rule.issuers)))
    if rule.service_accounts is not None:
        conditions.append(ServiceAccountIn(rule.service_accounts))
    if rule.users is not None:
        conditions.append(UserIn(frozenset(rule.users)))
    if rule.groups is not None:
        conditions.append(GroupIn(frozenset(rule.groups)))
    return Entry(conditions)
