"""A watch on the metadata of one kind of object: list, follow, and resume after every interruption.

Lists are consistent reads in pages, never `resourceVersion=0`: a page from a lagging cache could lack an object that
was seen before, and it would be taken for deleted. The rest follows kubernetes
staging/src/k8s.io/client-go/tools/cache/reflector.go.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol
from urllib.parse import urlencode

from authgate.backoff import backoff, jittered
from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.cluster.failures import Call
from authgate.cluster.watch_events import (
    LIST_ACCEPT,
    WATCH_ACCEPT,
    Bookmark,
    Deleted,
    Event,
    Present,
    ServerError,
    parse_event,
    parse_page,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from contextlib import AbstractAsyncContextManager

Resource = Literal["serviceaccounts", "pods", "nodes", "secrets"]
"""The kinds of object that a ServiceAccount token can be bound to."""

_EXPIRED: Final = 410


@dataclass(frozen=True, slots=True)
class Scope:
    """The objects of one watch: a resource, in one namespace or (None) in the whole cluster."""

    resource: Resource
    namespace: str | None = None

    @property
    def path(self) -> str:
        """The path at which the API server lists them."""
        prefix = "" if self.namespace is None else f"/namespaces/{self.namespace}"
        return f"/api/v1{prefix}/{self.resource}"

    def __str__(self) -> str:
        return self.resource if self.namespace is None else f"{self.resource} in {self.namespace}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRules:
    """Bounds of a watch: bytes, seconds, objects.

    A server sends a bookmark every minute if nothing else happens and its etcd reports progress. A connection that is
    silent for longer than `silence` may be dead, so everything is listed again. `confirm` is the same bound for a
    connection that was opened to resume a watch and has sent nothing yet. One request follows for a random time between
    half of `lifetime` and `lifetime`.
    """

    page_size: int = 200
    max_page_bytes: int = 32 << 20
    max_line_bytes: int = 4 << 20
    max_objects: int = 100_000
    silence: float = 75.0
    confirm: float = 67.5
    lifetime: int = 600
    first_pause: float = 0.25
    longest_pause: float = 10.0
    longest_full: float = 30.0


class Chunks(Protocol):
    """A body as it arrives."""

    async def readany(self) -> bytes:
        """Return the bytes received so far, waiting for at least one; b"" at the end."""
        ...


class WatchAPI(Protocol):
    """The part of a cluster's API that a watch uses; both raise `ApiError`, and `ExpiredError` for a 410."""

    async def read(self, call: Call, path: str, accept: str, limit: int) -> bytes:
        """Return the body of a 200 answer to GET `path`, at most `limit` bytes."""
        ...

    def follow(self, call: Call, path: str, accept: str) -> AbstractAsyncContextManager[Chunks]:
        """Open GET `path` and yield its body as it arrives; raises `ApiError`, also if the body breaks off."""
        ...


class Observer(Protocol):
    """Receives the events of a watch; `replace_all` and `upsert` return False if it has no room for the objects."""

    def replace_all(self, objects: Mapping[str, float | None]) -> bool:
        """Replace everything by these objects: `deletionTimestamp` in POSIX seconds, or None, by uid."""
        ...

    def upsert(self, uid: str, deletion: float | None) -> bool:
        """Record that an object exists; `deletion` is its `deletionTimestamp` in POSIX seconds, or None."""
        ...

    def delete(self, uid: str) -> None:
        """Record that an object was deleted."""
        ...

    def mark_current(self) -> None:
        """Record that an event or bookmark arrived: everything that happened before it is known."""
        ...

    def mark_interrupted(self, reason: str, detail: str) -> None:
        """Record that the watch was interrupted and will be resumed; `detail` is "" if that is usual."""
        ...


class ExpiredError(Exception):
    """The version or the list to continue from is too old for the server (410): a new list is needed."""


class _SilentError(Exception):
    """Nothing arrived for so long that the connection may be dead."""


class _FullError(Exception):
    """There are more objects than may be kept."""


