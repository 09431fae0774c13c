"""The fast lane: a request that stands complete and alone in an idle connection's buffer is answered at once.

It reads only what can mean one thing: HTTP/1.1, one complete head without a body, field lines whose bytes every parser
reads alike. Whatever else comes it does not touch, and aiohttp reads it as if the lane were not there. What it does
read goes through the same gate and the same records.
"""

from __future__ import annotations

import re
from dataclasses import replace
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from authgate.model import Allow, Deny, Pending, RenderedAnswer
from authgate.policy.conditions import NO_REQUEST
from authgate.server.http.request import (
    FORWARDED_HEADERS,
    NO_FORWARDED_HEADERS,
    endpoint_of,
    forwarded_request,
)
from authgate.server.http.response import TAIL, head_of
from authgate.timestamps import utc

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.errors import Reason
    from authgate.model import Clock, Decision, OriginalRequest
    from authgate.observability.metrics import AnswerCell
    from authgate.server.http.request import Endpoint
    from authgate.server.record import Recorder
    from authgate.server.serving import Serving
    from authgate.vocabulary import Proxy

_REQUEST_LINE = re.compile(
    rb"(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) (/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*) HTTP/1\.1"
)
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PRINTABLE = b"\t" + bytes(range(0x20, 0x7F))  # what a field may hold

