"""The fast lane: a request that stands complete and alone in an idle connection's buffer is answered at once.

It reads only what can mean one thing: HTTP/1.1, one complete head without a body, field lines whose bytes every parser
reads alike. Whatever else comes it does not touch, and aiohttp reads it as if the lane were not there. What it does
read goes through the same gate and the same records.
"""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from authgate.metrics import AnswerCell
from authgate.model import OriginalRequest, Pending
from authgate.server.request import endpoint_of
from authgate.server.response import head_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.gate import Gate
    from authgate.model import Answer, Clock
    from authgate.server.record import Recorder

_REQUEST_LINE = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) (/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*) HTTP/1\.1"
)
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e]*")
_NOTHING_KNOWN: Final = OriginalRequest()

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
_FOREIGN_NAMES: Final = frozenset(
    {
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
        b"X-Original-Method",
    )
    for name in (title, title.lower())
)
_MAX_REMEMBERED = 4096
_MAX_REMEMBERED_BYTES = 256


class FastLane:
    """Answers what it can from one chunk of bytes, or returns None and has touched nothing."""

    def __init__(
        self,
        gate: Callable[[], Gate],
        recorder: Recorder,
        clock: Clock,
        *,
        max_header_bytes: int,
        max_headers: int,
    ) -> None:
        self._gate = gate
        self._recorder = recorder
        self._monotonic = clock.monotonic
        self._now = clock.now
        self._max_header_bytes = max_header_bytes
        self._max_lines = max_headers + 3  # the request line, and two empty pieces after the last line's end
        self._meanings: dict[bytes, int] = {}
        self._names: dict[bytes, int] = {}
        self._policies: dict[bytes, str] = {}
        self._second = -1
        self._date = b""

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
        request = self._read(data)
        if request is None:
            return None
        policy, values = request
        gate = self._gate()
        if len(values) == 1 and values[0][:7] == b"Bearer ":
            answer = gate.recall(values[0][7:], policy)
            if answer is not None:
                return self._recalled(answer, policy, started)
        if gate.reviews_access(policy) or (not values and gate.looks_at_request(policy)):
            return None
        if any(_VALUE.fullmatch(value) is None for value in values):  # a remembered one needs no such look
            return None
        decision = gate.begin(values, policy, _NOTHING_KNOWN)
        if isinstance(decision, Pending):
            return None
        self._recorder.record(decision, policy, self._monotonic() - started)
        return head_of(decision) + self._date_line()

    def _recalled(self, answer: Answer, policy: str, started: float) -> bytes:
        wire = answer.wire
        if wire is None:
            decision = answer.decision
            wire = answer.wire = (head_of(decision), self._recorder.cell_of(decision, policy))
        head, cell = wire
        if isinstance(cell, AnswerCell):
            cell.add(self._monotonic() - started)
        else:
            self._recorder.record(answer.decision, policy, self._monotonic() - started)
        return head + self._date_line()

    def _read(self, data: bytes) -> tuple[str, list[bytes]] | None:
        """Return policy and credentials of a plain request, None where the bytes are anything else."""
        if len(data) > self._max_header_bytes or data[-4:] != b"\r\n\r\n":
            return None
        lines = data.split(b"\r\n")
        if len(lines) > self._max_lines:
            return None
        policy = self._policies.get(lines[0]) or self._policy_of(lines[0])
        if policy is None:
            return None
        meanings = self._meanings
        values: list[bytes] = []
        seen = 0
        for line in lines[1:-2]:
            meaning = meanings.get(line)
            if meaning is None:
                meaning = self._meaning_of(line, values)
            if meaning:
                if meaning < 0 or seen & meaning:
                    return None
                seen |= meaning
        return (policy, values) if seen & _HOST else None

    def _policy_of(self, line: bytes) -> str | None:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            return None
        endpoint = endpoint_of(match[1].decode("ascii"))
        if endpoint is None or endpoint.policy not in self._gate().policies:
            return None
        if not endpoint.rest and len(self._policies) < _MAX_REMEMBERED:
            self._policies[line] = endpoint.policy
        return endpoint.policy

    def _meaning_of(self, line: bytes, values: list[bytes]) -> int:
        name, colon, value = line.partition(b":")
        meaning = self._names.get(name)
        if meaning is None:
            meaning = self._meaning_of_name(name)
        if meaning == _CREDENTIAL and colon:  # its bytes are the gate's to judge
            values.append(value.strip(b" \t"))
            return _PLAIN
        if not colon or _VALUE.fullmatch(value) is None:
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
        meaning = _FOREIGN if lower in _FOREIGN_NAMES else special.get(lower, _ONCE.get(lower, _PLAIN))
        if len(self._names) < _MAX_REMEMBERED and len(name) <= _MAX_REMEMBERED_BYTES:
            self._names[name] = meaning
        return meaning

    def _date_line(self) -> bytes:
        now = int(self._now())
        if now != self._second:
            self._second = now
            self._date = formatdate(now, usegmt=True).encode() + b"\r\n\r\n"
        return self._date
