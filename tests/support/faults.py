"""Ways for a server to fail, by path."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from aiohttp import web

from authgate.dev.compact import JsonObject, json_bytes

_FLOOD_CHUNK: Final = b'"' + b"a" * 65_533 + b'",'
_FLOOD_BEGIN: Final = b'{"keys":['


@dataclass(frozen=True, slots=True)
class Delay:
    """Respond correctly after some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Hang until the fault is cleared, then respond correctly."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Respond with this status, body and headers instead."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Flood:
    """Respond 200 with JSON of at least `size` bytes, or (None) endless JSON until the client disconnects."""

    size: int | None = None


@dataclass(frozen=True, slots=True)
class CutOff:
    """Send the head of a response and part of its body, then close the connection."""

    sent: bytes = b'{"keys":['
    promised: int = 10_000


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection without a response."""


Fault: TypeAlias = Delay | Hold | Answer | Flood | CutOff | Drop


def failing(status: int = 500, *, retry_after: int | None = None) -> Answer:
    """Return a plain text response with this status, and Retry-After in seconds if given."""
    headers = {"Content-Type": "text/plain"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Answer(status, b"out of order\n", headers)


def html(status: int = 200) -> Answer:
    """Return an HTML page, like that of a proxy, captive portal or login form."""
    return Answer(status, b"<!doctype html><title>Sign in</title>\n", {"Content-Type": "text/html"})


def json_answer(document: JsonObject, status: int = 200) -> Answer:
    """Return another JSON object than the correct one."""
    return Answer(status, json_bytes(document), {"Content-Type": "application/json"})


def broken_json() -> Answer:
    """Return a 200 of type JSON whose body is not JSON."""
    return Answer(200, b'{"keys": [', {"Content-Type": "application/json"})


def redirect(location: str, status: int = 302) -> Answer:
    """Return a redirect to another URL."""
    return Answer(status, b"", {"Location": location})


@dataclass(slots=True)
class _Active:
    fault: Fault
    left: int | None
    cleared: asyncio.Event = field(default_factory=asyncio.Event)


class Faults:
    """The active faults, at most one per path."""

    def __init__(self) -> None:
        self._active: dict[str, _Active] = {}
        self._held: Counter[str] = Counter()

    def set(self, path: str, fault: Fault, *, times: int | None = None) -> None:
        """Activate a fault for the next `times` requests or until it is cleared; it replaces an earlier one."""
        self.clear(path)
        self._active[path] = _Active(fault, times)

    def clear(self, path: str | None = None) -> None:
        """Clear the fault of a path, or all faults; held requests are answered now."""
        for name in [path] if path is not None else list(self._active):
            active = self._active.pop(name, None)
            if active is not None:
                active.cleared.set()

    def held(self, path: str) -> int:
        """Return how many requests for the path are waiting because of `Hold` or `Delay`."""
        return self._held[path]

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Return the wrong response, or None if the correct one is due, after waiting for `Hold` or `Delay`."""
        active = self._active.get(request.path)
        if active is None or active.left == 0:
            return None
        if active.left is not None:
            active.left -= 1
        match active.fault:
            case Delay(seconds=seconds):
                await self._wait(request.path, active, seconds)
                return None
            case Hold():
                await self._wait(request.path, active, None)
                return None
            case Answer(status=status, body=body, headers=headers):
                return web.Response(status=status, body=body, headers=headers)
            case Flood(size=size):
                return await _flood(request, size)
            case CutOff(sent=sent, promised=promised):
                return await _cut_off(request, sent, promised)
            case Drop():
                return _drop(request)

    async def _wait(self, path: str, active: _Active, seconds: float | None) -> None:
        self._held[path] += 1
        try:
            async with asyncio.timeout(seconds):
                await active.cleared.wait()
        except TimeoutError:
            pass
        finally:
            self._held[path] -= 1


async def _flood(request: web.BaseRequest, size: int | None) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    sent = len(_FLOOD_BEGIN)
    try:
        await response.prepare(request)
        await response.write(_FLOOD_BEGIN)
        while size is None or sent < size:
            await response.write(_FLOOD_CHUNK)
            sent += len(_FLOOD_CHUNK)
            # A write to a failed transport returns immediately; the pause lets the failure be reported.
            await asyncio.sleep(0)
        await response.write(b'""]}')
    except ConnectionError:
        pass  # a flood ends when the client disconnects
    return response


async def _cut_off(request: web.BaseRequest, sent: bytes, promised: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = promised
    await response.prepare(request)
    await response.write(sent)
    if request.transport is not None:
        request.transport.close()
    return response


def _drop(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)  # is never sent
