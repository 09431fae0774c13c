"""Compose `cluster`: clients, key sets, reviewers and verifiers of the configured clusters."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING

from authgate.cluster.client import ClusterClient
from authgate.cluster.connection import ClusterConfigError, ConnectionSettings
from authgate.compose.dependencies import CompositionError, placed
from authgate.compose.generation import Clusters
from authgate.compose.issuers import read_static_keys, refresh_rules
from authgate.compose.recorders import fetch_recorder, review_recorder, start_results
from authgate.compose.revocation import revocation_of
from authgate.compose.traced import traced_keys, traced_token_reviews
from authgate.http_proxy import ProxyEnvironment
from authgate.keys.fetch import HTTPFetcher
from authgate.keys.key_set import StaticKeySet
from authgate.keys.remote import KeyFetchError, RemoteKeySet
from authgate.keys.sources import ClusterSource, DiscoverySource, JWKSSource
from authgate.model import RevocationHandle
from authgate.verify.claims import TimeRules
from authgate.verify.cluster import ClusterRules, ClusterVerifier
from authgate.verify.cluster_issuers import ClusterIssuers
from authgate.verify.identity import CLUSTER_CLAIMS, cluster_identity
from authgate.verify.jwt import IssuerRules, JWTVerifier
from authgate.verify.token_review import TokenReviewer
from authgate.vocabulary import CLUSTER_ALGORITHMS, CLUSTER_LEEWAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from authgate.compose.dependencies import Dependencies
    from authgate.config import ClusterConfig, StaticKeysConfig
    from authgate.keys.key_set import KeySet

_CLUSTER_TIME = TimeRules(CLUSTER_LEEWAY, CLUSTER_LEEWAY)  # kubernetes pkg/serviceaccount/claims.go


async def connect(item: ClusterConfig, deps: Dependencies) -> ClusterClient:
    """Return a client of the cluster's API server, which may be down; raises `CompositionError`."""
    settings = ConnectionSettings(
        kubeconfig=item.kubeconfig,
        context=item.context,
        timeout=item.token_review.timeout,
        service_account_dir=deps.service_account_dir,
        environ=deps.environ,
        programs=deps.programs,
    )
    try:
        return await ClusterClient.connect(settings)
    except ClusterConfigError as error:
        path: tuple[str, ...] = ("kubeconfig",) if item.kubeconfig is not None else ()
        raise CompositionError(f"cluster '{item.name}': {error}", path, str(error)) from None


async def compose_clusters(
    items: Iterable[ClusterConfig], deps: Dependencies, taken: frozenset[str]
) -> Clusters:
    """Return the clusters; raises `CompositionError`. `taken` are the issuers of `jwt`, which no cluster may have."""
    clusters = Clusters()
    among: list[ClusterIssuers] = []
    try:
        for item in items:
            clusters.issuers[item.name] = ClusterIssuers(item.issuers, item.name, among)
            with placed("cluster"):
                if item.keys_from == "issuer":
                    clusters.verifiers[item.name] = _published(item, clusters, deps)
                elif item.static_keys is None:
                    clusters.apis[item.name] = await connect(item, deps)
                    clusters.verifiers[item.name] = _asked(item, clusters, deps, taken)
                else:
                    clusters.verifiers[item.name] = _static(item, item.static_keys, deps)
    except BaseException:
        await clusters.close()
        raise
    return clusters


