"""One configuration in use: everything that `compose` made of it, and the loops that keep it current."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from authgate.observability.log import event, traceback_of
from authgate.observability.metrics import Gauges, Metrics
from authgate.server.admin.page import MAX_ROWS
from authgate.server.admin.status import Inspection, VerifierDetails
from authgate.server.decider import Serving
from authgate.server.exchange import EXCHANGE_RESULTS, signed_documents
from authgate.verify.jwt import JWTVerifier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from authgate.cluster.client import ClusterClient
    from authgate.cluster.validity import Validity
    from authgate.keys.remote import RemoteKeySet
    from authgate.signing.tokens import TokenIssuer
    from authgate.verify.access_review import AccessReviewers
    from authgate.verify.cache import VerdictCache
    from authgate.verify.cluster import ClusterVerifier
    from authgate.verify.cluster_issuers import ClusterIssuers
    from authgate.verify.introspection import IntrospectionVerifier
    from authgate.verify.revocation import Revocation
    from authgate.verify.token_review import TokenReviewer

_WARM_UP = 5.0
_PROBE_INTERVAL = 5.0
_PAUSE_AFTER_ERROR = 5.0


@dataclass(slots=True, kw_only=True)
class Clusters:
    """The clusters of one configuration and their parts, each by the cluster's name."""

    verifiers: dict[str, ClusterVerifier | JWTVerifier] = field(default_factory=dict)
    """A `JWTVerifier` for a cluster with static keys: it has no API server to ask."""
    asked: list[ClusterVerifier] = field(default_factory=list)
    """The verifiers of clusters with an API server."""
    apis: dict[str, ClusterClient] = field(default_factory=dict)
    key_sets: dict[str, RemoteKeySet] = field(default_factory=dict)
    issuers: dict[str, ClusterIssuers] = field(default_factory=dict)
    reviewers: dict[str, TokenReviewer] = field(default_factory=dict)
    revocations: dict[str, Revocation] = field(default_factory=dict)
    background: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """The loops of the watches, to run forever."""

    @property
    def static(self) -> dict[str, JWTVerifier]:
        """The verifiers of clusters with static keys, by each of their issuers."""
        return {
            issuer: verifier
            for name, verifier in self.verifiers.items()
            if isinstance(verifier, JWTVerifier)
            for issuer in self.issuers[name].configured
        }

    async def learn_issuers(self) -> None:
        """Fetch the keys of clusters whose issuer is not known yet, because their discovery names it."""
        unknown = [name for name in self.key_sets if not self.issuers[name].discovered]
        await asyncio.gather(*(self.key_sets[name].resolve(None, "", patient=False) for name in unknown))

    def inherit(self, other: Clusters) -> None:
        """Use the issuers and review states that the previous clusters learned from the same API servers."""
        previous = {verifier.name: verifier for verifier in other.asked}
        for verifier in self.asked:
            name = verifier.name
            if name in previous and self.apis[name].connection.server == other.apis[name].connection.server:
                self.issuers[name].inherit(other.issuers[name])
                verifier.inherit(previous[name])

    async def close(self) -> None:
        """Cancel pending reviews, and close connections."""
        for verifier in self.asked:
            await verifier.close()
        for api in self.apis.values():
            await api.close()


