"""The size estimate of cached verdicts: close to the size that Python reports, and never far below."""

from __future__ import annotations

import gc
import json
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from authgate.errors import Reason
from authgate.gate import Gate
from authgate.model import Evidence, Identity, Rejected, RevocationHandle, VerifiedClaims
from authgate.observability.audit import Audit
from authgate.observability.metrics import Metrics
from authgate.policy.conditions import NO_REQUEST
from authgate.policy.headers import HeaderMapper
from authgate.policy.rules import Policy
from authgate.server.decider import Serving
from authgate.server.http.fast_lane import FastLane
from authgate.server.record import Recorder
from authgate.verify.weight import weight_of
from tests.support.clock import FakeClock
from tests.support.verifiers import GOOD, Cached, ScriptedVerifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.model import Authenticated

KEPT = 300
REQUEST = "GET /verify HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer token-{}\r\n\r\n"


def account(number: int, *, groups: int = 3, wide: str = "") -> Authenticated:
    """Return a verdict that shares no objects with another one."""
    own = [f"group-{number}-{group}{wide}" for group in range(groups)]
    uid = f"{number:036d}{wide}"
    extra = (("authentication.kubernetes.io/credential-id", (f"JTI={uid}",)),)
    identity = Identity(f"user-{number}{wide}", uid, tuple(own), extra, "https://issuer.example", "corp")
    return replace(GOOD, identity=identity, expires_at=2e9 + number, handle=RevocationHandle())


SHAPES: dict[str, Callable[[int], Authenticated | Rejected]] = {
    "usual": account,
    "many groups": lambda number: account(number, groups=60),
    "no ASCII": lambda number: account(number, wide="\N{GRINNING FACE}" * 20),
    "claims": lambda number: replace(
        account(number),
        claims=VerifiedClaims(json.loads(json.dumps({str(n): [n + 1000] for n in range(40)}))),
    ),
    "rejected": lambda number: Rejected(
        Reason.REVIEW_REJECTED, f"{number} " + "x" * 300, Evidence("jwks"), handle=RevocationHandle()
    ),
    "rejected with a private detail": lambda number: Rejected(
        Reason.ISSUER_UNKNOWN, private=f"{number} " + "\N{GRINNING FACE}" * 128
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_estimate_is_close_to_the_size_of_a_verdict(shape: str) -> None:
    """The size includes the stored answer and the entry in the cache."""
    verifier = ScriptedVerifier()
    cached = Cached(verifier, FakeClock())
    recorder = Recorder(Metrics(), Audit("none", FakeClock(), lambda: None))
    gate = Gate(
        cached.verifier,
        {"default": Policy("default")},
        HeaderMapper("oauth2-proxy", 65536),
        2048,
        cache=cached.cache,
    )
    serving = Serving(gate, None)
    lane = FastLane(lambda: serving, recorder, FakeClock(), max_header_bytes=4096, max_headers=16)
    gc.collect()
    tracemalloc.start()
    for number in range(KEPT):
        verifier.verdict = SHAPES[shape](number)
        for _ in range(2):  # the second answer is stored with the verdict
            assert lane.answer(REQUEST.format(number).encode(), lane.begin()) is not None
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] / KEPT
    tracemalloc.stop()

    assert 0.6 * taken <= cached.cache.weight / KEPT <= 2.5 * taken


def test_the_estimate_for_a_verdict_does_not_change() -> None:
    """The size that is subtracted on removal equals the size that was added."""
    verdict = account(1)
    before = weight_of(verdict)
    gate = Gate(ScriptedVerifier(verdict), {"default": Policy("default")}, HeaderMapper("remote", 512), 2048)
    gate.try_decide([b"Bearer token"], "default", NO_REQUEST)

    assert weight_of(verdict) == before
