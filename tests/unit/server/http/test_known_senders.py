"""Answers to tokens of known senders are those that each token would get alone."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from authgate.compose import Dependencies, Generation, compose
from authgate.config import load
from authgate.dev.compact import JsonObject
from authgate.model import SenderVerdict
from authgate.observability.audit import Audit
from authgate.observability.log import AUDIT
from authgate.observability.metrics import Metrics
from authgate.server.decider import Decider, Serving
from authgate.server.http.fast_lane import FastLane
from authgate.server.http.request import endpoint_of, original_request
from authgate.server.http.response import head_of
from authgate.server.record import Recorder
from authgate.server.request_facts import Subrequest
from tests.support.clock import FakeClock
from tests.support.key_pool import KeyPool

ISSUER = "https://issuer.example"
CLAIMS: dict[str, JsonObject] = {
    "person": {"sub": "jane", "groups": ["staff", "a,b%"], "email": "jane@corp.example", "jti": "id-0"},
    "mallory": {"sub": "mallory", "jti": "id-0"},
    "pod": {
        "jti": "id-0",
        "kubernetes.io": {
            "namespace": "shop",
            "pod": {"name": "web-0", "uid": "p-0"},
            "node": {"name": "node-0", "uid": "n-0"},
            "serviceaccount": {"name": "web", "uid": "s-1"},
        },
        "sub": "system:serviceaccount:shop:web",
    },
    "pod without a uid": {
        "jti": "id-0",
        "kubernetes.io": {
            "namespace": "shop",
            "pod": {"name": "web-0"},
            "serviceaccount": {"name": "web", "uid": "s-1"},
        },
        "sub": "system:serviceaccount:shop:web",
    },
    "without a pod": {
        "jti": "id-0",
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "web", "uid": "s-1"}},
        "sub": "system:serviceaccount:shop:web",
    },
}
PRESETS = ["oauth2-proxy", "kubernetes", "remote", "none"]
POLICIES: dict[str, JsonObject] = {
    "everyone": {},
    "listed": {
        "allow": [{"groups": ["corp:staff"]}, {"serviceAccounts": ["shop/*"]}],
        "deny": [{"users": ["corp:m*"]}],
    },
    "audience": {"audiences": ["other"]},
    "rules": {
        "allow": [{"users": ["nobody"]}],
        "rules": [
            {"paths": ["/staff/*"], "allow": [{"groups": ["corp:staff"]}, {"serviceAccounts": ["*/*"]}]},
            {"paths": ["/open/*"], "anonymous": True},
        ],
    },
    "by uid": {"allow": [{"expression": "user.uid.startsWith('id-')"}]},
    "by claim": {"allow": [{"expression": "claims.jti.startsWith('id-')"}]},
    "shadow": {"shadow": {"allow": [{"expression": "user.uid != 'id-3'"}]}},
    "role": {"role": {"userClaim": "jti"}},
}
PATHS = ["/staff/x", "/open/x", "/elsewhere"]


def documents(policy: str, preset: str, cluster: bool, jwks: JsonObject) -> str:
    """Return a configuration."""
    keys = {"inline": jwks}
    document: JsonObject = {
        "policies": {"default": POLICIES[policy]},
        "headers": {"preset": preset},
        "server": {"proxy": "nginx"},
    }
    if cluster:
        document["cluster"] = {
            "name": "home",
            "audiences": ["app", "other"],
            "issuers": [ISSUER],
            "staticKeys": keys,
            "tokenReview": {"mode": "never"},
        }
    else:
        mappings = {
            "username": {"claim": "sub", "prefix": "corp:"},
            "groups": {"claim": "groups", "prefix": "corp:"},
            "uid": {"claim": "jti"},
        }
        document["jwt"] = [
            {
                "issuer": {"url": ISSUER, "audiences": ["app", "other"], "audienceMatchPolicy": "MatchAny"},
                "claimMappings": mappings,
                "gate": {"name": "corp", "algorithms": ["ES256"], "staticKeys": keys},
            }
        ]
    return json.dumps(document)


@dataclass(slots=True)
class Half:
    """One gate, by its lane or by its general path, and its metrics."""

    generation: Generation
    lane: FastLane
    decider: Decider
    metrics: Metrics

    def fast(self, request: bytes) -> bytes:
        """Return the lane's answer, without its tail."""
        answer = self.lane.answer(request, self.lane.begin())
        assert answer is not None
        return answer.partition(b"Cache-Control:")[0]

    async def general(self, token: str, path: str) -> bytes:
        """Return the answer of the path that all requests can take."""
        headers = [(b"authorization", f"Bearer {token}".encode()), (b"x-original-uri", path.encode())]
        headers += [(b"x-original-method", b"GET"), (b"x-original-host", b"app")]
        endpoint = endpoint_of("/verify")
        assert endpoint is not None
        subrequest = Subrequest(
            "default",
            headers,
            lambda proxy: original_request(proxy, headers, "GET", endpoint),
            lambda _: None,
        )
        decision, _ = await self.decider.decide(subrequest)
        return head_of(decision)

    def counters(self) -> list[str]:
        """Return all counters, without times."""
        lines = self.metrics.render().decode().splitlines()
        return [
            line
            for line in lines
            if line.startswith(("authgate_verify_requests", "authgate_cache_req", "authgate_sha"))
        ]


