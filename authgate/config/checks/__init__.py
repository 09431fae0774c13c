"""The checks between sections: each runs if the sections that it needs are valid."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final

from authgate.config.checks import policies, references
from authgate.config.models.configuration import Config
from authgate.config.problems import Finding

# Policies with an error are left out of the configuration here, so checks of single policies do not need "policies".
_CHECKS: Final[tuple[tuple[frozenset[str], Callable[[Config], Iterator[Finding]]], ...]] = tuple(
    (frozenset(sections), check)
    for check, *sections in (
        (references.tokens_have_an_issuer, "cluster", "jwt", "introspection"),
        (references.issuers_are_unique, "cluster", "jwt"),
        (references.names_are_unique, "cluster", "jwt", "introspection"),
        (references.clusters_are_distinct, "cluster"),
        (references.opaque_tokens_have_one_server, "cluster", "introspection"),
        (references.introspected_issuers_exist, "jwt", "introspection"),
        (references.audiences_are_accepted, "cluster", "jwt", "introspection"),
        (references.entries_name_issuers, "cluster", "jwt", "introspection"),
        (references.access_reviews_have_a_cluster, "cluster"),
        (references.queries_have_a_proxy, "credential", "server"),
        (references.exchange_has_an_address, "exchange", "server"),
        (references.signing_is_used, "signing", "identityToken", "exchange"),
        (references.signing_keys_are_shared, "signing", "server"),
        (references.signing_has_its_own_issuer, "signing", "cluster"),
        (references.identity_tokens_outlive_verdicts, "identityToken", "cache"),
        (references.exchange_names_policies, "exchange", "policies"),
        (references.admin_policy_exists, "admin", "policies"),
        (references.recent_decisions_are_protected, "admin", "server"),
        (references.headers_are_unique, "headers", "identityToken"),
        (references.request_ids_have_their_own_header, "server", "headers", "credential", "identityToken"),
        (policies.requests_have_a_proxy, "server"),
        (policies.hosts_are_known, "server"),
        (policies.roles_are_stricter, "cluster", "jwt"),
    )
)


def check(config: Config, invalid: Collection[str]) -> Iterator[Finding]:
    """Yield what is wrong between sections; `invalid` are sections with an error, which have their defaults here."""
    for sections, find in _CHECKS:
        if sections.isdisjoint(invalid):
            yield from find(config)
