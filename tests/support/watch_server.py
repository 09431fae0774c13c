"""A server that lists and streams metadata like an API server, and fails on request."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from tests.support.fake_api import FakeAPI, status_object

_GONE = {"kind": "Status", "code": 410, "message": "too old resource version"}


class WatchServer:
    """Pods by uid, their history, and the open watches. `answer` is the handler of a `FakeAPI`.

    `refuse` has error statuses for the next requests. `oldest` is the first version of the history.
    """

    def __init__(self, *uids: str) -> None:
        self.objects: dict[str, str | None] = dict.fromkeys(uids)
        self.version = 1
        self.oldest = 0
        self.refuse: list[int] = []
        self.lists = 0
        self.list_kind = "PartialObjectMetadataList"
        self._history: list[tuple[int, bytes]] = []
        self._streams: dict[web.StreamResponse, web.BaseRequest] = {}
        self._writes: set[asyncio.Task[None]] = set()
        self._moved = asyncio.Event()

    def put(self, uid: str, deletion: str | None = None) -> None:
        """Add or change an object."""
        kind = "MODIFIED" if uid in self.objects else "ADDED"
        self.objects[uid] = deletion
        self._send_event(kind, uid, deletion)

    def delete(self, uid: str) -> None:
        """Delete an object."""
        del self.objects[uid]
        self._send_event("DELETED", uid, None)

    def bookmark(self) -> None:
        """Send the current version to every client."""
        self._send_event("BOOKMARK", "", None)

    def forget(self) -> None:
        """Drop the history. A client that is not connected must list again."""
        self.version += 1
        self.oldest = self.version
        self._history.clear()

    def settle(self) -> None:
        """Drop history that every client has received."""
        self._history.clear()

    def say(self, data: bytes) -> None:
        """Send these bytes to every open watch, without adding them to the history."""
        for stream in self._streams:
            self._writes.add(asyncio.create_task(stream.write(data)))

    def hang_up(self) -> None:
        """Close the connection of every watch."""
        for request in self._streams.values():
            if request.transport is not None:
                request.transport.abort()
        self._streams.clear()

    @property
    def followers(self) -> int:
        """The number of open watches."""
        return sum(request.transport is not None for request in self._streams.values())

    def api(self) -> FakeAPI:
        """Return the server, for use with `async with`."""
        return FakeAPI(self.answer)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the response to a list or a watch."""
        if self.refuse:
            status = self.refuse.pop(0)
            return web.json_response({**status_object("not now"), "code": status}, status=status)
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.raw_path).query).items()}
        return await self._follow(request, query) if "watch" in query else self._list(query)

    def _list(self, query: dict[str, str]) -> web.Response:
        self.lists += 1
        start, size = int(query.get("continue", "0")), int(query["limit"])
        uids = list(self.objects)
        metadata: dict[str, Any] = {"resourceVersion": str(self.version)}
        if start + size < len(uids):
            metadata["continue"] = str(start + size)
        items = [{"metadata": _metadata(uid, self.objects[uid], 1)} for uid in uids[start : start + size]]
        return web.json_response({"kind": self.list_kind, "metadata": metadata, "items": items})

    async def _follow(self, request: web.BaseRequest, query: dict[str, str]) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        told = int(query["resourceVersion"])
        if told < self.oldest:
            await stream.write(json.dumps({"type": "ERROR", "object": _GONE}).encode() + b"\n")
            return stream
        self._streams[stream] = request
        try:
            while True:
                self._moved.clear()
                news = b"".join(line for version, line in self._history if version > told)
                told = self.version
                if news:
                    await stream.write(news)
                await self._moved.wait()
        except ConnectionError:
            return stream
        finally:
            self._streams.pop(stream, None)

    def _send_event(self, kind: str, uid: str, deletion: str | None) -> None:
        self.version += 1
        event = {
            "type": kind,
            "object": {"kind": "PartialObjectMetadata", "metadata": _metadata(uid, deletion, self.version)},
        }
        self._history.append((self.version, json.dumps(event).encode() + b"\n"))
        self._moved.set()


def _metadata(uid: str, deletion: str | None, version: int) -> dict[str, str]:
    own = {"name": f"pod-{uid}", "uid": uid, "resourceVersion": str(version)}
    return own if deletion is None else {**own, "deletionTimestamp": deletion}
