"""The objects that tokens are bound to, as watches report them, and the verdicts that end with them.

Objects are identified by uid: an object that is deleted and created again gets another. A missing object proves
nothing, because a token can be newer than the data of the watch. Only an observed deletion rejects a token.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from authgate.model import RevocationHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from authgate.cluster.watch import Resource, Scope
    from authgate.model import Clock, JSONValue

GRACE: Final = 60.0
"""Seconds after its deletionTimestamp until an object counts as deleted (kubernetes pkg/serviceaccount/claims.go)."""

_MAX_SPENT: Final = 1000
_KINDS: Final[tuple[tuple[str, Resource], ...]] = (
    ("serviceaccount", "serviceaccounts"),
    ("secret", "secrets"),
    ("pod", "pods"),
    ("node", "nodes"),
)


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that a token is bound to; `uid` is "" if the token does not contain it."""

    resource: Resource
    namespace: str | None
    uid: str


@dataclass(frozen=True, slots=True)
class RevocationRules:
    """Limits, with times in seconds.

    `max_stale` is how long the data of an interrupted watch is used. Deletions are kept for `remember`.
    """

    max_objects: int = 100_000
    max_stale: float = 90.0
    max_deleted: int = 100_000
    remember: float = 86400.0


def bound_objects(members: Mapping[str, JSONValue]) -> tuple[Reference, ...]:
    """Return the objects in the claims of a ServiceAccount token; () for other tokens.

    The node of a pod's token is ignored, as in the API server (kubernetes pkg/serviceaccount/claims.go).
    """
    private = members.get("kubernetes.io")
    if not isinstance(private, dict):
        return ()
    namespace = private.get("namespace")
    found = []
    for kind, resource in _KINDS:
        reference = private.get(kind)
        if reference is None or (kind == "node" and private.get("pod") is not None):
            continue
        uid = reference.get("uid") if isinstance(reference, dict) else None
        where = namespace if isinstance(namespace, str) and kind != "node" else None
        found.append(Reference(resource, where, uid if isinstance(uid, str) else ""))
    return tuple(found)


class Revocation:
    """The data of all watches of one cluster. It does no I/O."""

    def __init__(self, scopes: Iterable[Scope], clock: Clock, rules: RevocationRules) -> None:
        self._clock = clock
        self._rules = rules
        self._views = {(scope.resource, scope.namespace): View(self, scope) for scope in scopes}
        self._deleted: OrderedDict[str, float] = OrderedDict()  # until when, monotonic
        self._due: list[tuple[float, str]] = []  # wall clock
        self._handles: WeakValueDictionary[str, RevocationHandle] = WeakValueDictionary()
        self._current: set[Scope] = set()
        self.size = 0

    @property
    def views(self) -> list[View]:
        """The data of each watch, in the order of the scopes."""
        return list(self._views.values())

    @property
    def rules(self) -> RevocationRules:
        """The limits."""
        return self._rules

    @property
    def clock(self) -> Clock:
        """The clock for ages."""
        return self._clock

    def deleted(self, references: Iterable[Reference]) -> Reference | None:
        """Return the first object that was deleted, or whose deletion is overdue by more than `GRACE`."""
        doomed = self._clock.now() - GRACE
        for reference in references:
            if reference.uid in self._deleted:
                return reference
            view = self._view(reference)
            deletion = view.objects.get(reference.uid) if view is not None else None
            if deletion is not None and deletion < doomed:
                return reference
        return None

    def confirms(self, references: Iterable[Reference]) -> bool:
        """Return whether watches that are not blind have all of these objects; False without any object."""
        found = False
        for reference in references:
            view = self._view(reference)
            if view is None or view.blind or reference.uid not in view.objects:
                return False
            found = True
        return found

    def handles(self, references: Iterable[Reference]) -> tuple[RevocationHandle, ...]:
        """Return the handles that are revoked when one of these objects is deleted."""
        return tuple(
            self._handles.setdefault(reference.uid, RevocationHandle())
            for reference in references
            if reference.uid and self._view(reference) is not None
        )

    def tick(self) -> None:
        """Apply the passing of time; call it once or twice a second.

        It removes objects whose deletion is overdue and old deletions. If a watch has become blind, it revokes all
        handles.
        """
        current = {view.scope for view in self._views.values() if not view.blind}
        if self._current - current:
            for handle in list(self._handles.values()):
                handle.revoke()
            self._handles.clear()
        self._current = current
        doomed = self._clock.now() - GRACE
        while self._due and self._due[0][0] < doomed:
            self._end(heapq.heappop(self._due)[1])
        now = self._clock.monotonic()
        while self._deleted and next(iter(self._deleted.values())) <= now:
            self._deleted.popitem(last=False)

    def mark_deleted(self, uid: str) -> None:
        """Record that an object was deleted, and revoke its handle."""
        self._deleted.pop(uid, None)
        self._deleted[uid] = self._clock.monotonic() + self._rules.remember
        if len(self._deleted) > self._rules.max_deleted:
            self._deleted.popitem(last=False)
        self._end(uid)

    def upsert(self, uid: str, deletion: float | None, before: float | None) -> None:
        """Record that an object exists, with its deletionTimestamp now and before."""
        self._deleted.pop(uid, None)  # it can exist again after the restore of a backup
        if deletion is not None and deletion != before:
            heapq.heappush(self._due, (deletion, uid))
            if len(self._due) > 2 * self.size + _MAX_SPENT:  # most entries are of deleted objects
                self._due = [
                    (end, item)
                    for view in self._views.values()
                    for item, end in view.objects.items()
                    if end is not None
                ]
                heapq.heappush(self._due, (deletion, uid))
                heapq.heapify(self._due)

    def status(self) -> tuple[bool, str]:
        """Return whether no watch is blind, and the state of each."""
        views = self._views.values()
        return not any(view.blind for view in views), "; ".join(view.describe() for view in views)

    def figures(self) -> dict[str, tuple[int, float]]:
        """Return by resource the number of objects, and the last event of the watch that is furthest behind."""
        found: dict[str, tuple[int, float]] = {}
        for view in self._views.values():
            count, oldest = found.get(view.scope.resource, (0, view.last_event))
            found[view.scope.resource] = count + len(view.objects), min(oldest, view.last_event)
        return found

    def _view(self, reference: Reference) -> View | None:
        return self._views.get((reference.resource, None)) or self._views.get(
            (reference.resource, reference.namespace)
        )

    def _end(self, uid: str) -> None:
        handle = self._handles.pop(uid, None)
        if handle is not None:
            handle.revoke()


