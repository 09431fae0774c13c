"""Compose `cluster.revocation: watch`: the store of watched objects, and the loops that watch them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from authgate.cluster.api import ApiErrorKind
from authgate.cluster.metadata import MetadataReader
from authgate.cluster.watch import Resource, Scope, Watcher, WatchRules
from authgate.observability.log import Transitions, event
from authgate.verify.revocation import Revocation, RevocationRules

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from authgate.cluster.client import ClusterClient
    from authgate.compose.dependencies import Dependencies
    from authgate.config import ClusterConfig
    from authgate.observability.metrics import Metrics
    from authgate.verify.revocation import View

_TICK = 0.5


def revocation_of(
    item: ClusterConfig,
    api: ClusterClient,
    deps: Dependencies,
    background: list[Callable[[], Awaitable[None]]],
) -> Revocation | None:
    """Return the store of a cluster's watches, or None without watches; their loops are added to `background`."""
    if item.revocation != "watch":
        return None
    rules = RevocationRules(max_objects=item.watch.max_objects, max_stale=item.watch.max_stale)
    revocation = Revocation(scopes(item), deps.clock, rules)
    # A resumed watch is confirmed or dropped before its last event is older than maxStale. A bookmark takes up to 62 s.
    confirm = min(WatchRules().confirm, 0.75 * item.watch.max_stale)
    watch_rules = WatchRules(max_objects=item.watch.max_objects, confirm=confirm)
    reader = MetadataReader(api)
    for view in revocation.views:
        _record(view, item.name, deps.metrics)
        background.append(Watcher(reader, view.scope, view, watch_rules).run)
    background.append(lambda: _tick_forever(revocation))

    return revocation


def scopes(item: ClusterConfig) -> Iterator[Scope]:
    """Yield the scopes to watch."""
    resources: tuple[Resource, ...] = ("serviceaccounts", "pods")
    if item.watch.secrets:
        resources = (*resources, "secrets")
    for resource in resources:
        for namespace in item.watch.namespaces or (None,):
            yield Scope(resource, namespace)
    if not item.watch.namespaces:
        yield Scope("nodes")


def _record(view: View, cluster: str, metrics: Metrics) -> None:
    """Count the interruptions of a watch, and log the unusual ones."""
    transitions = Transitions()
    reasons = ("ended", "silent", "expired", "too_many", *ApiErrorKind)
    metrics.watch_restarts.start(*((cluster, view.scope.resource, reason) for reason in reasons))

    def on_interrupted(reason: str, detail: str) -> None:
        metrics.watch_restarts[cluster, view.scope.resource, reason] += 1
        if detail and transitions.changed("", detail):
            event(
                logging.WARNING,
                "a watch was interrupted; it is resumed",
                cluster=cluster,
                watched=str(view.scope),
                error_message=detail,
            )

    def on_resumed() -> None:
        if transitions.changed("", None):
            event(
                logging.INFO, "watching", cluster=cluster, watched=str(view.scope), objects=len(view.objects)
            )

    view.on_interrupted, view.on_resumed = on_interrupted, on_resumed


async def _tick_forever(revocation: Revocation) -> None:
    while True:
        revocation.tick()
        await asyncio.sleep(_TICK)
