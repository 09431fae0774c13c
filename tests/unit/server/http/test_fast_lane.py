"""Which bytes the fast lane answers, and which it leaves untouched for aiohttp."""

from __future__ import annotations

from functools import partial
from typing import Literal

import pytest

from authgate.credential.sources import HeaderSource, Sources
from authgate.errors import Reason
from authgate.gate import Gate
from authgate.model import BearerToken, Rejected, Unavailable, Verdict
from authgate.observability.audit import Audit
from authgate.observability.metrics import Metrics
from authgate.observability.tracing import Tracing
from authgate.policy.conditions import Entry, UserIn
from authgate.policy.headers import HeaderMapper
from authgate.policy.routes import PathPattern, RequestMatch
from authgate.policy.rules import OpenPaths, Policy, Rule
from authgate.server.decider import Serving
from authgate.server.http.fast_lane import FastLane
from authgate.server.record import Recorder
from authgate.server.request_ids import RequestIds
from authgate.verify.cache import VerdictCache
from authgate.verify.router import Verifier
from tests.support.clock import FakeClock
from tests.support.http_corpus import requests
from tests.support.verifiers import Cached, ScriptedVerifier

CORPUS = requests({"good": "good-token", "expired": "expired", "forged": "forged", "denied": "denied"})
ANSWERED = {
    "good",
    "good, other case",
    "scheme in other case",
    "more spaces",
    "space at the end",
    "no space after the colon",
    "expired",
    "forged",
    "denied",
    "garbage",
    "opaque",
    "basic",
    "empty",
    "none",
    "twice",
    "too long",
    "empty host",
    "keep-alive",
    "length zero",
    "head",
    "delete",
    "policy",
    "open path",
    "open path with a token",
    *(name for name in CORPUS if name.startswith("rules: ")),
    "many fields",
    "token first",
    "token in lower case",
    "token in both cases",
    "just short enough",
    *(name for name in CORPUS if name.startswith(("accepted: ", "id: "))),
}
ANSWERED -= {"id: twice", "id: twice, written alike", "id: odd bytes", "id: unknown path", "id: not a path"}
ANSWERED -= {f"accepted: {name} connection" for name in ("close", "keep-alive, close", "TE, keep-alive")}
ANSWERED -= {f"rules: {name}" for name in ("path twice", "method twice", "host twice", "path of odd bytes")}
ANSWERED -= {f"rules: preflight{more}" for more in ("", " of another method", " with a token")}

Mode = Literal["none", "deny", "all"]


class Lane:
    """A fast lane over a scripted verifier, and its metrics."""

    def __init__(
        self,
        verifier: Verifier,
        *,
        cache: VerdictCache | None = None,
        audit: Mode = "none",
        tracing: Tracing | None = None,
        id_header: str = "X-Request-Id",
    ) -> None:
        clock = FakeClock()
        self.clock = clock
        self.metrics = Metrics()
        staff = Rule(RequestMatch(paths=(PathPattern("/staff/*"),)), allow=(Entry([UserIn(["user-1"])]),))
        by_path = Rule(RequestMatch(paths=(PathPattern("/by/*"),)), allow=(Entry([UserIn(["user-1"])]),))
        policies = {
            "default": Policy("default"),
            "open": Policy("open", open_paths=OpenPaths(["/healthz"])),
            "rules": Policy("rules", allow=(), rules=(staff, by_path)),
        }
        gate = Gate(verifier, policies, HeaderMapper("oauth2-proxy", 16384), 2048, cache=cache)
        recorder = Recorder(self.metrics, Audit(audit, clock, lambda: None))
        self.gate = gate
        self.serving = Serving(gate, "nginx")
        self.lane = FastLane(
            lambda: self.serving,
            recorder,
            clock,
            max_header_bytes=4096,
            max_headers=16,
            ids=RequestIds(id_header),
            tracing=tracing,
        )

    def answer(self, data: bytes) -> bytes | None:
        """Return the answer to a request that arrived alone."""
        return self.lane.answer(data, self.lane.begin())

    def status(self, data: bytes) -> int | None:
        """Return the status of the answer, or None if the bytes are left to aiohttp."""
        answer = self.answer(data)
        return None if answer is None else int(answer.split(b" ", 2)[1])


