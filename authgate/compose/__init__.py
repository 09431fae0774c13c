"""Build everything that a configuration describes, in one pass: verifiers, key sets, policies, and a gate over them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from authgate.compose.dependencies import CompositionError, Dependencies, placed
from authgate.compose.generation import Clusters, Generation
from authgate.compose.headers import header_mapper
from authgate.compose.issuers import issuer_verifier
from authgate.compose.policies import policy_of, reads_claims
from authgate.compose.sources import sources_of
from authgate.compose.tokens import identity_header, token_exchange, token_issuer
from authgate.compose.traced import traced_access_reviews
from authgate.gate import Gate
from authgate.verify.cache import CacheRules, CachingVerifier, VerdictCache
from authgate.verify.router import IssuerRouter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from authgate.cluster.api import AccessAPI
    from authgate.cluster.client import ClusterClient
    from authgate.cluster.validity import Validity
    from authgate.config import ClusterConfig, Config
    from authgate.keys.remote import RemoteKeySet
    from authgate.policy.rules import Policy
    from authgate.verify.access_review import AccessReviewers
    from authgate.verify.introspection import IntrospectionVerifier
    from authgate.verify.jwt import JWTVerifier
    from authgate.verify.router import IssuerVerifier, Verifier

__all__ = ["CompositionError", "Dependencies", "Generation", "compose"]


async def compose(config: Config, deps: Dependencies, *, cached: bool = True) -> Generation:
    """Build the generation of a configuration; raise `CompositionError`. No issuer or cluster has to be reachable."""
    issuer = token_issuer(config, deps)
    headers = header_mapper(config.headers, identity_header(config, issuer))
    policies: dict[str, Policy] = {}
    for name, section in config.policies.items():
        policies[name] = policy_of(name, section)
        # A reload composes while requests are answered: they must not wait for a thousand policies.
        await asyncio.sleep(0)
    reads = bool(config.headers.set) or reads_claims(policies.values())
    deps = replace(deps, keep_claims=deps.keep_claims or reads)
    key_sets: list[RemoteKeySet] = []
    issuers: dict[str, JWTVerifier] = {}
    for index, item in enumerate(config.jwt):
        with placed("jwt", index):
            issuers[item.name] = issuer_verifier(item, deps, key_sets)
    servers: dict[str, IntrospectionVerifier] = {}
    by_url: dict[str, IssuerVerifier] = {
        url: issuers[item.name] for item in config.jwt for url in item.issuer_names
    }
    if config.introspection:
        from authgate.compose.introspection import compose_introspection, introspected  # 0.4 MB

        servers = await compose_introspection(config.introspection, deps)
        by_url = introspected(config, issuers, servers)
    # The clusters' connections are opened last: nothing after them can fail and leave them open.
    try:
        clusters = await _clusters(config, deps, frozenset(by_url))
    except BaseException:
        for server in servers.values():
            await server.close()
        raise
    verifier: Verifier = IssuerRouter(
        {**by_url, **clusters.static},
        clusters.asked,
        clusters.learn_issuers,
        trust_domains=frozenset(item.gate.spiffe.trust_domain for item in config.jwt if item.gate.spiffe),
        introspection=servers.values(),
    )
    cache = _cache(config, deps) if cached else None
    if cache is not None:
        on_miss = deps.metrics.cache_requests.counter(("verdict", "miss"))
        verifier = CachingVerifier(verifier, cache, deps.clock, on_miss=on_miss)
    connected = [
        (item, traced_access_reviews(deps.tracing, api, item.name, api.connection.server))
        for item in config.clusters
        if (api := clusters.apis.get(item.name)) is not None
    ]
    reviewers = _reviewers(config, connected, deps)
    gate = Gate(
        verifier,
        policies,
        headers,
        config.limits.max_token_bytes,
        reviewers,
        cache=cache,
        now=deps.clock.now,
    )
    return Generation(
        gate=gate,
        proxy=config.server.proxy,
        sources=sources_of(config.credential),
        exchange=token_exchange(config, issuer),
        issuers=issuers,
        clusters=clusters,
        introspection=servers,
        key_sets=[*key_sets, *clusters.key_sets.values()],
        cache=cache,
        reviewers=reviewers,
        token_issuer=issuer,
        metrics=deps.metrics,
        credentials=_credentials(config, clusters.apis),
    )


async def _clusters(config: Config, deps: Dependencies, taken: frozenset[str]) -> Clusters:
    if not config.clusters:
        return Clusters()
    from authgate.compose.clusters import compose_clusters  # its modules take 1 MB

    return await compose_clusters(config.clusters, deps, taken)


def _reviewers(
    config: Config, clusters: Iterable[tuple[ClusterConfig, AccessAPI]], deps: Dependencies
) -> AccessReviewers | None:
    """Return the reviewers of `clusters`, in the file's order, or None if no policy requires a review."""
    if all(
        item.access_review is None and all(rule.access_review is None for rule in item.rules)
        for item in config.policies.values()
    ):
        return None
    from authgate.compose.access_review import access_reviewers

    return access_reviewers(clusters, deps)


def _credentials(
    config: Config, apis: Mapping[str, ClusterClient]
) -> dict[tuple[str, str], Callable[[], Validity | None]]:
    found = {
        (f"cluster {kind}", name): read
        for name, api in apis.items()
        for kind, read in api.credentials().items()
    }
    for item in config.introspection:
        if item.client_auth.cert_file is not None:
            from authgate.cluster.validity import CertificateValidity  # not needed by most gates

            read = CertificateValidity(Path(item.client_auth.cert_file))
            found["introspection certificate", item.name] = read
    return found


def _cache(config: Config, deps: Dependencies) -> VerdictCache:
    metrics, rules = deps.metrics, config.cache
    return VerdictCache(
        deps.clock,
        CacheRules(rules.max_entries, rules.ttl, rules.negative_ttl, rules.max_bytes),
        on_hit=metrics.cache_requests.counter(("verdict", "hit")),
        on_eviction=metrics.cache_evictions.counter("verdict"),
    )
