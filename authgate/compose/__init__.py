"""From a configuration to the objects that decide: verifiers, key sets, policies, and one gate over them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from authgate.compose.access_review import access_reviewers
from authgate.compose.clusters import Clusters, compose_clusters
from authgate.compose.dependencies import CompositionError, Dependencies, placed
from authgate.compose.headers import header_mapper
from authgate.compose.issuers import issuer_verifier
from authgate.compose.policies import policy_of, reads_claims
from authgate.compose.tokens import identity_header, token_issuer
from authgate.gate import Gate
from authgate.verify.cache import CacheRules, CachingVerifier, VerdictCache
from authgate.verify.router import IssuerRouter, Verifier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from authgate.config import Config
    from authgate.keys.remote import RemoteKeySet
    from authgate.policy.rules import Policy
    from authgate.signing.tokens import TokenIssuer
    from authgate.verify.access_review import AccessReviewers
    from authgate.verify.cluster import ClusterVerifier
    from authgate.verify.jwt import JWTVerifier

__all__ = ["CompositionError", "Dependencies", "Pipeline", "compose"]


@dataclass(slots=True)
class Pipeline:
    """One configuration at work; the fetched `key_sets` want to be kept fresh beside it."""

    gate: Gate
    issuers: dict[str, JWTVerifier]
    clusters: Clusters
    key_sets: list[RemoteKeySet] = field(default_factory=list)
    reviewers: AccessReviewers | None = None
    issuer: TokenIssuer | None = None
    """What signs tokens of the gate's own."""

    @property
    def background(self) -> list[Callable[[], Awaitable[None]]]:
        """What else has to run for ever beside it."""
        return self.clusters.background

    @property
    def reviewed(self) -> list[ClusterVerifier]:
        """The clusters that can be asked."""
        return self.clusters.asked

    def states(self) -> Iterator[tuple[str, bool, str]]:
        """Yield each issuer's and cluster's name, whether its tokens can be decided now, and by what or why not.

        A cluster's legacy and static tokens have a line of their own, since its keys cannot decide them.
        """
        named = {f"issuer/{name}": verifier.status() for name, verifier in self.issuers.items()}
        named |= {f"cluster/{name}": verifier.status() for name, verifier in self.clusters.verifiers.items()}
        for cluster in self.clusters.asked:
            if (legacy := cluster.legacy_status()) is not None:
                named[f"cluster/{cluster.name}/legacyAudiences"] = legacy
        for name, state in named.items():
            yield name, state.usable, state.detail

    def inherit(self, other: Pipeline) -> None:
        """Take over the keys that another pipeline has of the same places, where they could not be fetched anew."""
        self.clusters.inherit(other.clusters)
        for keys in self.key_sets:
            for known in other.key_sets:
                keys.inherit(known)

    async def close(self) -> None:
        """End the fetches and reviews under way, and release connections."""
        for keys in self.key_sets:
            await keys.close()
        if self.reviewers is not None:
            await self.reviewers.close()
        await self.clusters.close()


async def compose(config: Config, deps: Dependencies, *, cached: bool = True) -> Pipeline:
    """Build a pipeline; raises `CompositionError`. No issuer and no cluster needs to be up for it."""
    issuer = token_issuer(config, deps)
    policies: dict[str, Policy] = {}
    for name, section in config.policies.items():
        policies[name] = policy_of(name, section)
        # A reload composes beside requests, which must not wait for a thousand policies.
        await asyncio.sleep(0)
    read = bool(config.headers.set) or reads_claims(policies.values())
    deps = replace(deps, keep_claims=deps.keep_claims or read)
    key_sets: list[RemoteKeySet] = []
    verifiers: dict[str, JWTVerifier] = {}
    for index, item in enumerate(config.jwt):
        with placed("jwt", index):
            verifiers[item.issuer.url] = issuer_verifier(item, deps, key_sets)
    named = {item.name: verifiers[item.issuer.url] for item in config.jwt}
    clusters = await compose_clusters(config.clusters, deps, frozenset(verifiers))
    try:
        return _pipeline(
            config,
            deps,
            cached=cached,
            issuer=issuer,
            policies=policies,
            issuers=(verifiers, named),
            clusters=clusters,
            key_sets=key_sets,
        )
    except BaseException:
        await clusters.close()
        raise


def _pipeline(
    config: Config,
    deps: Dependencies,
    *,
    cached: bool,
    issuer: TokenIssuer | None,
    policies: dict[str, Policy],
    issuers: tuple[dict[str, JWTVerifier], dict[str, JWTVerifier]],
    clusters: Clusters,
    key_sets: list[RemoteKeySet],
) -> Pipeline:
    verifiers, named = issuers
    key_sets += clusters.key_sets.values()
    verifier: Verifier = IssuerRouter(
        {**verifiers, **clusters.static}, clusters.asked, clusters.learn_issuers
    )
    cache = _cache(config, deps) if cached else None
    if cache is not None:
        on_miss = deps.metrics.cache_requests.counter(("verdict", "miss"))
        verifier = CachingVerifier(verifier, cache, deps.clock, on_miss=on_miss)
    headers = header_mapper(config.headers, identity_header(config, issuer))
    asked = [(item, clusters.apis[item.name]) for item in config.clusters if item.name in clusters.apis]
    reviewers = access_reviewers(config.policies.values(), asked, deps)
    gate = Gate(
        verifier,
        policies,
        headers,
        config.limits.max_token_bytes,
        reviewers,
        cache=cache,
        now=deps.clock.now,
        on_difference=deps.on_difference,
    )
    return Pipeline(gate, named, clusters, key_sets, reviewers, issuer)


def _cache(config: Config, deps: Dependencies) -> VerdictCache:
    metrics, rules = deps.metrics, config.cache
    cache = VerdictCache(
        deps.clock,
        CacheRules(rules.max_entries, rules.ttl, rules.negative_ttl, rules.max_bytes),
        on_hit=metrics.cache_requests.counter(("verdict", "hit")),
        on_eviction=metrics.cache_evictions.counter("verdict"),
    )
    metrics.cache_entries["verdict"] = cache.__len__
    metrics.cache_bytes["verdict"] = lambda: cache.weight
    return cache
