"""Ways for a server to fail, switched on by path."""

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
    """Answers rightly, after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Does not answer while the fault stands, and rightly once it is cleared: a server that hangs."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answers with this status, body and headers instead."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Flood:
    """Answers 200 with JSON that goes on for at least so many bytes, or (None) until the client is gone."""

    size: int | None = None


@dataclass(frozen=True, slots=True)
class CutOff:
    """Sends the head of an answer and a part of its body, then closes the connection."""

    sent: bytes = b'{"keys":['
    promised: int = 10_000


@dataclass(frozen=True, slots=True)
class Drop:
    """Closes the connection without an answer."""


Fault: TypeAlias = Delay | Hold | Answer | Flood | CutOff | Drop


def failing(status: int = 500, *, retry_after: int | None = None) -> Answer:
    """An answer of this status in plain text, with Retry-After in seconds if given."""
    headers = {"Content-Type": "text/plain"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Answer(status, b"out of order\n", headers)


def html(status: int = 200) -> Answer:
    """The page of a proxy, a captive portal or a login form that stands in the way."""
    return Answer(status, b"<!doctype html><title>Sign in</title>\n", {"Content-Type": "text/html"})


def json_answer(document: JsonObject, status: int = 200) -> Answer:
    """Another JSON object than the right one."""
    return Answer(status, json_bytes(document), {"Content-Type": "application/json"})


def broken_json() -> Answer:
    """A 200 of type JSON whose body is none."""
    return Answer(200, b'{"keys": [', {"Content-Type": "application/json"})


def redirect(location: str, status: int = 302) -> Answer:
    """A redirect to another URL."""
    return Answer(status, b"", {"Location": location})


@dataclass(slots=True)
class _Standing:
    fault: Fault
    left: int | None
    cleared: asyncio.Event = field(default_factory=asyncio.Event)


class Faults:
    """The faults that stand now, at most one a path."""

    def __init__(self) -> None:
        self._standing: dict[str, _Standing] = {}
        self._held: Counter[str] = Counter()

    def set(self, path: str, fault: Fault, *, times: int | None = None) -> None:
        """Switches a fault on, for the next so many requests or until it is cleared, in place of an earlier one."""
        self.clear(path)
        self._standing[path] = _Standing(fault, times)

    def clear(self, path: str | None = None) -> None:
        """Switches the fault of the path off, or all of them; requests that were held are answered now."""
        for name in [path] if path is not None else list(self._standing):
            standing = self._standing.pop(name, None)
            if standing is not None:
                standing.cleared.set()

    def held(self, path: str) -> int:
        """How many requests for the path are waiting now, by `Hold` or `Delay`."""
        return self._held[path]

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """The wrong answer, or None where the right one is to be given (now, or after the wait that this was)."""
        standing = self._standing.get(request.path)
        if standing is None or standing.left == 0:
            return None
        if standing.left is not None:
            standing.left -= 1
        match standing.fault:
            case Delay(seconds=seconds):
                await self._wait(request.path, standing, seconds)
                return None
            case Hold():
                await self._wait(request.path, standing, None)
                return None
            case Answer(status=status, body=body, headers=headers):
                return web.Response(status=status, body=body, headers=headers)
            case Flood(size=size):
                return await _flood(request, size)
            case CutOff(sent=sent, promised=promised):
                return await _cut_off(request, sent, promised)
            case Drop():
                return _drop(request)

    async def _wait(self, path: str, standing: _Standing, seconds: float | None) -> None:
        self._held[path] += 1
        try:
            async with asyncio.timeout(seconds):
                await standing.cleared.wait()
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
            # A write to a transport that has failed returns at once; without a pause nobody would hear of the failure.
            await asyncio.sleep(0)
        await response.write(b'""]}')
    except ConnectionError:
        pass  # the client has had enough, which is what a flood is for
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
    return web.Response(status=503)  # goes nowhere