# What a field means to the lane: nothing, "leave it to aiohttp", what its value decides, or (positive, a bit of its
# own) that it may stand once.
_PLAIN, _FOREIGN, _CREDENTIAL, _CONTENT_LENGTH, _CONNECTION = 0, -1, -2, -3, -4
_ONCE: Final = {
    name: 1 << number
    for number, name in enumerate(
        (
            b"host",
            b"content-length",
            b"content-location",
            b"content-range",
            b"content-type",
            b"etag",
            b"max-forwards",
            b"server",
            b"user-agent",
            b"connection",
        )
    )
}
_HOST: Final = _ONCE[b"host"]
_TOLD_METHOD, _TOLD_URI, _TOLD_HOST = 1 << 20, 1 << 21, 1 << 22
_FOREIGN_NAMES: Final = frozenset(
    {
        b"access-control-request-method",  # a browser's question, and seldom
        b"content-encoding",
        b"expect",
        b"http2-settings",
        b"keep-alive",
        b"proxy-connection",
        b"sec-websocket-key1",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Fields whose lines repeat from request to request and hold no secret: their meaning is remembered by their bytes.
_REPEATING: Final = frozenset(
    name
    for title in (
        b"Accept",
        b"Accept-Encoding",
        b"Accept-Language",
        b"Content-Type",
        b"Host",
        b"User-Agent",
        b"Via",
        b"X-Forwarded-Host",
        b"X-Forwarded-Method",
        b"X-Forwarded-Port",
        b"X-Forwarded-Proto",
        b"X-Original-Host",
        b"X-Original-Method",
    )
    for name in (title, title.lower())
)
_MAX_REMEMBERED = 4096
_MAX_REMEMBERED_BYTES = 256


class CountedAnswer(RenderedAnswer):
    """An answer that only has to be counted: its bytes up to `TAIL`, and its counter.

    It does not keep the decision: the identity headers are most of a cached verdict's memory, and the bytes hold them.
    """

    __slots__ = ("cell", "head")

    def __init__(self, reason: Reason, head: bytes, cell: AnswerCell) -> None:
        super().__init__(reason)
        self.head = head
        self.cell = cell


class AuditedAnswer(RenderedAnswer):
    """An answer that the audit log records: its bytes up to `TAIL`, and the decision without headers."""

    __slots__ = ("decision", "head")

    def __init__(self, head: bytes, decision: Allow | Deny) -> None:
        super().__init__(decision.reason)
        self.head = head
        self.decision = replace(decision, headers=()) if isinstance(decision, Allow) else decision


class FastLane:
    """Answers what it can from one chunk of bytes, or returns None and has touched nothing."""

    def __init__(
        self,
        serving: Callable[[], Serving],
        recorder: Recorder,
        clock: Clock,
        *,
        max_header_bytes: int,
        max_headers: int,
    ) -> None:
        self._serving = serving
        self._recorder = recorder
        self._monotonic = clock.monotonic
        self._now = clock.now
        self._max_header_bytes = max_header_bytes
        self._max_lines = max_headers + 3  # the request line, and two empty pieces after the last line's end
        self._targets: dict[bytes, tuple[str, Endpoint]] = {}
        self._second = -1
        self._tail = b""
        self._refusals: dict[tuple[Reason, str], bytes] = {}
        self._use_proxy(serving().proxy)

    def _use_proxy(self, proxy: Proxy | None) -> None:
        """Learn by which fields a proxy tells of the client's request: each may stand once, as `Host` must anyhow."""
        told = NO_FORWARDED_HEADERS if proxy is None else FORWARDED_HEADERS[proxy]
        roles = {told.method: _TOLD_METHOD, told.uri: _TOLD_URI, told.host: _TOLD_HOST}
        self._proxy = proxy
        self._once = {name: bit for name, bit in roles.items() if name is not None} | _ONCE
        self._host_told = self._once.get(told.host or b"", _TOLD_HOST)
        self._telling = _TOLD_METHOD | _TOLD_URI | self._host_told
        self._meanings: dict[bytes, int] = {}
        self._names: dict[bytes, int] = {}

    def answer(self, data: bytes) -> bytes | None:
        """Return the answer to a chunk that is exactly one plain request, or None for anything else.

        A decision that memory alone cannot give is left to aiohttp, too: what was looked up for it has no effect.
        """
        try:
            return self._answer(data)
        except Exception:  # noqa: BLE001 - the general way meets it again, and there it becomes a 503 with a log line
            return None

    def _answer(self, data: bytes) -> bytes | None:
        started = self._monotonic()
        serving = self._serving()
        if serving.sources:
            return None
        if serving.proxy != self._proxy:
            self._use_proxy(serving.proxy)
        request = self._read(data)
        if request is None:
            return None
        method, endpoint, values, told = request
        gate, policy = serving.gate, endpoint.policy
        if policy not in gate.policies:
            return None
        original = NO_REQUEST
        if gate.looks_at_request(policy):
            original = self._original(method, endpoint, told)
        digest = b""
        if gate.cache is not None and len(values) == 1 and values[0][:7] == b"Bearer ":
            digest = gate.cache.digest(values[0][7:])
            answer = gate.lookup_cached(digest, policy, original, self._render)
            if answer is not None:
                return self._send_again(answer, policy, started)
        if gate.reviews_access(policy):
            return None
        for value in values:  # a remembered one needs no such look
            if value.translate(None, _PRINTABLE):
                return None
        decision = gate.try_decide(values, policy, original, digest)
        if isinstance(decision, Pending):
            return None
        self._recorder.record(decision, policy, self._monotonic() - started)
        return self._head_of(decision) + self._tail_now()

    def _head_of(self, decision: Decision) -> bytes:
        """Return an answer's head; those of refusals with the same reason and detail are alike, and are kept."""
        if not isinstance(decision, Deny):
            return head_of(decision)
        key = decision.reason, decision.detail
        head = self._refusals.get(key)
        if head is None:
            head = head_of(decision)
            if len(self._refusals) >= _MAX_REMEMBERED:
                self._refusals.clear()  # a flood of details of their own; what is common is soon there again
            if len(decision.detail) <= _MAX_REMEMBERED_BYTES:
                self._refusals[key] = head
        return head

    def _original(self, method: str, endpoint: Endpoint, told: dict[int, bytes]) -> OriginalRequest:
        values = {role: line.partition(b":")[2].strip(b" \t") for role, line in told.items()}
        return forwarded_request(
            self._proxy,
            method,
            endpoint,
            original_method=values.get(_TOLD_METHOD),
            uri=values.get(_TOLD_URI),
            host=values.get(self._host_told),
        )

    def _render(self, decision: Allow | Deny, policy: str) -> CountedAnswer | AuditedAnswer:
        head = self._head_of(decision)
        cell = self._recorder.cell_of(decision, policy)
        return AuditedAnswer(head, decision) if cell is None else CountedAnswer(decision.reason, head, cell)

    def _send_again(self, answer: RenderedAnswer, policy: str, started: float) -> bytes:
        if isinstance(answer, CountedAnswer):
            answer.cell.add(self._monotonic() - started)
        elif isinstance(answer, AuditedAnswer):
            self._recorder.record(answer.decision, policy, self._monotonic() - started)
        else:
            raise TypeError("another server's answer")
        return answer.head + self._tail_now()

    def _read(self, data: bytes) -> tuple[str, Endpoint, list[bytes], dict[int, bytes]] | None:
        """Return method, endpoint, credentials and the lines that tell of the client's request, or None.

        None is where the bytes are anything else than a plain request.
        """
        if len(data) > self._max_header_bytes or data[-4:] != b"\r\n\r\n":
            return None
        lines = data.split(b"\r\n")
        if len(lines) > self._max_lines:
            return None
        target = self._targets.get(lines[0]) or self._target_of(lines[0])
        if target is None:
            return None
        meanings, telling = self._meanings, self._telling
        values: list[bytes] = []
        told: dict[int, bytes] = {}
        seen = 0
        for line in lines[1:-2]:
            meaning = meanings.get(line)
            if meaning is None:
                meaning = self._meaning_of(line, values)
            if meaning:
                if meaning < 0 or seen & meaning:
                    return None
                seen |= meaning
                if meaning & telling:
                    told[meaning] = line
        return (*target, values, told) if seen & _HOST else None

    def _target_of(self, line: bytes) -> tuple[str, Endpoint] | None:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            return None
        endpoint = endpoint_of(match[2].decode("ascii"))
        if endpoint is None:
            return None
        target = match[1].decode("ascii"), endpoint
        if len(line) <= _MAX_REMEMBERED_BYTES and len(self._targets) < _MAX_REMEMBERED:
            self._targets[line] = target
        return target

    def _meaning_of(self, line: bytes, values: list[bytes]) -> int:
        name, colon, value = line.partition(b":")
        meaning = self._names.get(name)
        if meaning is None:
            meaning = self._meaning_of_name(name)
        if meaning == _CREDENTIAL and colon:  # its bytes are the gate's to judge
            values.append(value.strip(b" \t"))
            return _PLAIN
        if not colon or value.translate(None, _PRINTABLE):
            return _FOREIGN
        if meaning >= 0:
            if (
                name in _REPEATING
                and len(line) <= _MAX_REMEMBERED_BYTES
                and len(self._meanings) < _MAX_REMEMBERED
            ):
                self._meanings[line] = meaning
            return meaning
        value = value.strip(b" \t")
        if meaning == _CONTENT_LENGTH:
            return _ONCE[b"content-length"] if value == b"0" else _FOREIGN
        if meaning == _CONNECTION:
            return _ONCE[b"connection"] if value.lower() == b"keep-alive" else _FOREIGN
        return _FOREIGN

    def _meaning_of_name(self, name: bytes) -> int:
        if _NAME.fullmatch(name) is None:
            return _FOREIGN
        lower = name.lower()
        special = {
            b"authorization": _CREDENTIAL,
            b"content-length": _CONTENT_LENGTH,
            b"connection": _CONNECTION,
        }
        meaning = _FOREIGN if lower in _FOREIGN_NAMES else special.get(lower, self._once.get(lower, _PLAIN))
        if len(self._names) < _MAX_REMEMBERED and len(name) <= _MAX_REMEMBERED_BYTES:
            self._names[name] = meaning
        return meaning

    def _tail_now(self) -> bytes:
        now = int(self._now())
        if now != self._second:
            self._second = now
            self._tail = TAIL + format_datetime(utc(now), usegmt=True).encode() + b"\r\n\r\n"
        return self._tail