def lane_with_cache(verifier: Verifier, lookups: list[str] | None = None, audit: Mode = "none") -> Lane:
    """A lane over a cached verifier; each look-up is appended to `lookups`."""
    lookups = [] if lookups is None else lookups
    hit, miss = partial(lookups.append, "hit"), partial(lookups.append, "miss")
    cached = Cached(verifier, FakeClock(), on_hit=hit, on_miss=miss)
    return Lane(cached.verifier, cache=cached.cache, audit=audit)


def _traceparent(*, sampled: bool) -> bytes:
    return b"TraceParent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0%d\r\n" % sampled


class Raising(ScriptedVerifier):
    """A verifier with a bug."""

    def try_verify(self, token: BearerToken) -> Verdict:
        raise RuntimeError(token.text)


@pytest.mark.parametrize("name", CORPUS)
def test_only_plain_requests_are_answered(name: str) -> None:
    """Bytes that two parsers could read differently are left to aiohttp."""
    assert (Lane(ScriptedVerifier()).status(CORPUS[name]) is not None) == (name in ANSWERED)


def test_repeated_heads_are_read_alike() -> None:
    """Each head is cached when its lines have been seen before, and that changes no answer."""
    lane = Lane(ScriptedVerifier())
    first, second, third = ({name: lane.status(data) for name, data in CORPUS.items()} for _ in range(3))
    assert first == second == third
    assert {name for name, status in first.items() if status is not None} == ANSWERED


@pytest.mark.parametrize("end", range(1, len(CORPUS["good"]) - 1), ids=str)
def test_no_incomplete_request_is_answered(end: int) -> None:
    """It is left to aiohttp."""
    assert Lane(ScriptedVerifier()).status(CORPUS["good"][:end]) is None


def test_two_requests_in_one_chunk_are_left_to_aiohttp() -> None:
    """aiohttp answers pipelined requests in order."""
    assert Lane(ScriptedVerifier()).status(CORPUS["good"] * 2) is None


def test_a_cached_verdict_is_counted_as_a_hit() -> None:
    """The second answer comes from the cache, and the metrics show it."""
    verifier = ScriptedVerifier()
    lookups: list[str] = []
    lane = lane_with_cache(verifier, lookups)
    first, second = lane.answer(CORPUS["id: longest"]), lane.answer(CORPUS["id: longest"])
    assert first == second
    assert lookups == ["miss", "hit"]
    assert {(*key[:3], cell.count) for key, cell in lane.metrics.answers.items()} == {
        ("allow", "authenticated", "jwks", 1),
        ("allow", "authenticated", "cache", 1),
    }


def test_a_cached_denial_is_written_to_the_audit_log(caplog: pytest.LogCaptureFixture) -> None:
    """Its log line is the same as for a new decision."""
    caplog.set_level("INFO", logger="authgate.audit")
    verifier = ScriptedVerifier(Rejected(Reason.TOKEN_EXPIRED))
    lane = lane_with_cache(verifier, audit="deny")
    assert [lane.status(CORPUS["good"]) for _ in range(3)] == [401, 401, 401]
    assert [record.message for record in caplog.records] == ["decision"] * 3


def test_audit_lines_of_a_cached_verdict_name_the_rule(caplog: pytest.LogCaptureFixture) -> None:
    """The rules of a policy share the answer to an identity that they allow, but each line has its own rule."""
    by_path = "expression on the request"
    caplog.set_level("INFO", logger="authgate.audit")
    lane = lane_with_cache(ScriptedVerifier(), audit="all")
    assert [lane.status(CORPUS[f"rules: {name}"]) for name in ("staff", by_path) * 2] == [200] * 4
    lines = [vars(record)["attributes"] for record in caplog.records]
    assert [(line["authgate.rule"], line["url.path"]) for line in lines] == [
        ("rules[0]", "/staff/a"),
        ("rules[1]", "/by/jane"),
    ] * 2


