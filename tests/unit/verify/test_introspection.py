"""What an introspection answer makes of a token: its identity, or why it is rejected."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.errors import Reason
from authgate.model import Authenticated, BearerToken, Rejected, Unavailable, Verdict, present
from authgate.verify.cache import CacheRules, CachingVerifier, VerdictCache
from authgate.verify.introspection import (
    IntrospectedIssuer,
    IntrospectionRules,
    IntrospectionVerifier,
    Introspector,
)
from authgate.verify.mapped import ClaimRules, PrefixedClaim, mapped_identity
from authgate.verify.router import IssuerRouter
from tests.support.clock import START, FakeClock
from tests.support.tokens import AUDIENCE, ISSUER, claims
from tests.support.verifiers import finished, issuer_verifier, static

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.dev.keys import SigningKey
    from authgate.model import JSONValue

OKTA = "https://org.okta.example"
ACTIVE: dict[str, JSONValue] = {"active": True, "sub": "jane", "aud": AUDIENCE, "exp": START + 600}


class Endpoint:
    """An endpoint with answers by token, or an error for every token."""

    def __init__(self, **answers: Mapping[str, JSONValue]) -> None:
        self.answers = dict(answers)
        self.error: ApiError | None = None
        self.asked: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.closed = False

    async def introspect(self, token: str) -> Mapping[str, JSONValue] | None:
        self.asked.append(token)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return self.answers.get(token)

    async def close(self) -> None:
        self.closed = True


def server(
    api: Endpoint,
    clock: FakeClock,
    *,
    issuer: str = "",
    prefix: str = "",
    audience_claims: tuple[str, ...] = ("aud",),
    ttl: float = 60,
    qps: float = 50,
    burst: int = 100,
) -> IntrospectionVerifier:
    """A verifier that names users by `sub`."""
    name = prefix or "opaque"
    rules = IntrospectionRules(
        name=name,
        audiences=frozenset({AUDIENCE}),
        audience_claims=audience_claims,
        issuer=issuer,
        prefix=prefix,
        ttl=ttl,
        negative_ttl=5,
    )
    mapping = ClaimRules(PrefixedClaim("sub", f"{name}:"), groups=PrefixedClaim("groups"))
    identify = partial(mapped_identity, rules=mapping, issuer_name=name)
    introspector = Introspector(api, clock, name=name, qps=qps, burst=burst)
    return IntrospectionVerifier(rules, introspector, identify, clock, keep_claims=True)


async def verdict_on(members: Mapping[str, JSONValue], clock: FakeClock, **given: str) -> Verdict:
    """The verdict on an opaque token with this answer."""
    verifier = server(Endpoint(token=members), clock, **given)  # type: ignore[arg-type]
    return await finished(verifier.try_verify_opaque(BearerToken("token")))


async def test_an_active_token_has_an_identity(clock: FakeClock) -> None:
    """From the members of the answer, until it expires; policies see the members as claims."""
    verdict = await verdict_on({**ACTIVE, "groups": ["staff"], "scope": "read"}, clock)
    assert isinstance(verdict, Authenticated)
    assert (verdict.identity.username, verdict.identity.groups) == (
        "opaque:jane",
        ("staff", "system:authenticated"),
    )
    assert (verdict.identity.issuer_name, verdict.identity.audiences) == ("opaque", (AUDIENCE,))
    assert verdict.expires_at == START + 600
    assert verdict.evidence.source == "introspection"
    assert verdict.claims is not None
    assert verdict.claims.members["scope"] == "read"


ACCEPTED: dict[str, dict[str, JSONValue]] = {
    "no-exp": {"exp": None, "iss": None, "nbf": None},
    "several-audiences": {"aud": ["other", AUDIENCE]},
    "issuer": {"iss": OKTA},
    "bearer": {"token_type": "bearer"},
    "access-token": {"token_type": "access_token", "token_use": "access_token"},
    "typ": {"typ": "Bearer"},
}


@pytest.mark.parametrize("members", ACCEPTED.values(), ids=ACCEPTED.keys())
async def test_an_answer_is_accepted(clock: FakeClock, members: dict[str, JSONValue]) -> None:
    """A null member counts as missing."""
    assert isinstance(await verdict_on({**ACTIVE, **members}, clock, issuer=OKTA), Authenticated)


REJECTED: dict[str, tuple[dict[str, JSONValue], Reason]] = {
    "expired": ({"exp": START}, Reason.TOKEN_EXPIRED),
    "not-yet": ({"nbf": START + 61}, Reason.TOKEN_NOT_YET_VALID),
    "from-the-future": ({"iat": START + 61}, Reason.TOKEN_NOT_YET_VALID),
    "exp-text": ({"exp": "1900000000"}, Reason.CLAIM_MALFORMED),
    "aud-object": ({"aud": {}}, Reason.CLAIM_MALFORMED),
    "sub-number": ({"sub": 1}, Reason.CLAIM_MALFORMED),
    "no-audience": ({"aud": None, "client_id": AUDIENCE}, Reason.AUDIENCE_MISMATCH),
    "other-audience": ({"aud": "other"}, Reason.AUDIENCE_MISMATCH),
    "other-issuer": ({"iss": "https://other.example"}, Reason.ISSUER_UNKNOWN),
    "dpop": ({"token_type": "DPoP"}, Reason.TOKEN_SENDER_CONSTRAINED),
    "cnf": ({"cnf": {"jkt": "x"}}, Reason.TOKEN_SENDER_CONSTRAINED),
    "cnf-null": ({"cnf": None}, Reason.TOKEN_SENDER_CONSTRAINED),
    "refresh-token": ({"token_type": "refresh_token"}, Reason.TYPE_NOT_ACCEPTED),
    "refresh-use": ({"token_use": "refresh_token"}, Reason.TYPE_NOT_ACCEPTED),
    "keycloak-refresh": ({"typ": "Refresh"}, Reason.TYPE_NOT_ACCEPTED),
    "token-type-number": ({"token_type": 1}, Reason.TYPE_NOT_ACCEPTED),
    "no-user": ({"sub": None}, Reason.IDENTITY_INVALID),
}


@pytest.mark.parametrize(("members", "reason"), REJECTED.values(), ids=REJECTED.keys())
async def test_an_active_token_is_rejected(
    clock: FakeClock, members: dict[str, JSONValue], reason: Reason
) -> None:
    """The server reports it as active, but it is not a token for this gate."""
    verdict = await verdict_on({**ACTIVE, **members}, clock, issuer=OKTA)
    assert isinstance(verdict, Rejected)
    assert verdict.reason is reason


async def test_a_client_id_can_be_the_audience(clock: FakeClock) -> None:
    """If it is configured, and no earlier member is there."""
    verifier = server(
        Endpoint(
            one={**ACTIVE, "aud": None, "client_id": AUDIENCE},
            two={**ACTIVE, "aud": "other", "client_id": AUDIENCE},
        ),
        clock,
        audience_claims=("aud", "client_id"),
    )
    assert isinstance(await finished(verifier.try_verify_opaque(BearerToken("two"))), Rejected)
    assert isinstance(await finished(verifier.try_verify_opaque(BearerToken("one"))), Authenticated)


async def test_inactive_and_unavailable_are_different(clock: FakeClock) -> None:
    """Only the server's own word is a 401; authgate's own rejected credentials are an outage."""
    api = Endpoint()
    verifier = server(api, clock)
    inactive = await finished(verifier.try_verify_opaque(BearerToken("token")))
    assert isinstance(inactive, Rejected)
    assert inactive.reason is Reason.INTROSPECTION_INACTIVE
    for kind in ApiErrorKind:
        api.error = ApiError(kind, "down", 7)
        down = await finished(server(api, clock).try_verify_opaque(BearerToken("token")))
        assert isinstance(down, Unavailable)
        assert (down.reason, down.retry_after) == (Reason.INTROSPECTION_UNAVAILABLE, 7)
    assert not (await _status_after(api, clock))[0]
    api.error = None
    assert (await _status_after(api, clock))[0]


async def _status_after(api: Endpoint, clock: FakeClock) -> tuple[bool, str]:
    verifier = server(api, clock)
    await verifier.probe()
    status = verifier.status()
    return status.usable, status.detail


async def test_a_429_stops_requests_for_its_retry_after(clock: FakeClock) -> None:
    """Without asking again."""
    api = Endpoint(token=ACTIVE)
    api.error = ApiError(ApiErrorKind.RATE_LIMITED, "slow down", 7)
    verifier = server(api, clock)
    for _ in range(3):
        assert isinstance(await finished(verifier.try_verify_opaque(BearerToken("token"))), Unavailable)
    assert api.asked == ["token"]
    api.error = None
    clock.advance(7)
    assert isinstance(await finished(verifier.try_verify_opaque(BearerToken("token"))), Authenticated)


async def test_concurrent_requests_share_one_request(clock: FakeClock) -> None:
    """And all get its answer."""
    api = Endpoint(token=ACTIVE)
    api.open.clear()
    verifier = server(api, clock)
    waiting = [
        asyncio.ensure_future(finished(verifier.try_verify_opaque(BearerToken("token")))) for _ in range(5)
    ]
    await asyncio.sleep(0)
    api.open.set()
    assert all(isinstance(verdict, Authenticated) for verdict in await asyncio.gather(*waiting))
    assert api.asked == ["token"]
    await verifier.close()
    assert api.closed


async def test_invented_tokens_cannot_use_up_the_budget_of_known_ones(clock: FakeClock) -> None:
    """A flood is throttled (503); a token that was active lately has a budget of its own."""
    verifier = server(Endpoint(token=ACTIVE), clock, qps=1, burst=2)
    assert isinstance(await finished(verifier.try_verify_opaque(BearerToken("token"))), Authenticated)
    verdicts = [await finished(verifier.try_verify_opaque(BearerToken(f"invented-{n}"))) for n in range(5)]
    assert verdicts[-1].reason is Reason.INTROSPECTION_THROTTLED  # type: ignore[union-attr]
    assert isinstance(await finished(verifier.try_verify_opaque(BearerToken("token"))), Authenticated)
    assert verifier.saturation()["opaque"] > 0


async def test_answers_are_cached(clock: FakeClock) -> None:
    """Active ones until they expire, for at most `ttl`; inactive ones for `negative_ttl`."""
    short = {**ACTIVE, "exp": START + 10}
    api = Endpoint(token=ACTIVE, short=short)
    cache = VerdictCache(clock, CacheRules(ttl=60, negative_ttl=30))
    verifier = CachingVerifier(IssuerRouter({}, introspection=[server(api, clock, ttl=20)]), cache, clock)

    async def asked(text: str) -> int:
        api.asked.clear()
        await finished(verifier.try_verify(BearerToken(text)))
        return len(api.asked)

    for text in ("token", "short", "none"):
        assert await asked(text) == 1
        assert await asked(text) == 0
    clock.advance(5)
    assert [await asked(text) for text in ("token", "short", "none")] == [0, 0, 1]
    clock.advance(5)
    assert [await asked(text) for text in ("token", "short")] == [0, 1]
    clock.advance(11)
    assert await asked("token") == 1


async def test_an_opaque_token_is_sent_to_one_server(clock: FakeClock) -> None:
    """The one with the longest prefix; if it knows nothing of the token, no other is asked."""
    github, other, rest = Endpoint(), Endpoint(), Endpoint()
    servers = [
        server(rest, clock),
        server(github, clock, prefix="gho_"),
        server(other, clock, prefix="gho_x"),
    ]
    router = IssuerRouter({}, introspection=servers)
    for text in ("gho_1", "gho_x2", "abc", "a.b.c", "ya29.x"):
        assert router.recognize(text.encode(), b"", present(clock)) is None
        assert isinstance(await finished(router.try_verify(BearerToken(text))), Rejected)
    assert (github.asked, other.asked, rest.asked) == (["gho_1"], ["gho_x2"], ["abc", "a.b.c", "ya29.x"])
    only = IssuerRouter({}, introspection=servers[1:2])
    verdict = await finished(only.try_verify(BearerToken("abc")))
    assert isinstance(verdict, Rejected)
    assert verdict.reason is Reason.TOKEN_OPAQUE


async def test_jwts_of_the_issuer_are_introspected(clock: FakeClock, key: SigningKey) -> None:
    """Not those of another one, and none that has expired or is bound to its sender."""
    good = key.sign(claims(iss=OKTA))
    api = Endpoint(**{good: ACTIVE})
    verifier = server(api, clock, issuer=OKTA)
    router = IssuerRouter({OKTA: verifier}, introspection=[verifier])

    async def reason(text: str) -> object:
        verdict = await finished(router.try_verify(BearerToken(text)))
        return "active" if isinstance(verdict, Authenticated) else verdict.reason

    assert await reason(good) == "active"
    assert await reason(key.sign(claims(iss="https://other.example"))) is Reason.ISSUER_UNKNOWN
    assert await reason(key.sign(claims(iss=OKTA, exp=START - 100))) is Reason.TOKEN_EXPIRED
    assert await reason(key.sign(claims(iss=OKTA, cnf={"jkt": "x"}))) is Reason.TOKEN_SENDER_CONSTRAINED
    assert api.asked == [good]


async def test_locally_verified_jwts_are_confirmed(
    clock: FakeClock, key: SigningKey, stranger: SigningKey
) -> None:
    """A forged one is never sent; a revoked one is rejected; the identity is that of the token's own claims."""
    good, revoked = key.sign(claims(sub="jane")), key.sign(claims(sub="joe"))
    answer: dict[str, JSONValue] = {"active": True, "sub": "someone else", "exp": START + 5}
    api = Endpoint(**{good: answer})
    local = issuer_verifier(static(key), clock)
    router = IssuerRouter({ISSUER: IntrospectedIssuer(local, server(api, clock))})

    verdict = await finished(router.try_verify(BearerToken(good)))
    assert isinstance(verdict, Authenticated)
    assert (verdict.identity.username, verdict.expires_at, verdict.max_age) == ("jane", START + 5, 60)
    assert verdict.evidence.source == "introspection"
    assert verdict.evidence.issuer_name == "corp"
    assert verdict.evidence.key is not None

    rejected = await finished(router.try_verify(BearerToken(revoked)))
    assert isinstance(rejected, Rejected)
    assert rejected.reason is Reason.INTROSPECTION_INACTIVE

    forged = await finished(router.try_verify(BearerToken(stranger.sign(claims()))))
    assert isinstance(forged, Rejected)
    assert api.asked == [good, revoked]

    wrong: tuple[dict[str, JSONValue], ...] = (
        {"aud": "other"},
        {"iss": "https://other.example"},
        {"cnf": {}},
    )
    for members in wrong:
        api.answers[good] = {"active": True, **members}
        assert isinstance(await finished(router.try_verify(BearerToken(good))), Rejected)
    api.error = ApiError(ApiErrorKind.TIMEOUT, "slow")
    assert isinstance(await finished(router.try_verify(BearerToken(good))), Unavailable)
