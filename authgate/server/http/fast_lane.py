"""The fast lane: answer a request at once if an idle connection has received exactly one complete request.

The lane reads only what has one meaning: HTTP/1.1, one complete head without a body, and field lines that every parser
reads the same way. It leaves everything else untouched for aiohttp. Its requests pass the same gate and recorder.
"""

from __future__ import annotations

import re
from dataclasses import replace
from email.utils import format_datetime
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from authgate.credential.bearer import values_of
from authgate.errors import REASONS, Step
from authgate.model import PERSONAL_MARK, Allow, Deny, Moment, Pending, RenderedAnswer, SenderVerdict, present
from authgate.policy.conditions import NO_REQUEST
from authgate.server.http.request import (
    FORWARDED_HEADERS,
    NO_FORWARDED_HEADERS,
    endpoint_of,
    forwarded_request,
    original_request,
)
from authgate.server.http.response import TAIL, head_of
from authgate.server.request_facts import (
    TRACE_PARENT,
    RequestFacts,
    Subrequest,
    facts_of,
    forwarded_for,
    parse_trace_parent,
)
from authgate.timestamps import utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from authgate.errors import Reason
    from authgate.model import Authenticated, Clock, Decision, OriginalRequest, Rejected
    from authgate.observability.metrics import AnswerCells
    from authgate.observability.tracing import Tracing
    from authgate.policy.rules import Policy
    from authgate.server.decider import Serving
    from authgate.server.http.request import Endpoint
    from authgate.server.record import Recorder
    from authgate.server.request_ids import RequestIds

    _Head = tuple[str, Endpoint, Policy, OriginalRequest, list[bytes], dict[int, bytes]]
    """Method, endpoint, policy, the client's request, credentials beside the Bearer token, and lines by their bit."""

_REQUEST_LINE = re.compile(
    rb"(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) (/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*) HTTP/1\.1"
)
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PRINTABLE = b"\t" + bytes(range(0x20, 0x7F))  # allowed in field values

# The meaning of a field: plain (ignored), foreign (leave the request to aiohttp), a field whose value matters, or a
# positive bit for each field that may occur only once.
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
_ORIGINAL_METHOD, _ORIGINAL_URI, _ORIGINAL_HOST, _REQUEST_ID = 1 << 20, 1 << 21, 1 << 22, 1 << 23
_TRACE_PARENT = 1 << 24
_FOREIGN_NAMES: Final = frozenset(
    {
        b"access-control-request-method",  # CORS preflights are rare
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
# Fields whose lines repeat in many requests and hold no secret, if they have no query. The meaning of a line is cached
# by its bytes.
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
        b"X-Forwarded-Uri",
        b"X-Original-Host",
        b"X-Original-Method",
        b"X-Original-URI",
        b"X-Original-Url",
    )
    for name in (title, title.lower())
)
_BEARER: Final = b"\r\nAuthorization: Bearer "
_BEARER_HTTP2: Final = b"\r\nauthorization: Bearer "
"""As Envoy sends it, and nginx for a client that uses HTTP/2."""
_LINE_FEED: Final = ord(b"\n")
_MARK: Final = PERSONAL_MARK.encode()
_MAX_REMEMBERED = 4096
_MAX_REMEMBERED_BYTES = 256
_NOT_PLAIN: Final = (None, None, None)
_DIFFERING: Final = 2  # lines that differ in each request: the Bearer token's and the request id's
_MAX_HEADS = 1024
_MAX_HEAD_BYTES = 1024

_K = TypeVar("_K")
_V = TypeVar("_V")


class CountedAnswer(RenderedAnswer):
    """An answer that must only be counted: its bytes before `TAIL`, and its counters by source.

    It does not keep the decision, because the bytes already hold the identity headers, most of a cached verdict's
    memory. An answer that is shared by the tokens of a sender is in two parts: `rest` follows the token's own value.
    """

    __slots__ = ("cells", "head", "rest", "shareable")

    def __init__(self, reason: Reason, head: bytes, cells: AnswerCells) -> None:
        super().__init__(reason)
        self.head, mark, rest = head.partition(_MARK)
        self.rest = rest if mark else None
        self.shareable = _MARK not in rest
        self.cells = cells

    def under(self, rule: int | None) -> CountedAnswer:
        """Return this answer for another rule, which must be counted."""
        if rule == self.cells.rule:
            return self
        whole = self.head if self.rest is None else self.head + _MARK + self.rest
        return CountedAnswer(self.reason, whole, self.cells.under(rule))

    def head_for(self, verdict: Authenticated | Rejected) -> bytes:
        """Return the bytes for a token, by its verdict."""
        if self.rest is None or not isinstance(verdict, SenderVerdict):
            return self.head
        return self.head + verdict.personal.partition(b" ")[0] + self.rest


