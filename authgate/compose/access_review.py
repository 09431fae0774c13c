"""Compose `policies.*.accessReview`: the attributes to review, and the reviewer of each cluster."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from authgate.cluster.api import ResourceAttributes
from authgate.compose.recorders import access_recorder, start_results
from authgate.policy.access_review import AccessRule, AttributesRule, RequestAttributes, ResourceTemplates
from authgate.verify.access_review import AccessReviewer, AccessReviewers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.cluster.api import AccessAPI
    from authgate.compose.dependencies import Dependencies
    from authgate.config import AccessReviewConfig, ClusterConfig


def access_rule(item: AccessReviewConfig) -> AccessRule:
    """Return the access review that a policy requires."""
    rule: AttributesRule = RequestAttributes()
    if item.resource is not None:
        rule = ResourceTemplates(ResourceAttributes(**vars(item.resource)))
    return AccessRule(rule, item.allowed_ttl, item.denied_ttl, item.cluster)


def access_reviewers(
    clusters: Iterable[tuple[ClusterConfig, AccessAPI]], deps: Dependencies
) -> AccessReviewers:
    """Return the reviewers of `clusters`, in the file's order."""
    return AccessReviewers({item.name: _reviewer(item, api, deps) for item, api in clusters})


def _reviewer(item: ClusterConfig, api: AccessAPI, deps: Dependencies) -> AccessReviewer:
    # The limits of tokenReview, but a separate budget: neither kind of review can use up the other's.
    metrics = deps.metrics
    start_results(metrics.accessreview_requests, item.name, "allowed", "denied")
    metrics.cache_requests.start(("access", "hit"), ("access", "miss"))
    metrics.cache_evictions.start("access")

    def on_lookup(result: str) -> None:
        metrics.cache_requests["access", result] += 1

    def on_eviction() -> None:
        metrics.cache_evictions["access"] += 1

    return AccessReviewer(
        api,
        deps.clock,
        qps=item.token_review.qps,
        burst=item.token_review.burst,
        on_review=partial(metrics.count_access_review, item.name),
        on_lookup=on_lookup,
        on_eviction=on_eviction,
        on_state=access_recorder(item.name),
    )