@dataclass(slots=True, eq=False, kw_only=True)
class Generation(Serving):
    """One configuration from its first request to its last: `start` it, then `retire` or `close` it.

    Listeners decide with it as a `Serving`.
    """

    issuers: dict[str, JWTVerifier]
    """The verifiers of `jwt`, by configured name."""
    clusters: Clusters
    introspection: dict[str, IntrospectionVerifier]
    """The verifiers of `introspection`, by configured name."""
    key_sets: list[RemoteKeySet]
    """All key sets that are fetched, those of clusters included."""
    cache: VerdictCache | None
    reviewers: AccessReviewers | None
    token_issuer: TokenIssuer | None
    """Signs the gate's own tokens."""
    metrics: Metrics
    credentials: dict[tuple[str, str], Callable[[], Validity | None]]
    """From when until when the gate's own certificates and tokens are valid, by kind and configured name."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list, init=False)

    def start(self) -> None:
        """Start the background loops: key refreshes, watches, and probes of TokenReview and introspection."""
        for name, policy in self.gate.policies.items():
            self.metrics.start_policy(name, shadowed=policy.shadow is not None)
        if self.exchange is not None:
            self.metrics.exchange_requests.start(*EXCHANGE_RESULTS)
        loops: list[Callable[[], Awaitable[None]]] = [
            *(keys.keep_fresh for keys in self.key_sets),
            *self.clusters.background,
            *(
                partial(_probe, cluster, self.clusters.key_sets[cluster.name])
                for cluster in self.clusters.asked
            ),
            *(partial(_probe_introspection, server) for server in self.introspection.values()),
        ]
        self._tasks += (asyncio.create_task(run_forever(loop, self.metrics)) for loop in loops)

    async def warm_up(self) -> None:
        """Fetch missing keys and probe introspection, for at most 5 seconds. The loops retry what fails."""
        fetches = [asyncio.create_task(keys.refresh()) for keys in self.key_sets]
        fetches += [asyncio.create_task(server.probe()) for server in self.introspection.values()]
        if fetches:
            await asyncio.wait(fetches, timeout=_WARM_UP)

    def inherit(self, previous: Generation) -> None:
        """Use the previous generation's keys and review states of the same places where this one has none yet."""
        self.clusters.inherit(previous.clusters)
        for name, server in self.introspection.items():
            if name in previous.introspection:
                server.inherit(previous.introspection[name])
        for keys in self.key_sets:
            for known in previous.key_sets:
                keys.inherit(known)

    async def retire(self) -> None:
        """Stop the background loops, wait for the last request, then close. No new request may come."""
        try:
            await self._stop_tasks()
            await self.idle()
        finally:  # also if the service stops meanwhile and cancels this
            await self._release()

    async def close(self) -> None:
        """Close at once: end pending fetches and reviews, and release connections."""
        await self._stop_tasks()
        await self._release()

    async def _stop_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _release(self) -> None:
        for keys in self.key_sets:
            await keys.close()
        for verifier in self.issuers.values():
            await verifier.close()
        if self.reviewers is not None:
            await self.reviewers.close()
        for server in self.introspection.values():
            await server.close()
        await self.clusters.close()

    def states(self) -> Iterator[tuple[str, bool, str]]:
        """Yield each issuer's and cluster's name, whether its tokens can be decided now, and how or why not.

        Legacy and static tokens of a cluster have a line of their own, since its keys cannot decide them.
        """
        named = {f"issuer/{name}": verifier.status() for name, verifier in self.issuers.items()}
        named |= {f"introspection/{name}": server.status() for name, server in self.introspection.items()}
        named |= {f"cluster/{name}": verifier.status() for name, verifier in self.clusters.verifiers.items()}
        for cluster in self.clusters.asked:
            if (legacy := cluster.legacy_status()) is not None:
                named[f"cluster/{cluster.name}/legacyAudiences"] = legacy
        for name, state in named.items():
            yield name, state.usable, state.detail

    def inspect(self) -> Inspection:
        """Return each issuer, cluster and introspection endpoint with its keys, as far as the page lists them."""
        keyed: dict[str, JWTVerifier | ClusterVerifier] = {
            **{f"issuer/{name}": verifier for name, verifier in self.issuers.items()},
            **{f"cluster/{name}": verifier for name, verifier in self.clusters.verifiers.items()},
        }
        states = [*self.states()]
        return Inspection(
            verifiers=tuple(
                VerifierDetails(
                    name=name,
                    usable=usable,
                    detail=detail,
                    keys=keyed[name].details() if name in keyed else None,
                )
                for name, usable, detail in states[:MAX_ROWS]
            ),
            more=max(0, len(states) - MAX_ROWS),
        )

    def gauges(self) -> Gauges:
        """Return the current numbers of caches, review budgets, watches and the gate's own credentials."""
        entries: dict[str, float] = {}
        sizes: dict[str, float] = {}
        if self.cache is not None:
            entries["verdict"], sizes["verdict"] = len(self.cache), self.cache.weight
        if self.reviewers is not None:
            entries["access"] = self.reviewers.entries
        watched = {
            (cluster, resource): figure
            for cluster, revocation in self.clusters.revocations.items()
            for resource, figure in revocation.figures().items()
        }
        return Gauges(
            cache_entries=entries,
            cache_bytes=sizes,
            saturation={
                (cluster, budget): part
                for cluster, reviewer in self.clusters.reviewers.items()
                for budget, part in reviewer.saturation().items()
            },
            introspection_saturation={
                (name, budget): part
                for name, server in self.introspection.items()
                for budget, part in server.saturation().items()
            },
            watch_objects={labels: count for labels, (count, _) in watched.items()},
            watch_last_event={labels: at for labels, (_, at) in watched.items()},
            credentials={
                labels: (validity.ends, validity.ends - validity.begins)
                for labels, read in self.credentials.items()
                if (validity := read()) is not None
            },
        )

    def issuer_names(self) -> set[str]:
        """Return the names under which keys are counted in the metrics."""
        return {*self.issuers, *self.clusters.verifiers}

    def documents(self) -> dict[str, bytes]:
        """Return the documents with which others verify the gate's own tokens, by path; empty if it signs none."""
        return signed_documents(self.token_issuer) if self.token_issuer else {}


async def run_forever(loop: Callable[[], Awaitable[None]], metrics: Metrics) -> None:
    """Run a background loop forever; log unexpected errors and restart it."""
    while True:
        try:
            return await loop()
        except Exception as error:  # noqa: BLE001 - the last line of defence: keys must still be refreshed
            metrics.internal_errors += 1
            event(
                logging.ERROR,
                "unexpected error in a background task; it is restarted",
                error_type=type(error).__name__,
                exception_stacktrace=traceback_of(error),
            )
            await asyncio.sleep(_PAUSE_AFTER_ERROR)


async def _probe(cluster: ClusterVerifier, keys: RemoteKeySet) -> None:
    """Probe TokenReview while local keys cannot decide. A gate that is not ready gets no requests, so only a probe can
    show that TokenReview works.

    If legacy tokens are reviewed, a failing TokenReview is also probed until it answers again. Nothing is probed before
    the first fetch of keys has ended: most gates need no review, and the first one loads a large library.
    """
    if not cluster.reviews_always:
        await keys.refresh()  # joins the fetch that `keep_fresh` has just started
    while True:
        if cluster.needs_probe():
            await cluster.probe()
        await asyncio.sleep(_PROBE_INTERVAL)


async def _probe_introspection(server: IntrospectionVerifier) -> None:
    """Probe an introspection endpoint until it answers, so that a gate becomes ready without a request."""
    while True:
        if not server.status().usable:
            await server.probe()
        await asyncio.sleep(_PROBE_INTERVAL)