def request_of(token: str, path: str) -> bytes:
    """Return the bytes of nginx's subrequest."""
    return (
        f"GET /verify HTTP/1.1\r\nHost: gate\r\nX-Original-URI: {path}\r\nX-Original-Method: GET\r\n"
        f"X-Original-Host: app\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()


@asynccontextmanager
async def half(path: Path, audit: str, clock: FakeClock) -> AsyncIterator[Half]:
    """Run one gate."""
    config, metrics = load(path, {}, {}).config, Metrics()
    recorder = Recorder(metrics, Audit("all" if audit == "all" else "deny", clock, lambda: None))
    deps = Dependencies(
        clock=clock,
        metrics=metrics,
        environ={},
        service_account_dir=str(path.parent),
    )
    generation = await compose(config, deps)
    serving: Callable[[], Serving] = lambda: generation  # noqa: E731
    lane = FastLane(serving, recorder, clock, max_header_bytes=16384, max_headers=64)
    decider = Decider(serving, metrics=metrics, recorder=recorder, clock=clock)
    yield Half(generation, lane, decider, metrics)
    await generation.close()


@pytest.fixture
def audited() -> Iterator[list[object]]:
    """What the audit log gets."""
    lines: list[object] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((record.getMessage(), record.__dict__["attributes"]))

    handler, logger = Keeping(), logging.getLogger(AUDIT)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def _is_sensible(policy: str, claims: str, preset: str) -> bool:
    return policy in {"listed", "everyone"} or preset == "oauth2-proxy" or claims == "person"


CASES = [
    (policy, claims, preset, audit)
    for policy, claims, preset in itertools.product(POLICIES, CLAIMS, PRESETS)
    for audit in ("deny", "all")
    if _is_sensible(policy, claims, preset) and (audit == "deny" or preset == "oauth2-proxy")
]


@pytest.mark.parametrize(("policy", "claims", "preset", "audit"), CASES)
async def test_answers_and_counters_are_those_of_the_general_path(
    tmp_path: Path,
    audited: list[object],
    policy: str,
    claims: str,
    preset: str,
    audit: str,
) -> None:
    """Each token is sent twice: new and cached. Tokens differ in their ids, and some are bad."""
    clock, pool = FakeClock(), KeyPool()
    key, stranger = pool.key("ES256"), pool.key("ES256", 1)
    path = tmp_path / "gate.yaml"
    cluster = "pod" in claims
    path.write_text(documents(policy, preset, cluster, {"keys": [key.jwk()]}))
    now = int(clock.now())

    def made(number: int, changes: JsonObject) -> JsonObject:
        text = json.dumps(
            {"aud": "app", "exp": now + 600, "iat": now, "iss": ISSUER, **CLAIMS[claims], **changes}
        )
        members: JsonObject = json.loads(text.replace("-0", f"-{number}"))
        return members

    good = [made(number, {}) for number in range(4)]
    odd: list[JsonObject] = [
        {"exp": now - 1},
        {"exp": now + 1},
        {"jti": "id with spaces"},
        {"jti": "x" * 300},
        {"jti": " "},
    ]
    tokens = [key.sign(one) for one in [*good, *(made(7, changes) for changes in odd)]]
    tokens += [
        stranger.sign(good[1], {"kid": key.kid}),
        *(key.sign(made(9, {"sub": sub})) for sub in ("joe", "bob")),
    ]
    async with half(path, audit, clock) as fast, half(path, audit, clock) as general:
        for token, original in [(token, original) for token in tokens for original in [*PATHS, *PATHS]]:
            answer, lines = fast.fast(request_of(token, original)), audited.copy()
            audited.clear()
            assert answer == await general.general(token, original)
            assert lines == audited
            audited.clear()
        assert fast.counters() == general.counters()
        cache = fast.generation.cache
        assert cache is not None
        recognized = isinstance(cache.lookup(cache.digest(tokens[2].encode())), SenderVerdict)
        assert recognized == (policy not in {"by claim", "role"})