def _asked(
    item: ClusterConfig, clusters: Clusters, deps: Dependencies, taken: frozenset[str]
) -> ClusterVerifier:
    api, issuers = clusters.apis[item.name], clusters.issuers[item.name]

    def on_issuer(issuer: str) -> None:
        if issuer in taken:
            raise KeyFetchError(
                f"the cluster's issuer {issuer} is also configured under jwt; remove it there"
            )
        issuers.learn(issuer)
        if (conflict := issuers.conflict()) is not None:
            raise KeyFetchError(conflict)

    refresh = refresh_rules(item.keys, deps)
    keys = clusters.key_sets[item.name] = RemoteKeySet(
        traced_keys(
            deps.tracing,
            ClusterSource(api, on_issuer, item.keys.timeout),
            item.name,
            api.connection.server,
        ),
        deps.clock,
        refresh,
        fetch_recorder(item.name, deps.metrics),
        place=f"cluster '{item.name}' at {api.connection.server}",
        on_shared=lambda document: on_issuer(document.issuer),
    )
    own = api.own_issuer()
    if own is not None and own not in taken:
        issuers.learn(own, discovered=False)
    review = item.token_review
    start_results(deps.metrics.tokenreview_requests, item.name, "authenticated", "refused")
    reviewer = clusters.reviewers[item.name] = TokenReviewer(
        traced_token_reviews(deps.tracing, api, item.name, api.connection.server),
        deps.clock,
        name=item.name,
        qps=review.qps,
        burst=review.burst,
        on_review=partial(deps.metrics.count_review, item.name),
        on_state=review_recorder(item.name),
    )

    rules = ClusterRules(
        name=item.name,
        audiences=item.audiences,
        legacy_audiences=review.legacy_audiences,
        mode=review.mode,
        max_age=review.max_age,
    )
    local = _local_verifier(item, keys, deps)
    revocation = revocation_of(item, api, deps, clusters.background)
    if revocation is not None:
        clusters.revocations[item.name] = revocation
    verifier = ClusterVerifier(rules, issuers, local, reviewer, RevocationHandle(), revocation=revocation)
    clusters.asked.append(verifier)
    return verifier


def _published(item: ClusterConfig, clusters: Clusters, deps: Dependencies) -> JWTVerifier:
    issuer = item.issuers[0]
    clusters.issuers[item.name].learn(issuer)
    keys = clusters.key_sets[item.name] = RemoteKeySet(
        traced_keys(deps.tracing, published_keys(item, deps.environ), item.name, item.jwks_url or issuer),
        deps.clock,
        refresh_rules(item.keys, deps),
        fetch_recorder(item.name, deps.metrics),
        place=f"cluster issuer {issuer} {item.jwks_url}",
    )
    return _local_verifier(item, keys, deps)


def published_keys(item: ClusterConfig, environ: Mapping[str, str]) -> JWKSSource | DiscoverySource:
    """Return where a cluster's keys are fetched from if its API server is not called; raises `CompositionError`."""
    try:
        fetcher = HTTPFetcher(
            item.keys.timeout, ca_pem=item.certificate_authority, proxies=ProxyEnvironment(environ)
        )
    except (ssl.SSLError, ValueError) as error:
        reason = f"contains a certificate that OpenSSL does not accept: {error}"
        message = f"cluster '{item.name}': certificateAuthority: {reason}"
        raise CompositionError(message, ("certificateAuthority",), reason) from None
    if item.jwks_url is not None:
        return JWKSSource(item.jwks_url, fetcher)
    return DiscoverySource(item.issuers[0], fetcher)


def _static(item: ClusterConfig, given: StaticKeysConfig, deps: Dependencies) -> JWTVerifier:
    keys = read_static_keys(given, f"cluster '{item.name}': staticKeys")
    return _local_verifier(item, StaticKeySet(keys.keys), deps)


def _local_verifier(item: ClusterConfig, keys: KeySet, deps: Dependencies) -> JWTVerifier:
    accepted = frozenset(item.audiences)
    rules = IssuerRules(
        name=item.name,
        audiences=accepted,
        algorithms=frozenset(CLUSTER_ALGORITHMS),
        types=frozenset({"jwt"}),
        time=_CLUSTER_TIME,
    )
    identify = partial(cluster_identity, cluster=item.name)
    return JWTVerifier(
        rules,
        keys,
        identify,
        deps.clock,
        keep_claims=deps.keep_claims,
        verify_expired=deps.verify_expired,
        identity_claims=CLUSTER_CLAIMS,
    )
