"""Issuers that are down, slow or send invalid responses: 503 instead of 401, the last keys are used, then recovery."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from authgate.dev.compact import OMIT
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.embedded_server import EmbeddedServer
from tests.support.faults import (
    Answer,
    CutOff,
    Drop,
    Fault,
    Flood,
    Hold,
    broken_json,
    failing,
    html,
    json_answer,
    redirect,
)
from tests.support.openid import OpenIDSite
from tests.support.process import free_port, until
from tests.support.service import comes_to, published, running, trusting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.gate import Gate

WELL_KNOWN = "/.well-known/openid-configuration"
QUICK = {"timeout": "60s", "cooldown": "0.1s"}
RESTLESS = {**QUICK, "refresh": "1s"}
BRIEF = {"timeout": "0.3s"}
HUNDRED_MB = 100_000_000

FAULTS: dict[str, tuple[Fault, str]] = {
    "500": (failing(500), "answered 500"),
    "404": (failing(404), "answered 404"),
    "429": (failing(429, retry_after=60), "answered 429"),
    "201": (Answer(201, b'{"keys": []}'), "answered 201"),
    "204": (Answer(204), "answered 204"),
    "html": (html(), "not a "),
    "empty": (Answer(200), "not a "),
    "broken-json": (broken_json(), "not a "),
    "other-json": (json_answer({"kind": "Status"}), "missing"),
    "wrong-types": (json_answer({"keys": {}, "issuer": 1, "jwks_uri": []}), "not a "),
    "no-keys": (json_answer({"keys": []}), "no"),
    "100-mb": (Flood(HUNDRED_MB), "longer than 1048576 bytes"),
    "endless": (Flood(), "longer than 1048576 bytes"),
    "hangs": (Hold(), "no complete response within 0.3 s"),
    "cut-off": (CutOff(), "Payload"),
    "dropped": (Drop(), "disconnected"),
    "no-location": (Answer(302), "redirects to another host"),
}


@asynccontextmanager
async def site_with(path: str, fault: Fault) -> AsyncIterator[tuple[Issuer, EmbeddedServer]]:
    """Run an issuer whose server fails from the start."""
    async with published() as (issuer, server):
        server.faults.set(path, fault)
        try:
            yield issuer, server
        finally:
            server.faults.clear()


def timeout_for(fault: Fault) -> dict[str, str]:
    """Return a short timeout for a server that hangs. All other faults are found without one, however slowly."""
    return BRIEF if isinstance(fault, Hold) else {}


async def reported(gate: Gate) -> str:
    """Return the line of /readyz about the issuer. The gate must not be ready."""
    answer = await gate.admin("/readyz?verbose")
    assert answer.status == 503
    return next(line for line in answer.body.splitlines() if line.startswith("[-]issuer/corp failed: "))


@pytest.mark.parametrize("path", [WELL_KNOWN, "/jwks"], ids=["discovery", "jwks"])
@pytest.mark.parametrize(("fault", "said"), FAULTS.values(), ids=FAULTS.keys())
async def test_without_keys_every_token_is_unavailable(path: str, fault: Fault, said: str) -> None:
    """Valid and forged tokens get 503 with Retry-After. /readyz names the issuer and its answer."""
    async with (
        site_with(path, fault) as (issuer, _),
        running({"jwt": [trusting(issuer, keys=QUICK | timeout_for(fault))]}) as gate,
    ):
        forged = issuer.mint(key=SigningKey.generate("ES256"))
        for token in (issuer.mint(), forged):
            answer = await gate.request(token)
            assert answer.verdict == (503, "keys_unavailable")
            assert int(answer.value("Retry-After")) >= 1
        assert said in await reported(gate)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        pytest.param({"issuer": "http://127.0.0.1:1"}, "its issuer is", id="another-issuer"),
        pytest.param({"issuer": OMIT}, "missing", id="no-issuer"),
        pytest.param({"jwks_uri": OMIT}, "missing", id="no-uri"),
        pytest.param({"jwks_uri": "/jwks"}, "not an absolute", id="relative"),
        pytest.param({"jwks_uri": "file:///etc/passwd"}, "not an absolute", id="file"),
        pytest.param({"jwks_uri": "http://a:b@127.0.0.1/jwks"}, "user information", id="user-info"),
        pytest.param({"jwks_uri": "http://issuer.example.com/jwks"}, "not https", id="plain-http"),
        pytest.param({"jwks_uri": "http://127.0.0.1/\r\nX: y"}, "control characters", id="control"),
        pytest.param({"jwks_uri": "http://[::1"}, "not a URL", id="no-url"),
    ],
)
async def test_an_invalid_discovery_document_is_rejected(members: dict[str, object], said: str) -> None:
    """If it names another issuer, or an invalid address for the keys, no keys are fetched."""
    async with published() as (issuer, server):
        issuer.discovery_changes = members
        async with running({"jwt": [trusting(issuer, keys=QUICK)]}) as gate:
            assert await gate.verdict(issuer.mint()) == (503, "keys_unavailable")
            assert said in await reported(gate)
        assert server.counts["/jwks"] == 0


@pytest.mark.parametrize("path", [WELL_KNOWN, "/jwks"], ids=["discovery", "jwks"])
async def test_a_redirect_to_another_origin_is_not_followed(path: str) -> None:
    """The other origin gets no request, even if only its port differs."""
    async with EmbeddedServer() as elsewhere, published() as (issuer, server):
        server.faults.set(path, redirect(elsewhere.url + path))
        async with running({"jwt": [trusting(issuer, keys=QUICK)]}) as gate:
            assert await gate.verdict(issuer.mint()) == (503, "keys_unavailable")
            assert "redirects to another host" in await reported(gate)
        assert elsewhere.counts == {}


async def test_a_redirect_on_the_same_host_is_followed() -> None:
    """At most three redirects are followed."""
    async with published() as (issuer, server):
        server.faults.set("/jwks", redirect("/jwks?again"), times=3)
        async with running({"jwt": [trusting(issuer, keys=QUICK)]}) as gate:
            assert (await gate.request(issuer.mint())).status == 200
        assert server.counts["/jwks"] == 4


async def test_a_redirect_loop_fails() -> None:
    """The fetch fails after the third redirect."""
    async with site_with("/jwks", redirect("/jwks")) as (issuer, server):
        async with running({"jwt": [trusting(issuer)]}) as gate:
            assert await gate.verdict(issuer.mint()) == (503, "keys_unavailable")
            assert "more than 3 redirects" in await reported(gate)
        assert server.counts["/jwks"] == 4


async def test_an_issuer_that_comes_up_later_is_found() -> None:
    """The gate starts without it, reports the missing keys, and becomes ready without a request."""
    server = EmbeddedServer(port=free_port())
    issuer = Issuer(server.url, SigningKey.generate("ES256"))
    server.add(OpenIDSite(issuer))
    async with running({"jwt": [trusting(issuer, keys=QUICK)]}) as gate:
        assert await gate.verdict(issuer.mint()) == (503, "keys_unavailable")
        assert server.url in await reported(gate)
        async with server:
            await gate.becomes_ready(within=30)
            assert (await gate.request(issuer.mint())).status == 200


async def test_a_long_outage_at_start_ends_within_seconds() -> None:
    """Without keys a fetch is tried every 5 s, because a gate that is not ready gets no requests to start one."""
    async with (
        site_with("/jwks", failing(503)) as (issuer, server),
        running({"jwt": [trusting(issuer)]}) as gate,
    ):
        async with asyncio.timeout(50):  # without the limit of 5 s it takes 63 s
            await server.arrived("/jwks", 7)  # after 1, 2, 4, 5, 5 and 5 s
        server.faults.clear()
        await gate.becomes_ready(within=30)


async def test_a_429_is_honoured() -> None:
    """No fetch is started before Retry-After has passed, however many tokens arrive."""
    async with site_with("/jwks", failing(429, retry_after=60)) as (issuer, server):
        async with running({"jwt": [trusting(issuer, keys=QUICK)]}) as gate:
            for _ in range(20):
                answer = await gate.request(issuer.mint())
                assert answer.verdict == (503, "keys_unavailable")
                await asyncio.sleep(0.1)
            assert int(answer.value("Retry-After")) > 10
        assert server.counts["/jwks"] == 1


async def test_a_forged_token_is_unavailable_while_the_issuer_is_down() -> None:
    """The key may have been replaced during the outage. Once the issuer responds again, the token gets 401."""
    async with published() as (issuer, server), running({"jwt": [trusting(issuer, keys=RESTLESS)]}) as gate:
        await gate.becomes_ready(within=30)
        forged = issuer.mint(key=SigningKey.generate("ES256", kid=issuer.key.kid))
        server.faults.set("/jwks", failing(500))
        assert await gate.verdict(forged) == (503, "keys_unavailable")
        assert (await gate.request(issuer.mint())).status == 200
        server.faults.clear()

        async def refused() -> bool:
            return await gate.verdict(forged) == (401, "signature_invalid")

        await until(refused, within=30)


async def test_an_outage_is_not_cached() -> None:
    """The first request after it uses fetched keys."""
    async with published() as (issuer, server), running({"jwt": [trusting(issuer, keys=QUICK)]}) as gate:
        server.faults.set("/jwks", failing(500))
        token = issuer.mint()
        assert await gate.verdict(token) == (503, "keys_unavailable")
        server.faults.clear()
        await gate.passes(token, within=30)


@pytest.mark.parametrize("fault", ["500", "html", "no-keys", "100-mb", "hangs"])
async def test_the_last_fetched_keys_are_used_during_an_outage(fault: str) -> None:
    """Known keys are used, a new kid gets 503 instead of 401, and /readyz succeeds and shows the failures."""
    keys = RESTLESS | timeout_for(FAULTS[fault][0])
    async with published() as (issuer, server), running({"jwt": [trusting(issuer, keys=keys)]}) as gate:
        await gate.becomes_ready(within=30)
        server.faults.set("/jwks", FAULTS[fault][0])
        issuer.rotate()
        new = issuer.mint()
        async with asyncio.timeout(60):
            while await gate.metric("authgate_jwks_fetches_total", result="failure") < 1:
                await gate.verdict(new)
        assert await gate.verdict(new) == (503, "keys_unavailable")
        assert (await gate.request(issuer.mint(key=issuer.keys[1]))).status == 200
        ready = await gate.admin("/readyz?verbose")
        assert ready.status == 200
        assert "failed fetches since" in ready.body
        server.faults.clear()


async def test_the_last_fetched_keys_are_used_until_max_stale() -> None:
    """After gate.keys.maxStale it is unknown whether a key was revoked."""
    async with published() as (issuer, server):
        entry = trusting(issuer, keys={**RESTLESS, "maxStale": "1s"})
        async with running({"jwt": [entry], "cache": {"ttl": "0s"}}) as gate:
            await gate.passes(issuer.mint(), within=30)
            await server.stop()
            async with asyncio.timeout(60):
                while (await gate.request(issuer.mint())).status == 200:
                    pass
            assert await gate.verdict(issuer.mint()) == (503, "keys_unavailable")
            assert "failed fetches since" in await reported(gate)


async def test_a_hanging_issuer_does_not_delay_others() -> None:
    """Its own tokens wait for gate.keys.timeout. Tokens of another issuer do not wait."""
    async with site_with("/jwks", Hold()) as (issuer, server), published() as (other, _):
        keys = {"timeout": "20s"}
        async with running({"jwt": [trusting(issuer, keys=keys), trusting(other, "other")]}) as gate:
            waiting = asyncio.create_task(gate.verdict(issuer.mint()))
            await server.arrived("/jwks")
            assert (await gate.request(other.mint())).status == 200
            assert (await gate.admin("/readyz")).status == 200
            assert not waiting.done()
            server.faults.clear()
            assert (await waiting)[0] == 200


async def test_a_failing_issuer_gets_few_requests() -> None:
    """One fetch is tried, however many requests wait for it."""
    async with site_with("/jwks", Hold()) as (issuer, server):
        async with running({"jwt": [trusting(issuer, keys=QUICK)]}) as gate:
            waiting = [asyncio.create_task(gate.verdict(issuer.mint(f"u-{n}"))) for n in range(100)]
            await comes_to(gate, len(waiting), "authgate_in_flight_requests")
            await server.stop()
            assert set(await asyncio.gather(*waiting)) == {(503, "keys_unavailable")}
            assert await gate.metric("authgate_jwks_fetches_total", result="failure") >= 1
        assert server.counts["/jwks"] == 1
