"""From a configuration to the objects that decide: verifiers, key sets, policies, and one gate over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from authgate.compose.access import access_reviewers
from authgate.compose.clusters import cluster_verifier, connect
from authgate.compose.issuers import issuer_verifier
from authgate.compose.policies import policy_of
from authgate.compose.surroundings import CompositionError, Surroundings
from authgate.gate import Gate
from authgate.policy.headers import HeaderMapper
from authgate.verify.cache import CacheRules, CachingVerifier
from authgate.verify.router import IssuerRouter, Verifier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from authgate.cluster.client import ClusterClient
    from authgate.config import Config
    from authgate.keys.remote import RemoteKeySet
    from authgate.verify.access_review import AccessReviewers
    from authgate.verify.cluster import ClusterVerifier
    from authgate.verify.jwt import JWTVerifier

__all__ = ["CompositionError", "Pipeline", "Surroundings", "compose"]


@dataclass(slots=True)
class Pipeline:
    """One configuration at work; the fetched `key_sets` want to be kept fresh beside it."""

    gate: Gate
    issuers: dict[str, JWTVerifier]
    cluster: ClusterVerifier | None
    key_sets: list[RemoteKeySet] = field(default_factory=list)
    api: ClusterClient | None = None
    reviewers: AccessReviewers | None = None
    background: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What else has to run for ever beside it."""

    async def close(self) -> None:
        """End the fetches and reviews under way, and release connections."""
        for keys in self.key_sets:
            await keys.close()
        if self.reviewers is not None:
            await self.reviewers.close()
        if self.cluster is not None:
            await self.cluster.close()
        if self.api is not None:
            await self.api.close()


async def compose(config: Config, around: Surroundings, *, cached: bool = True) -> Pipeline:
    """Build a pipeline; raises `CompositionError`. No issuer and no cluster needs to be up for it."""
    key_sets: list[RemoteKeySet] = []
    verifiers = {item.issuer.url: issuer_verifier(item, around, key_sets) for item in config.jwt}
    background: list[Callable[[], Awaitable[None]]] = []
    cluster, api, learn = None, None, None
    if config.cluster is not None:
        api = await connect(config.cluster, around)
        cluster, cluster_keys = cluster_verifier(
            config.cluster, api, around, frozenset(verifiers), background
        )
        key_sets.append(cluster_keys)
        learn = partial(_learn_issuer, cluster_keys)
    verifier: Verifier = IssuerRouter(verifiers, cluster, learn)
    if cached:
        verifier = _cache(config, verifier, around)
    headers = HeaderMapper(config.headers.preset, config.headers.max_bytes)
    policies = {name: policy_of(name, item) for name, item in config.policies.items()}
    asked = [(config.cluster, api)] if config.cluster is not None and api is not None else []
    reviewers = access_reviewers(config.policies.values(), asked, around)
    gate = Gate(verifier, policies, headers, config.limits.max_token_bytes, reviewers)
    named = {item.name: verifiers[item.issuer.url] for item in config.jwt}
    return Pipeline(gate, named, cluster, key_sets, api, reviewers, background)


async def _learn_issuer(keys: RemoteKeySet) -> None:
    await keys.resolve(None, "")


def _cache(config: Config, inner: Verifier, around: Surroundings) -> CachingVerifier:
    metrics, rules = around.metrics, config.cache

    def on_lookup(result: str) -> None:
        metrics.cache_requests["verdict", result] += 1

    def on_eviction() -> None:
        metrics.cache_evictions["verdict"] += 1

    cache = CachingVerifier(
        inner,
        around.clock,
        CacheRules(rules.max_entries, rules.ttl, rules.negative_ttl),
        on_lookup,
        on_eviction,
    )
    metrics.cache_entries["verdict"] = cache.__len__
    return cache