@pytest.mark.parametrize(
    ("ratio", "fields", "answered"),
    [
        (0, b"", True),
        (0, _traceparent(sampled=False), True),
        (0, _traceparent(sampled=True), False),
        (0, _traceparent(sampled=False) * 2, False),
        (0, b"traceparent: junk\r\n", True),
        (0.1, b"", False),
        (0.1, _traceparent(sampled=False), True),
    ],
    ids=["no parent", "unsampled", "sampled", "twice", "invalid", "ratio", "ratio, unsampled"],
)
async def test_requests_whose_spans_may_be_recorded_are_left_to_aiohttp(
    ratio: float, fields: bytes, answered: bool
) -> None:
    """The others are answered as without tracing."""
    tracing = Tracing("http://127.0.0.1:9/v1/traces", ratio=ratio)
    try:
        lane = Lane(ScriptedVerifier(), tracing=tracing)
        data = CORPUS["good"][:-2] + fields + b"\r\n"
        assert lane.status(data) == (200 if answered else None)
    finally:
        await tracing.close()


def test_a_pending_decision_is_left_to_aiohttp_and_not_counted() -> None:
    """aiohttp's handler waits for the verifier, which is asked once."""
    verifier = ScriptedVerifier()
    verifier.held = True
    lookups: list[str] = []
    lane = lane_with_cache(verifier, lookups)
    assert lane.status(CORPUS["good"]) is None
    assert (lookups, lane.metrics.answers) == ([], {})


def test_an_unexpected_error_is_left_to_aiohttp() -> None:
    """aiohttp's handler answers 503 with a log line."""
    assert Lane(Raising()).status(CORPUS["good"]) is None


def test_unavailable_is_a_503() -> None:
    """It has Retry-After, as in other answers."""
    lane = Lane(ScriptedVerifier(Unavailable(Reason.KEYS_UNAVAILABLE, "down", 7)))
    answer = lane.answer(CORPUS["good"])
    assert answer is not None
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\n")


def test_the_date_is_that_of_the_answer() -> None:
    """RFC 9110, section 6.6.1: when the message was made, in seconds."""
    lane = Lane(ScriptedVerifier())
    first = lane.answer(CORPUS["good"])
    lane.clock.advance(1)
    assert first != lane.answer(CORPUS["good"])


def test_memory_for_clients_bytes_is_bounded() -> None:
    """The caches of field names, repeating lines, request lines and heads have a maximum size."""
    lane = Lane(ScriptedVerifier())
    for number in range(6000):
        for extra in (f"X-{number}: 1\r\n", "", ""):
            request = f"GET /verify/{number} HTTP/1.1\r\nHost: gate-{number}\r\n{extra}\r\n"
            assert lane.status(request.encode()) == 401
    kept = lane.lane
    sizes = [len(cache) for cache in (kept._meanings, kept._names, kept._targets, kept._heads)]
    assert all(0 < size <= 4096 for size in sizes)
    assert len(kept._heads) <= 1024


def test_no_head_with_an_unknown_field_is_kept() -> None:
    """Its value may be a secret, or different in each request."""
    lane = Lane(ScriptedVerifier())
    for field in (b"Cookie: a", b"X-Api-Key: a", b"Authorization: Basic YTpi", b"X-Original-URI: /a?key=b"):
        data = b"GET /verify HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer a\r\n" + field + b"\r\n\r\n"
        for _ in range(3):
            lane.status(data)
    assert not lane.lane._heads


def test_no_query_is_kept() -> None:
    """Envoy sends the client's query in the request line, and it may hold a secret."""
    lane = Lane(ScriptedVerifier())
    data = b"GET /verify/a?key=b HTTP/1.1\r\nHost: gate\r\n\r\n"
    assert [lane.status(data) for _ in range(3)] == [401] * 3
    assert not lane.lane._targets
    assert not lane.lane._heads


def test_no_large_head_is_kept() -> None:
    """So the memory for heads is bounded."""
    lane = Lane(ScriptedVerifier())
    data = b"GET /verify HTTP/1.1\r\nHost: gate\r\n" + b"".join(b"Accept: %0200d\r\n" % n for n in range(5))
    assert [lane.status(data + b"\r\n") for _ in range(3)] == [401] * 3
    assert not lane.lane._heads