class View:
    """The data of one watch, as its `Observer`: the deletionTimestamp or None of each object, by uid."""

    def __init__(self, store: Revocation, scope: Scope) -> None:
        self._store = store
        self.scope = scope
        self.objects: dict[str, float | None] = {}
        self.last_event = 0.0
        """When the server last sent anything, as a POSIX timestamp; 0 for never."""
        self._last_event = 0.0  # monotonic
        self._synced = False
        self._interrupted_at: float | None = None
        """When the watch was interrupted (monotonic), if no event has arrived since."""
        self._resuming = True
        self._problem = ""
        self.on_interrupted: Callable[[str, str], None] = lambda _reason, _detail: None
        self.on_resumed: Callable[[], None] = lambda: None

    @property
    def blind(self) -> bool:
        """Whether the data is missing or too old to use."""
        return not self._synced or self._interrupted_for() > self._store.rules.max_stale

    def describe(self) -> str:
        """Return the number of objects, their age, and the last problem, for /readyz."""
        if not self._synced:
            return f"{self.scope}: blind, {self._problem or 'not listed yet'}"
        age = self._store.clock.monotonic() - self._last_event
        known = f"{self.scope}: {len(self.objects)}, last event {age:.0f} s ago"
        if self._interrupted_at is None:
            return known
        state = "blind, " if self.blind else ""
        return (
            f"{known}, {state}disconnected for {self._interrupted_for():.0f} s, {self._problem or 'resuming'}"
        )

    def replace_all(self, objects: Mapping[str, float | None]) -> bool:
        """Replace all objects; those that are no longer listed were deleted."""
        if self._store.size - len(self.objects) + len(objects) > self._store.rules.max_objects:
            self._forget()
            return False
        before = self.objects
        self.objects = dict(objects)
        self._store.size += len(objects) - len(before)
        for uid in before.keys() - objects.keys():
            self._store.mark_deleted(uid)
        for uid, deletion in objects.items():
            self._store.upsert(uid, deletion, before.get(uid))
        self._synced = True
        self.mark_current()
        return True

    def upsert(self, uid: str, deletion: float | None) -> bool:
        """Record that an object exists; return False if there are too many."""
        if uid not in self.objects:
            if self._store.size >= self._store.rules.max_objects:
                self._forget()
                return False
            self._store.size += 1
        self._store.upsert(uid, deletion, self.objects.get(uid))
        self.objects[uid] = deletion
        return True

    def delete(self, uid: str) -> None:
        """Record that an object was deleted."""
        if uid in self.objects:
            del self.objects[uid]
            self._store.size -= 1
        self._store.mark_deleted(uid)

    def mark_current(self) -> None:
        """Record that a list, an event or a bookmark arrived: everything that happened before it is known."""
        self._last_event = self._store.clock.monotonic()
        self.last_event = self._store.clock.now()
        self._problem = ""
        self._interrupted_at = None
        if self._resuming:
            self._resuming = False
            self.on_resumed()

    def mark_interrupted(self, reason: str, detail: str) -> None:
        """Record that the watch was interrupted. Its data ages from the first interruption until an event arrives."""
        self._resuming = True
        if self._interrupted_at is None:
            self._interrupted_at = self._store.clock.monotonic()
        if detail:
            self._problem = detail
        self.on_interrupted(reason, detail)

    def _interrupted_for(self) -> float:
        if self._interrupted_at is None:
            return 0.0
        return self._store.clock.monotonic() - self._interrupted_at

    def _forget(self) -> None:
        """Drop the data: with too many objects, a missing object could not be distinguished from a deleted one."""
        self._store.size -= len(self.objects)
        self.objects = {}
        self._synced = False
