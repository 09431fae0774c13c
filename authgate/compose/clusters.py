"""`cluster`: from a cluster's configuration to its verifier."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from authgate.cluster.access import ClusterAccess, ClusterConfigError
from authgate.cluster.client import ClusterClient
from authgate.compose.recorders import fetch_recorder, review_recorder
from authgate.compose.revocation import revocation_of
from authgate.compose.surroundings import CompositionError
from authgate.keys.remote import KeyFetchError, RefreshRules, RemoteKeySet
from authgate.keys.sources import ClusterSource
from authgate.model import Lease
from authgate.verify.claims import TimeRules
from authgate.verify.cluster import ClusterIssuers, ClusterRules, ClusterVerifier
from authgate.verify.identity import cluster_identity
from authgate.verify.jwt import IssuerRules, JWTVerifier
from authgate.verify.review import Reviewer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from authgate.compose.surroundings import Surroundings
    from authgate.config import ClusterConfig

_CLUSTER_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"})
_CLUSTER_TIME = TimeRules(leeway=60.0, expiry_leeway=60.0)  # kubernetes pkg/serviceaccount/claims.go


async def connect(item: ClusterConfig, around: Surroundings) -> ClusterClient:
    """Return the client of a cluster's API server, which may be down; raises `CompositionError`."""
    access = ClusterAccess(
        kubeconfig=item.kubeconfig,
        context=item.context,
        timeout=item.token_review.timeout,
        service_account_dir=around.service_account_dir,
        environ=around.environ,
    )
    try:
        return await ClusterClient.connect(access)
    except ClusterConfigError as error:
        raise CompositionError(f"cluster: {error}") from None


def cluster_verifier(
    item: ClusterConfig,
    api: ClusterClient,
    around: Surroundings,
    taken: frozenset[str],
    background: list[Callable[[], Awaitable[None]]],
) -> tuple[ClusterVerifier, RemoteKeySet]:
    """Return the verifier of a cluster's tokens and its key set; issuers in `taken` are refused as the cluster's.

    What has to run beside it, but for the key set's own refresh, joins `background`.
    """
    issuers = ClusterIssuers(item.issuers)

    def on_issuer(issuer: str) -> None:
        if issuer in taken:
            raise KeyFetchError(
                f"the cluster's issuer {issuer} is configured under jwt, too; remove it there"
            )
        issuers.learn(issuer)

    refresh = RefreshRules(item.keys.refresh, item.keys.max_stale, item.keys.cooldown)
    keys = RemoteKeySet(
        ClusterSource(api, on_issuer, item.keys.timeout),
        around.clock,
        refresh,
        fetch_recorder(item.name, around.metrics),
    )
    own = api.own_issuer()
    if own is not None and own not in taken:
        issuers.learn(own, discovered=False)
    review = item.token_review
    reviewer = Reviewer(
        api,
        around.clock,
        name=item.name,
        qps=review.qps,
        burst=review.burst,
        on_review=around.metrics.count_review,
        on_state=review_recorder(item.name),
    )
    rules = ClusterRules(item.name, item.audiences, review.legacy_audiences, review.mode, review.max_age)
    accepted = frozenset(item.audiences)
    issuer_rules = IssuerRules(item.name, accepted, _CLUSTER_ALGORITHMS, frozenset({"jwt"}), _CLUSTER_TIME)
    local = JWTVerifier(issuer_rules, keys, partial(cluster_identity, cluster=item.name), around.clock)
    revocation = revocation_of(item, api, around, background)
    return ClusterVerifier(rules, issuers, local, reviewer, Lease(), revocation=revocation), keys
