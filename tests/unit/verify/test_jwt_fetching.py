"""Tokens whose key is not in memory: when keys are fetched, and with which result."""

from __future__ import annotations

import pytest

from authgate.dev.compact import OMIT, JsonObject
from authgate.dev.keys import SigningKey
from authgate.errors import Reason
from authgate.keys.remote import RefreshRules, RemoteKeySet
from authgate.model import Authenticated, Evidence, Rejected, Unavailable, Verdict
from authgate.verify.jwt import Unresolved
from tests.support.clock import START, FakeClock
from tests.support.key_pool import KeyPool
from tests.support.key_sources import ScriptedSource
from tests.support.tokens import claims, parsed
from tests.support.verifiers import finished, issuer_verifier, judged


class Resolving:
    """A verifier whose keys are fetched from a source."""

    def __init__(self, source: ScriptedSource, clock: FakeClock) -> None:
        self.source = source
        self.verifier = issuer_verifier(RemoteKeySet(source, clock, RefreshRules(cooldown=5)), clock)

    async def verdict(self, text: str) -> Verdict:
        """Return the verdict, after a fetch if one is needed."""
        return await finished(self.verifier.try_verify(parsed(text)))


async def test_the_first_token_fetches_the_key_that_verifies_it(key: SigningKey, clock: FakeClock) -> None:
    """The next token is verified with the key in memory."""
    issuer = Resolving(ScriptedSource(key), clock)
    assert issuer.verifier.verify_locally(parsed(key.sign(claims()))) == Unresolved()
    assert isinstance(await issuer.verdict(key.sign(claims())), Authenticated)
    assert isinstance(judged(issuer.verifier, key.sign(claims())), Authenticated)
    assert issuer.source.fetches == 1


@pytest.mark.parametrize(
    ("headers", "changes", "reason"),
    [
        pytest.param({"typ": "logout+jwt"}, {}, Reason.TYPE_NOT_ACCEPTED, id="another type"),
        pytest.param({"alg": "HS256"}, {}, Reason.ALGORITHM_NOT_ALLOWED, id="algorithm not allowed"),
        pytest.param({}, {"exp": START}, Reason.TOKEN_EXPIRED, id="expired"),
        pytest.param({}, {"nbf": START + 100}, Reason.TOKEN_NOT_YET_VALID, id="not yet valid"),
        pytest.param({}, {"aud": "other"}, Reason.AUDIENCE_MISMATCH, id="another audience"),
        pytest.param({}, {"aud": OMIT}, Reason.AUDIENCE_MISMATCH, id="no audience"),
    ],
)
async def test_a_token_that_is_invalid_anyway_causes_no_fetch(
    key: SigningKey, clock: FakeClock, headers: JsonObject, changes: JsonObject, reason: Reason
) -> None:
    """Its kid is unknown, but the key would not make it valid."""
    issuer = Resolving(ScriptedSource(key), clock)
    verdict = await issuer.verdict(key.sign(claims(changes), headers))

    assert isinstance(verdict, Rejected)
    assert verdict.reason is reason
    assert verdict.evidence == Evidence("none", "corp")
    assert issuer.source.fetches == 0


async def test_the_rejection_of_an_unknown_kid_is_not_final(
    pool: KeyPool, key: SigningKey, clock: FakeClock
) -> None:
    """The key may be published a moment later."""
    issuer = Resolving(ScriptedSource(key), clock)
    verdict = await issuer.verdict(pool.key("RS256", 1, kid="other").sign(claims()))

    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.detail) == (Reason.KEY_UNKNOWN, "the issuer publishes 1 key")
    assert not verdict.final


async def test_unavailable_keys_are_not_a_rejection(key: SigningKey, clock: FakeClock) -> None:
    """The verdict is `Unavailable` with a time to retry after."""
    issuer = Resolving(ScriptedSource(error="the issuer is down"), clock)

    assert await issuer.verdict(key.sign(claims())) == Unavailable(
        Reason.KEYS_UNAVAILABLE, "the issuer is down", 5, Evidence("none", "corp")
    )


async def test_a_fetched_key_of_another_algorithm_is_a_mismatch(
    pool: KeyPool, key: SigningKey, clock: FakeClock
) -> None:
    """The reason is the same as for a key in memory."""
    issuer = Resolving(ScriptedSource(pool.key("ES256", kid="key-1")), clock)
    verdict = await issuer.verdict(key.sign(claims()))

    assert isinstance(verdict, Rejected)
    assert verdict.reason is Reason.ALGORITHM_NOT_ALLOWED


async def test_a_token_that_expires_during_the_fetch_is_rejected(key: SigningKey, clock: FakeClock) -> None:
    """Its time is checked again after its signature."""
    issuer = Resolving(ScriptedSource(key), clock)
    issuer.source.meanwhile = lambda: clock.advance(3600)
    verdict = await issuer.verdict(key.sign(claims()))

    assert isinstance(verdict, Rejected)
    assert verdict.reason is Reason.TOKEN_EXPIRED