class AuditedAnswer(RenderedAnswer):
    """An answer that the audit log records: as `CountedAnswer`, with the decision without headers."""

    __slots__ = ("cells", "decision", "head")

    def __init__(self, head: bytes, cells: AnswerCells, decision: Allow | Deny) -> None:
        super().__init__(decision.reason)
        self.head = head
        self.cells = cells
        self.decision = replace(decision, headers=()) if isinstance(decision, Allow) else decision

    def under(self, rule: int | None) -> AuditedAnswer:
        """Return this answer for another rule, which its audit line must show."""
        allowed = self.decision
        if not isinstance(allowed, Allow) or allowed.rule == rule:
            return self
        return AuditedAnswer(self.head, self.cells.under(rule), allowed.under(rule))


class FastLane:
    """Answer plain requests, each from one chunk of bytes."""

    def __init__(
        self,
        serving: Callable[[], Serving],
        recorder: Recorder,
        clock: Clock,
        *,
        max_header_bytes: int,
        max_headers: int,
        ids: RequestIds | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._serving = serving
        self._ids = ids
        self._tracing = tracing
        self._recorder = recorder
        self._clock = clock
        self._monotonic = clock.monotonic
        self._max_header_bytes = max_header_bytes
        self._max_lines = max_headers + 3  # the request line, and two empty strings behind the last line
        self._targets: dict[bytes, tuple[str, Endpoint]] = {}
        self._second = -1
        self._tail = b""
        self._refusals: dict[tuple[Reason, str], bytes] = {}
        self._started = 0.0
        self._use(serving())

    def _use(self, serving: Serving) -> None:
        """Use a configuration. The fields of its proxy for the client's request may occur only once, like `Host`."""
        proxy = serving.proxy
        names = NO_FORWARDED_HEADERS if proxy is None else FORWARDED_HEADERS[proxy]
        roles = {names.method: _ORIGINAL_METHOD, names.uri: _ORIGINAL_URI, names.host: _ORIGINAL_HOST}
        self._proxy = proxy
        once = {name: bit for name, bit in roles.items() if name is not None} | _ONCE
        if self._tracing is not None:
            once[TRACE_PARENT] = _TRACE_PARENT
        if self._ids is not None:
            field = self._ids.field
            # A field with ids that has another meaning, too, is left to aiohttp.
            once[field] = _FOREIGN if field in once or field in _REPEATING else _REQUEST_ID
        self._once = once
        self._original_host = self._once.get(names.host or b"", _ORIGINAL_HOST)
        self._forwarded = _ORIGINAL_METHOD | _ORIGINAL_URI | self._original_host | _REQUEST_ID | _TRACE_PARENT
        self._meanings: dict[bytes, int] = {}
        self._names: dict[bytes, int] = {}
        self._heads: dict[bytes, _Head] = {}
        # How the proxy writes fields that differ in each request.
        self._bearer = _BEARER
        self._id_marker = b""
        self._used = serving

    def begin(self) -> Moment:
        """Return the present time for `answer`. One call is enough for requests that arrived together."""
        at = present(self._clock)
        self._started = at.monotonic
        second = int(at.now)
        if second != self._second:
            self._second = second
            self._tail = TAIL + format_datetime(utc(at.now), usegmt=True).encode() + b"\r\n\r\n"
        return at

    def answer(self, data: bytes, at: Moment) -> bytes | None:
        """Return the answer at a time to a chunk that is exactly one plain request, or None for anything else.

        None also means that the decision has to wait for a fetch or a review, or that spans may be recorded. Nothing
        has been changed or counted then.
        """
        try:
            serving = self._serving()
            if serving is not self._used:
                self._use(serving)
            if not serving.sources.only_authorization:
                return None
            token, request_id, head = self._read(data)
            if head is None:
                return None
            method, endpoint, policy, original, others, forwarded = head
            if self._tracing is not None and self._may_record(self._tracing, forwarded):
                return None
            gate = serving.gate
            on_difference = None
            id_line = b"" if self._ids is None else self._ids.line(request_id)
            if policy.shadow is not None:
                about = partial(self._facts, data, method, endpoint, id_line)
                on_difference = partial(self._recorder.difference, about=about)
            digest = b""
            if token is not None and not others and gate.cache is not None:
                digest = gate.cache.digest(token)
                known = gate.answer_known(
                    token,
                    digest,
                    policy,
                    original,
                    self._render,
                    at=at,
                    on_difference=on_difference,
                )
                if known is not None:
                    answer, verdict = known
                    seconds = self._seconds()
                    if isinstance(answer, CountedAnswer):
                        answer.cells[verdict.evidence.source].add(seconds)
                        return answer.head_for(verdict) + id_line + self._tail
                    if not isinstance(answer, AuditedAnswer):
                        raise TypeError("another server's answer")
                    answer.cells[verdict.evidence.source].add(seconds)
                    about = partial(self._facts, data, method, endpoint, id_line)
                    self._recorder.write(answer.decision, policy.name, seconds, about)
                    return answer.head + id_line + self._tail
            if policy.reviews_access:
                return None
            values = others if token is None else [b"Bearer " + token, *others]
            decision = gate.try_decide(values, policy.name, original, digest, on_difference=on_difference)
            if isinstance(decision, Pending):
                return None
            if REASONS[decision.reason].step is Step.CREDENTIAL and not _are_printable(values):
                return None
            seconds = self._seconds()
            about = partial(self._facts, data, method, endpoint, id_line)
            self._recorder.record(decision, policy.name, seconds, about)
            return self._head_of(decision) + id_line + self._tail
        except Exception:  # noqa: BLE001 - aiohttp's handler meets it again, and answers 503 with a log line
            return None

    def _seconds(self) -> float:
        """Return the time since the last answer, or since `begin`."""
        started, self._started = self._started, self._monotonic()
        return self._started - started

    @staticmethod
    def _may_record(tracing: Tracing, forwarded: dict[int, bytes]) -> bool:
        line = forwarded.get(_TRACE_PARENT)
        return tracing.may_record(None if line is None else parse_trace_parent(line.partition(b":")[2]))

    def _head_of(self, decision: Decision) -> bytes:
        """Return an answer's head. Heads of denials are cached by reason and detail."""
        if not isinstance(decision, Deny):
            return head_of(decision)
        key = decision.reason, decision.detail
        head = self._refusals.get(key)
        if head is None:
            head = head_of(decision)
            if len(decision.detail) <= _MAX_REMEMBERED_BYTES:
                _remember(self._refusals, key, head)
        return head

    def _original(self, method: str, endpoint: Endpoint, forwarded: dict[int, bytes]) -> OriginalRequest:
        values = {role: line.partition(b":")[2].strip(b" \t") for role, line in forwarded.items()}
        return forwarded_request(
            self._proxy,
            method,
            endpoint,
            original_method=values.get(_ORIGINAL_METHOD),
            uri=values.get(_ORIGINAL_URI),
            host=values.get(self._original_host),
        )

    def _render(self, decision: Allow | Deny, policy: str) -> CountedAnswer | AuditedAnswer:
        head = self._head_of(decision)
        cells = self._recorder.cells_of(decision, policy)
        if self._recorder.only_counts(decision):
            return CountedAnswer(decision.reason, head, cells)
        return AuditedAnswer(head, cells, decision)

    def _facts(self, data: bytes, method: str, endpoint: Endpoint, id_line: bytes) -> RequestFacts:
        """Return the facts of a request for its audit line."""
        serving = self._serving()
        fields = [line.partition(b":") for line in data.split(b"\r\n")[1:-2]]
        headers = [(name, value.strip(b" \t")) for name, _, value in fields]
        subrequest = Subrequest(
            endpoint.policy,
            headers,
            lambda proxy: original_request(proxy, headers, method, endpoint),
            lambda proxy: forwarded_for(proxy, headers),
            id_line[:-2].decode().partition(": ")[2] or None,
        )
        credentials = values_of(headers, b"authorization")
        return facts_of(subrequest, serving.proxy, serving.gate.policies.get(endpoint.policy), credentials)

    def _read(self, data: bytes) -> tuple[bytes | None, bytes | None, _Head | None]:
        """Return the Bearer token, the request id, and what the rest of the head says.

        The last is None if this is not a plain request. The gate checks the bytes of the token and of other
        credentials.
        """
        if len(data) > self._max_header_bytes or not data.endswith(b"\r\n\r\n"):
            return _NOT_PLAIN
        token, request_id, rest = None, None, data
        marker = self._bearer
        before = data.find(marker)
        if before < 0:
            marker = _BEARER_HTTP2 if marker is _BEARER else _BEARER
            before = data.find(marker)
        if before >= 0:  # most bytes are the token's, and splitting takes time for each byte
            self._bearer = marker
            start = before + len(marker)
            end = data.index(b"\r", start)
            if data[end + 1] != _LINE_FEED:
                return _NOT_PLAIN
            token = data[start:end].rstrip(b" \t")
            rest = data[:before] + data[end:]
        marker = self._id_marker
        before = rest.find(marker) if marker else -1
        if before >= 0:
            start = before + len(marker)
            end = rest.index(b"\r", start)
            request_id = rest[start:end]
            if rest[end + 1] != _LINE_FEED or request_id.translate(None, _PRINTABLE):
                return _NOT_PLAIN
            rest = rest[:before] + rest[end:]
        head = self._heads.get(rest)
        if head is None:
            seen = 0 if request_id is None else _REQUEST_ID
            head = self._head(rest, seen, (token is not None) + (request_id is not None))
            if head is not None:
                *_, forwarded = head
                if _REQUEST_ID in forwarded:
                    request_id = forwarded[_REQUEST_ID].partition(b":")[2]
        return token, request_id, head

    def _head(self, rest: bytes, seen: int, missing: int) -> _Head | None:
        """Read a head without the lines that differ in each request, and cache it if it has only lines that repeat.

        `missing` is how many lines those are, and `seen` has the bits of their fields.
        """
        lines = rest.split(b"\r\n")
        if len(lines) + missing > self._max_lines:
            return None
        target = self._targets.get(lines[0]) or self._target_of(lines[0])
        if target is None:
            return None
        method, endpoint = target
        policy = self._used.gate.policies.get(endpoint.policy)
        if policy is None:
            return None
        meanings, forwarded_bits = self._meanings, self._forwarded
        others: list[bytes] = []
        forwarded: dict[int, bytes] = {}
        # As many lines as `_read` can take away may be missing when the head is sent again.
        repeats = lines[0] in self._targets and len(lines) + _DIFFERING <= self._max_lines
        for line in lines[1:-2]:
            meaning = meanings.get(line)
            if meaning is None:
                meaning = self._meaning_of(line, others)
                repeats = False
            if meaning:
                if meaning < 0 or seen & meaning:
                    return None
                seen |= meaning
                if meaning & forwarded_bits:
                    forwarded[meaning] = line
        if not seen & _HOST:
            return None
        original = self._original(method, endpoint, forwarded) if policy.reads_request else NO_REQUEST
        head = method, endpoint, policy, original, others, forwarded
        if repeats and len(rest) <= _MAX_HEAD_BYTES:
            _remember(self._heads, rest, head, _MAX_HEADS)
        return head

    def _target_of(self, line: bytes) -> tuple[str, Endpoint] | None:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            return None
        endpoint = endpoint_of(match[2].decode("ascii"))
        if endpoint is None:
            return None
        target = match[1].decode("ascii"), endpoint
        if not endpoint.query and len(line) <= _MAX_REMEMBERED_BYTES:  # a query may hold a secret
            _remember(self._targets, line, target)
        return target

    def _meaning_of(self, line: bytes, values: list[bytes]) -> int:
        name, colon, value = line.partition(b":")
        meaning = self._names.get(name)
        if meaning is None:
            meaning = self._meaning_of_name(name)
        if meaning == _REQUEST_ID and value.startswith(b" "):
            self._id_marker = b"\r\n" + name + b": "
        if meaning == _CREDENTIAL and colon:
            values.append(value.strip(b" \t"))
            return _PLAIN
        if not colon or value.translate(None, _PRINTABLE):
            return _FOREIGN
        if meaning >= 0:
            if name in _REPEATING and b"?" not in value and len(line) <= _MAX_REMEMBERED_BYTES:
                _remember(self._meanings, line, meaning)
            return meaning
        value = value.strip(b" \t")
        if meaning == _CONTENT_LENGTH and value == b"0":
            meaning = _ONCE[b"content-length"]
        elif meaning == _CONNECTION and value.lower() == b"keep-alive":
            meaning = _ONCE[b"connection"]
        else:
            return _FOREIGN
        if len(line) <= _MAX_REMEMBERED_BYTES:
            _remember(self._meanings, line, meaning)
        return meaning

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
        if len(name) <= _MAX_REMEMBERED_BYTES:
            _remember(self._names, name, meaning)
        return meaning


def _remember(known: dict[_K, _V], key: _K, value: _V, limit: int = _MAX_REMEMBERED) -> None:
    """Cache a value. In a flood of different keys, all are forgotten at times; frequent ones return soon."""
    if len(known) >= limit:
        known.clear()
    known[key] = value


def _are_printable(values: Iterable[bytes]) -> bool:
    """Return whether every parser reads these field values alike. A credential that the gate accepts is one of them."""
    return not any(value.translate(None, _PRINTABLE) for value in values)