class Watcher:
    """Reports the objects of one scope to an observer until `run` is cancelled."""

    def __init__(self, api: WatchAPI, scope: Scope, observer: Observer, rules: WatchRules) -> None:
        self._api = api
        self._scope = scope
        self._observer = observer
        self._rules = rules
        self._role = f"with the verbs list and watch on {scope.resource}"
        self._version: str | None = None
        self._failures = 0
        self._confirmed = False
        """Whether this connection has sent an event, or follows a list of its own."""
        self._only_listed = False
        """Whether no event has followed that list."""

    async def run(self) -> None:
        """List and follow forever; report every interruption to the observer and resume after a growing pause."""
        while True:
            reason, detail = await self._follow_once()
            self._observer.mark_interrupted(reason, detail)
            await asyncio.sleep(self._pause(reason))

    async def _follow_once(self) -> tuple[str, str]:
        self._confirmed = self._only_listed = False
        try:
            if self._version is None:
                self._version = await self._list()
                self._confirmed = self._only_listed = True
            await self._follow(self._version)
        except ExpiredError:
            self._version = None
            # List again at once, unless the server refused the version of a list that it has just sent.
            self._failures = self._failures + 1 if self._only_listed else 0
            return "expired", ""
        except _SilentError:
            self._version = None  # a list shows whether the server still answers, and what happened meanwhile
            return "silent", ""
        except _FullError:
            self._version = None
            self._failures += 1
            most = self._rules.max_objects
            return "too_many", f"more than {most} objects: set cluster.watch.namespaces, or raise maxObjects"
        except ApiError as error:
            self._failures += 1
            if error.kind is ApiErrorKind.BAD_ANSWER:
                self._version = None  # the same event would come again, and may be a deletion
            return error.kind.value, str(error)
        self._failures += 1  # an event resets it: a server that ends every watch at once gets a pause
        return "ended", ""

    def _pause(self, reason: str) -> float:
        rules = self._rules
        if reason == "too_many":
            most = rules.longest_full
        elif not self._failures:
            return 0.0
        else:
            most = backoff(self._failures, rules.first_pause, rules.longest_pause)
        return jittered(most, 0.5)

    async def _list(self) -> str:
        found: dict[str, float | None] = {}
        token = ""
        while True:
            query = {"limit": self._rules.page_size, **({"continue": token} if token else {})}
            path = f"{self._scope.path}?{urlencode(query)}"
            call = Call(f"list {self._scope}", self._role)
            page = parse_page(await self._api.read(call, path, LIST_ACCEPT, self._rules.max_page_bytes))
            found.update(page.objects)
            if len(found) > self._rules.max_objects:
                raise _FullError
            if not page.next_token:
                break
            token = page.next_token
            await asyncio.sleep(0)
        if not self._observer.replace_all(found):
            raise _FullError
        return page.version

    async def _follow(self, version: str) -> None:
        seconds = random.randint(self._rules.lifetime // 2, self._rules.lifetime)  # noqa: S311 - it is no secret
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": seconds,
        }
        path = f"{self._scope.path}?{urlencode(query)}"
        call = Call(f"watch {self._scope}", self._role)
        async with self._api.follow(call, path, WATCH_ACCEPT) as body, aclosing(self._lines(body)) as lines:
            async for line in lines:
                self._take(parse_event(line))

    def _take(self, event: Event) -> None:
        match event:
            case ServerError(code, detail):
                if code == _EXPIRED:
                    raise ExpiredError
                raise ApiError(ApiErrorKind.SERVER_ERROR, f"watch {self._scope}: ended with {code}: {detail}")
            case Present(uid, deletion):
                if not self._observer.upsert(uid, deletion):
                    raise _FullError
            case Deleted(uid):
                self._observer.delete(uid)
            case Bookmark():
                pass
        self._failures = 0
        self._confirmed, self._only_listed = True, False
        self._version = event.version
        self._observer.mark_current()

    async def _lines(self, body: Chunks) -> AsyncGenerator[bytes, None]:
        buffer = bytearray()
        while True:
            try:
                async with asyncio.timeout(self._rules.silence if self._confirmed else self._rules.confirm):
                    chunk = await body.readany()
            except TimeoutError:
                chunk = None
            if chunk is None:
                raise _SilentError
            if not chunk:
                if buffer:
                    raise ApiError(ApiErrorKind.UNREACHABLE, f"watch {self._scope}: ended within a line")
                return
            searched = len(buffer)
            buffer += chunk
            while (end := buffer.find(b"\n", searched)) >= 0:
                line = bytes(buffer[:end])
                del buffer[: end + 1]
                searched = 0
                if line.strip():
                    yield line
            if len(buffer) > self._rules.max_line_bytes:
                raise ApiError(ApiErrorKind.BAD_ANSWER, f"watch {self._scope}: a line is too long")
