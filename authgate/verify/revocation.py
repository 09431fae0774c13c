"""What a watch tells of the objects that tokens are bound to, and what follows for tokens and their verdicts.

An object is known by its uid alone: one that was deleted and made again has another. Absence proves nothing, since a
token may be newer than what the watch has told so far; only a deletion that was seen refuses without a question.
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
"""Seconds after its deletionTimestamp that an object still counts (kubernetes pkg/serviceaccount/claims.go)."""

_MAX_SPENT: Final = 1000
_KINDS: Final[tuple[tuple[str, Resource], ...]] = (
    ("serviceaccount", "serviceaccounts"),
    ("secret", "secrets"),
    ("pod", "pods"),
    ("node", "nodes"),
)


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that a token is bound to; `uid` is "" where the token does not tell it."""

    resource: Resource
    namespace: str | None
    uid: str


@dataclass(frozen=True, slots=True)
class RevocationRules:
    """Bounds: objects and deleted objects that are kept, and for how many seconds.

    `max_stale` is how long what a watch saw still counts after its break was noticed; a deletion is remembered for
    `remember`.
    """

    max_objects: int = 100_000
    max_stale: float = 90.0
    max_deleted: int = 100_000
    remember: float = 86400.0


def bound_objects(members: Mapping[str, JSONValue]) -> tuple[Reference, ...]:
    """Return the objects that the claims of a ServiceAccount token name; () for another token.

    The node of a pod's token does not count, as for the API server (kubernetes pkg/serviceaccount/claims.go).
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
    """Everything that the watches of one cluster saw; it does no I/O and takes a clock."""

    def __init__(self, scopes: Iterable[Scope], clock: Clock, rules: RevocationRules) -> None:
        self._clock = clock
        self._rules = rules
        self._views = {(scope.resource, scope.namespace): View(self, scope) for scope in scopes}
        self._deleted: OrderedDict[str, float] = OrderedDict()  # until when, monotonic
        self._due: list[tuple[float, str]] = []  # wall clock
        self._handles: WeakValueDictionary[str, RevocationHandle] = WeakValueDictionary()
        self._seeing: set[Scope] = set()
        self.size = 0

    @property
    def views(self) -> list[View]:
        """What each watch saw, in the order of their scopes."""
        return list(self._views.values())

    @property
    def rules(self) -> RevocationRules:
        """The bounds."""
        return self._rules

    @property
    def clock(self) -> Clock:
        """The clock that ages are told by."""
        return self._clock

    def gone(self, references: Iterable[Reference]) -> Reference | None:
        """Return the first object that is known to be gone, or was to be gone for more than a minute."""
        doomed = self._clock.now() - GRACE
        for reference in references:
            if reference.uid in self._deleted:
                return reference
            view = self._view(reference)
            deletion = view.objects.get(reference.uid) if view is not None else None
            if deletion is not None and deletion < doomed:
                return reference
        return None

    def vouches(self, references: Iterable[Reference]) -> bool:
        """Tell whether a watch that sees has every one of these objects; false where there is none."""
        found = False
        for reference in references:
            view = self._view(reference)
            if view is None or not view.sees or reference.uid not in view.objects:
                return False
            found = True
        return found

    def handles(self, references: Iterable[Reference]) -> tuple[RevocationHandle, ...]:
        """Return what is revoked when a watch sees one of these objects go."""
        return tuple(
            self._handles.setdefault(reference.uid, RevocationHandle())
            for reference in references
            if reference.uid and self._view(reference) is not None
        )

    def tick(self) -> None:
        """Apply the passing of time; call it once or twice a second.

        Objects are removed when their minute is over, old deletions are forgotten, and when a watch has been broken for
        too long, verdicts that rest on what it saw end with it.
        """
        seeing = {view.scope for view in self._views.values() if view.sees}
        if self._seeing - seeing:
            for handle in list(self._handles.values()):
                handle.revoke()
            self._handles.clear()
        self._seeing = seeing
        doomed = self._clock.now() - GRACE
        while self._due and self._due[0][0] < doomed:
            self._end(heapq.heappop(self._due)[1])
        now = self._clock.monotonic()
        while self._deleted and next(iter(self._deleted.values())) <= now:
            self._deleted.popitem(last=False)

    def mark_deleted(self, uid: str) -> None:
        """Remember that an object is gone for good, and end what rests on it."""
        self._deleted.pop(uid, None)
        self._deleted[uid] = self._clock.monotonic() + self._rules.remember
        if len(self._deleted) > self._rules.max_deleted:
            self._deleted.popitem(last=False)
        self._end(uid)

    def note(self, uid: str, deletion: float | None, before: float | None) -> None:
        """Take that an object is there, perhaps not for long."""
        self._deleted.pop(uid, None)  # as after the restore of a backup
        if deletion is not None and deletion != before:
            heapq.heappush(self._due, (deletion, uid))
            if (
                len(self._due) > 2 * self.size + _MAX_SPENT
            ):  # of objects that went before their minute was over
                self._due = [
                    (end, item)
                    for view in self._views.values()
                    for item, end in view.objects.items()
                    if end is not None
                ]
                heapq.heappush(self._due, (deletion, uid))
                heapq.heapify(self._due)

    def status(self) -> tuple[bool, str]:
        """Tell whether every watch sees, and how far each is behind."""
        views = self._views.values()
        return all(view.sees for view in views), "; ".join(view.describe() for view in views)

    def figures(self) -> dict[str, tuple[int, float]]:
        """Return by resource how many objects are known, and when the watch furthest behind was last told anything."""
        found: dict[str, tuple[int, float]] = {}
        for view in self._views.values():
            count, heard = found.get(view.scope.resource, (0, view.heard_at))
            found[view.scope.resource] = count + len(view.objects), min(heard, view.heard_at)
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
    """What one watch saw (an `authgate.cluster.watch.Observer`): deletion times by uid, and how recent that is."""

    def __init__(self, store: Revocation, scope: Scope) -> None:
        self._store = store
        self.scope = scope
        self.objects: dict[str, float | None] = {}
        self.heard_at = 0.0
        """When the server last said anything, as a POSIX timestamp; 0 for never."""
        self._heard = 0.0
        self._synced = False
        self._broken_at: float | None = None
        """When the break was noticed that no good event has ended yet, on the monotonic clock."""
        self._unsighted = True
        self._problem = ""
        self.on_break: Callable[[str, str], None] = lambda _reason, _detail: None
        self.on_sight: Callable[[], None] = lambda: None

    @property
    def sees(self) -> bool:
        """Whether what was seen is recent enough to go by."""
        if not self._synced:
            return False
        return self._broken_for() <= self._store.rules.max_stale

    def describe(self) -> str:
        """Say what is known, how recent it is, and why it is not more."""
        if not self._synced:
            return f"{self.scope}: blind, {self._problem or 'not listed yet'}"
        what = f"{self.scope}: {len(self.objects)}, heard {self._store.clock.monotonic() - self._heard:.0f} s ago"
        if self._broken_at is None:
            return what
        state = "" if self.sees else "blind, "
        return f"{what}, {state}disconnected for {self._broken_for():.0f} s, {self._problem or 'resuming'}"

    def listed(self, objects: Mapping[str, float | None]) -> bool:
        """Take everything that is there now; what was there before and is no longer was deleted meanwhile."""
        if self._store.size - len(self.objects) + len(objects) > self._store.rules.max_objects:
            self._forget()
            return False
        before = self.objects
        self.objects = dict(objects)
        self._store.size += len(objects) - len(before)
        for uid in before.keys() - objects.keys():
            self._store.mark_deleted(uid)
        for uid, deletion in objects.items():
            self._store.note(uid, deletion, before.get(uid))
        self._synced = True
        self.heard()
        return True

    def seen(self, uid: str, deletion: float | None) -> bool:
        """Take that an object is there; false where there is no room for one more."""
        if uid not in self.objects:
            if self._store.size >= self._store.rules.max_objects:
                self._forget()
                return False
            self._store.size += 1
        self._store.note(uid, deletion, self.objects.get(uid))
        self.objects[uid] = deletion
        return True

    def gone(self, uid: str) -> None:
        """Take that an object was deleted."""
        if uid in self.objects:
            del self.objects[uid]
            self._store.size -= 1
        self._store.mark_deleted(uid)

    def heard(self) -> None:
        """Take that a list, a good event or a bookmark arrived: all that happened before is known."""
        self._heard = self._store.clock.monotonic()
        self.heard_at = self._store.clock.now()
        self._problem = ""
        self._broken_at = None
        if self._unsighted:
            self._unsighted = False
            self.on_sight()

    def broke(self, reason: str, detail: str) -> None:
        """Take that the watch ended and will be resumed; until a good event arrives it is as old as its first end."""
        self._unsighted = True
        if self._broken_at is None:
            self._broken_at = self._store.clock.monotonic()
        if detail:
            self._problem = detail
        self.on_break(reason, detail)

    def _broken_for(self) -> float:
        return 0.0 if self._broken_at is None else self._store.clock.monotonic() - self._broken_at

    def _forget(self) -> None:
        """Give up what is known: with more objects than fit, what is missing could not be told from what is gone."""
        self._store.size -= len(self.objects)
        self.objects = {}
        self._synced = False