def test_lines_that_differ_in_each_request_count_for_the_limit_of_lines() -> None:
    """Also if the rest of the head was seen before without them."""
    lane = Lane(ScriptedVerifier())
    lines = ["GET /verify HTTP/1.1", "Host: gate", *(f"Accept: {n}" for n in range(13))]
    token, request_id, last = "Authorization: Bearer a", "X-Request-Id: a", "Accept: 13"
    heads = [[*lines, *more] for more in ((), (token,), (request_id,), (token, request_id))]
    heads += [[*lines, last, *more] for more in ((), (token,), (request_id,), (token, request_id))]
    heads += [[*lines, last, last, *more] for more in ((), (token,), (request_id,), (token, request_id))]
    for _ in range(3):
        statuses = [lane.status("\r\n".join([*head, "", ""]).encode()) for head in heads]
        assert statuses == [401, 200, 401, 200, 401, 200, 401, None, 401, None, None, None]


def test_nothing_is_read_if_tokens_have_other_sources() -> None:
    """Any field may hold one, so no line is kept."""
    lane = Lane(ScriptedVerifier())
    lane.serving = Serving(lane.gate, "nginx", Sources([HeaderSource(b"x-forwarded-uri")]))
    data = b"GET /verify HTTP/1.1\r\nHost: gate\r\nX-Forwarded-Uri: token\r\n\r\n"
    assert [lane.status(data) for _ in range(3)] == [None] * 3
    assert not lane.lane._meanings


async def test_ids_in_a_field_with_another_meaning_are_left_to_aiohttp() -> None:
    """The lane would not take such a line for the id, or cache it as one that repeats."""
    tracing = Tracing("http://127.0.0.1:9/v1/traces", ratio=0)
    try:
        for header in ("User-Agent", "traceparent"):
            lane = Lane(ScriptedVerifier(), tracing=tracing, id_header=header)
            data = f"GET /verify HTTP/1.1\r\nHost: gate\r\n{header}:1\r\n\r\n".encode()
            assert [lane.status(data) for _ in range(3)] == [None] * 3
    finally:
        await tracing.close()


def test_a_hit_is_answered_by_the_rule_of_its_path() -> None:
    """One token and one cached verdict can have different answers for different paths."""
    verifier = ScriptedVerifier()
    lane = lane_with_cache(verifier)
    names = ["rules: staff, a query", "rules: staff, an escape", "rules: no rule", "rules: ambiguous"]
    assert [lane.status(CORPUS[name]) for name in names * 2] == [200, 200, 403, 403] * 2
    assert verifier.asked == ["good-token"]


def test_the_lane_uses_a_new_policy() -> None:
    """A reload takes effect at the next request, also if its head was seen before."""
    lane = lane_with_cache(ScriptedVerifier())
    assert [lane.status(CORPUS["good"]) for _ in range(3)] == [200] * 3
    closed, cached = {"default": Policy("default", allow=())}, Cached(ScriptedVerifier(), FakeClock())
    mapper = HeaderMapper("oauth2-proxy", 16384)
    lane.serving = Serving(Gate(cached.verifier, closed, mapper, 2048, cache=cached.cache), "nginx")
    assert [lane.status(CORPUS["good"]) for _ in range(3)] == [403] * 3


def test_the_lane_uses_a_new_proxy() -> None:
    """A reload may change the proxy, and so the fields that describe the client's request."""
    lane = Lane(ScriptedVerifier())
    names = ["rules: staff", "rules: another proxy's fields"]
    assert [lane.status(CORPUS[name]) for name in names * 3] == [200, 403] * 3
    lane.serving = Serving(lane.gate, "traefik")
    assert [lane.status(CORPUS[name]) for name in names * 3] == [403, 200] * 3
    lane.serving = Serving(lane.gate, "envoy")
    head = b"DELETE /policies/rules/verify/staff/a?b HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer a\r\n\r\n"
    assert [lane.status(head), lane.status(CORPUS["rules: staff"])] == [200, 403]
