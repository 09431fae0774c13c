"""Issuers: where their keys are found, which requests they get, and how keys change while the gate runs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from authgate.dev.compact import JsonObject
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.tls import throwaway_certificate
from tests.support.embedded_server import EmbeddedServer
from tests.support.fake_api import FakeAPI
from tests.support.faults import Hold, json_answer
from tests.support.openid import OpenIDSite
from tests.support.process import until
from tests.support.service import comes_to, published, running, trusting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.fake_api import Answer
    from tests.support.gate import Gate

WELL_KNOWN = "/.well-known/openid-configuration"
QUICK = {"cooldown": "0.1s"}

Site = tuple[Issuer, EmbeddedServer]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """An issuer, and the server that publishes its keys."""
    async with published() as it:
        yield it


def documents(issuer: Issuer) -> Answer:
    """Return a handler that responds with the issuer's documents."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(issuer.discovery() if request.path == WELL_KNOWN else issuer.jwks())

    return answer


async def cooled(gate: Gate) -> None:
    """Wait until an unknown kid may start a fetch again."""

    async def passed() -> bool:
        return time.time() - await gate.metric("authgate_jwks_last_success_timestamp_seconds") > 0.15

    await until(passed, within=30)


async def test_keys_are_found_by_discovery(site: Site) -> None:
    """Only the issuer's URL is configured. authgate finds the keys with two requests."""
    issuer, server = site
    async with running({"jwt": [trusting(issuer)]}) as gate:
        assert (await gate.request(issuer.mint())).status == 200
    assert server.counts == {WELL_KNOWN: 1, "/jwks": 1}


async def test_a_discovery_document_can_have_another_url(site: Site) -> None:
    """issuer.discoveryURL works as in kube-apiserver. The document must still name the configured issuer."""
    _, server = site
    issuer = Issuer("http://localhost/named", SigningKey.generate("ES256"), jwks_uri=server.url + "/k")
    server.add(OpenIDSite(issuer, discovery_prefix="/else"))
    entry = trusting(issuer)
    entry["issuer"]["discoveryURL"] = f"{server.url}/else{WELL_KNOWN}"
    async with running({"jwt": [entry]}) as gate:
        assert (await gate.request(issuer.mint())).status == 200


async def test_a_jwks_url_needs_no_discovery(site: Site) -> None:
    """gate.jwksURL is for issuers without a discovery document."""
    issuer, server = site
    async with running({"jwt": [trusting(issuer, jwksURL=issuer.jwks_uri)]}) as gate:
        assert (await gate.request(issuer.mint())).status == 200
    assert server.counts == {"/jwks": 1}


async def test_a_private_authority_is_trusted_if_configured() -> None:
    """issuer.certificateAuthority contains it in PEM."""
    certificate = throwaway_certificate()
    async with EmbeddedServer(certificate=certificate) as server:
        issuer = Issuer(server.url, SigningKey.generate("ES256"))
        server.add(OpenIDSite(issuer))
        entry = trusting(issuer)
        entry["issuer"]["certificateAuthority"] = certificate.ca_pem.decode()
        async with running({"jwt": [entry]}) as gate:
            assert (await gate.request(issuer.mint())).status == 200


@pytest.mark.parametrize("given", ["another", "none"])
async def test_an_untrusted_certificate_ends_the_fetch(given: str) -> None:
    """The server gets no request, and /readyz names the setting for its CA."""
    async with EmbeddedServer(certificate=throwaway_certificate()) as server:
        issuer = Issuer(server.url, SigningKey.generate("ES256"))
        entry = trusting(issuer)
        if given == "another":
            entry["issuer"]["certificateAuthority"] = throwaway_certificate().ca_pem.decode()
        async with running({"jwt": [entry]}) as gate:
            assert await gate.verdict(issuer.mint()) == (503, "keys_unavailable")
            assert "set certificateAuthority to its CA" in (await gate.admin("/readyz?verbose")).body
    assert server.counts == {}


async def test_plain_http_behind_an_https_url_is_an_outage(site: Site) -> None:
    """A failed TLS handshake is reported with its cause."""
    issuer, server = site
    issuer.url = server.url.replace("http:", "https:")
    async with running({"jwt": [trusting(issuer)]}) as gate:
        assert await gate.verdict(issuer.mint()) == (503, "keys_unavailable")
        assert "SSL" in (await gate.admin("/readyz?verbose")).body


async def test_the_token_file_is_read_for_every_fetch(tmp_path: Path) -> None:
    """The token of gate.keys.tokenFile is replaced while a pod runs."""
    issuer = Issuer("", SigningKey.generate("ES256"))
    token_file = tmp_path / "token"
    token_file.write_text("first\n")
    async with FakeAPI(documents(issuer)) as server:
        issuer.url, issuer.jwks_uri = server.url, server.url + "/jwks"
        keys = {**QUICK, "tokenFile": str(token_file)}
        async with running({"jwt": [trusting(issuer, keys=keys)]}) as gate:
            await gate.passes(issuer.mint(), within=30)
            token_file.write_text("second\n")
            issuer.rotate()
            await gate.passes(issuer.mint(), within=30)
        shown = [request.headers.get("Authorization") for request in server.received]
    assert shown == ["Bearer first"] * 2 + ["Bearer second"] * 2


async def test_the_token_is_sent_only_to_the_issuers_host(tmp_path: Path) -> None:
    """If the keys are on a different host than the discovery document, that host does not get the token."""
    issuer = Issuer("", SigningKey.generate("ES256"))
    (tmp_path / "token").write_text("mine")
    async with FakeAPI(documents(issuer)) as named, FakeAPI(documents(issuer)) as other:
        issuer.url, issuer.jwks_uri = named.url, other.url + "/jwks"
        async with running({"jwt": [trusting(issuer, keys={"tokenFile": str(tmp_path / "token")})]}) as gate:
            await gate.passes(issuer.mint(), within=30)
        assert [request.headers.get("Authorization") for request in named.received] == ["Bearer mine"]
        assert [request.headers.get("Authorization") for request in other.received] == [None]


async def test_a_missing_token_file_is_an_outage(site: Site, tmp_path: Path) -> None:
    """Keys are not fetched without it. They are fetched as soon as the file exists."""
    issuer, server = site
    token_file = tmp_path / "token"
    entry = trusting(issuer, keys={**QUICK, "tokenFile": str(token_file)})
    async with running({"jwt": [entry]}) as gate:
        assert await gate.verdict(issuer.mint()) == (503, "keys_unavailable")
        assert f"{token_file}: the token file cannot be read" in (await gate.admin("/readyz?verbose")).body
        assert server.counts == {}
        token_file.write_text("mine")
        await gate.passes(issuer.mint(), within=30)


async def test_a_bad_key_does_not_affect_the_others(site: Site) -> None:
    """Keys that cannot be used are skipped and counted."""
    issuer, _ = site
    secret: JsonObject = {"kty": "oct", "k": "c2VjcmV0", "kid": issuer.key.kid}
    issuer.bad_keys = [secret, {"kty": "RSA"}, {}, SigningKey.generate("ES384").jwk({"use": "enc"})]
    async with running({"jwt": [trusting(issuer)]}) as gate:
        assert (await gate.request(issuer.mint())).status == 200
        assert await gate.metric("authgate_jwks_skipped_keys", issuer="corp") == 3
        assert await gate.metric("authgate_jwks_keys", issuer="corp") == 1


async def test_many_requests_share_one_fetch(site: Site) -> None:
    """Without keys, authgate fetches once for all requests that wait."""
    issuer, server = site
    async with running({"jwt": [trusting(issuer)]}) as gate:
        verdicts = await asyncio.gather(*(gate.verdict(issuer.mint(f"user-{n}")) for n in range(50)))
    assert {status for status, _ in verdicts} == {200}
    assert server.counts["/jwks"] == 1


async def test_invented_kids_start_one_fetch_per_cooldown(site: Site) -> None:
    """The issuer gets no more requests, however many tokens have an unknown kid."""
    issuer, server = site
    stranger = SigningKey.generate("ES256")
    tokens = [issuer.mint(key=stranger, headers={"kid": f"kid-{number}"}) for number in range(60)]
    async with running({"jwt": [trusting(issuer, keys={"cooldown": "1s", "timeout": "60s"})]}) as gate:
        await gate.passes(issuer.mint(), within=30)
        server.faults.set("/jwks", Hold())  # until all tokens have arrived, however long that takes
        waiting = [asyncio.create_task(gate.verdict(token)) for token in tokens]
        await comes_to(gate, len(tokens), "authgate_in_flight_requests")
        server.faults.clear()
        assert set(await asyncio.gather(*waiting)) == {(401, "key_unknown")}
    assert server.counts["/jwks"] == 2


async def test_a_key_replaced_under_its_kid_works_at_its_first_request(site: Site) -> None:
    """This also holds right after a fetch. Tokens of the old key are rejected from then on."""
    issuer, server = site
    async with running({"jwt": [trusting(issuer)]}) as gate:
        older = issuer.mint()
        await gate.passes(older, within=30)
        issuer.rotate(SigningKey.generate("ES256", kid=issuer.key.kid), overlap=False)
        assert (await gate.request(issuer.mint())).status == 200
        assert await gate.verdict(older) == (401, "signature_invalid")
    assert server.counts["/jwks"] == 2


async def test_a_key_replaced_without_a_kid_works_at_its_first_request() -> None:
    """Neither its JWK nor its tokens have a kid."""
    async with published(key=SigningKey.generate("ES256").without_kid()) as (issuer, server):
        async with running({"jwt": [trusting(issuer)]}) as gate:
            await gate.passes(issuer.mint(), within=30)
            issuer.rotate(SigningKey.generate("ES256").without_kid(), overlap=False)
            assert (await gate.request(issuer.mint())).status == 200
        assert server.counts["/jwks"] == 2


async def test_forged_tokens_start_one_fetch(site: Site) -> None:
    """Only the first of a hundred tokens with a known kid and a wrong signature starts a fetch."""
    issuer, server = site
    forger = SigningKey.generate("ES256", kid=issuer.key.kid)
    async with running({"jwt": [trusting(issuer, keys=QUICK)]}) as gate:
        await gate.passes(issuer.mint(), within=30)
        for number in range(100):
            verdict = await gate.verdict(issuer.mint(f"user-{number}", key=forger))
            assert verdict == (401, "signature_invalid")
    assert server.counts["/jwks"] == 2


async def test_a_token_that_was_rejected_before_its_key_was_known_is_accepted_later(site: Site) -> None:
    """The cached rejection ends with the fetch of the key, even if cache.negativeTTL is longer."""
    issuer, _ = site
    forger = SigningKey.generate("ES256", kid=issuer.key.kid)
    document = {
        "jwt": [trusting(issuer, keys={**QUICK, "refresh": "4s"})],
        "cache": {"negativeTTL": "60s"},
    }
    async with running(document) as gate:
        await gate.passes(issuer.mint(), within=30)
        assert await gate.verdict(issuer.mint(key=forger)) == (401, "signature_invalid")
        issuer.rotate(SigningKey.generate("ES256", kid=issuer.key.kid), overlap=False)
        token = issuer.mint()
        assert await gate.verdict(token) == (401, "signature_invalid")
        await gate.passes(token, within=30)


async def test_a_new_key_within_the_cooldown_is_unavailable(site: Site) -> None:
    """Its tokens get 503 with Retry-After and a reason of its own, and never 401. The retry is allowed."""
    issuer, server = site
    async with running({"jwt": [trusting(issuer, keys={"cooldown": "3s"})]}) as gate:
        await gate.passes(issuer.mint(), within=30)
        issuer.rotate()
        while (answer := await gate.request(issuer.mint())).status == 200:
            issuer.rotate()  # the machine was so busy that the cooldown was nearly over: it has begun again
        assert answer.verdict == (503, "key_pending")
        fetched = server.counts["/jwks"]
        await asyncio.sleep(int(answer.value("Retry-After")))
        assert (await gate.request(issuer.mint())).status == 200
    assert server.counts["/jwks"] == fetched + 1


async def test_a_new_key_waits_for_a_fetch_that_is_due_soon(site: Site) -> None:
    """The request is decided by the keys of the next fetch."""
    issuer, server = site
    async with running({"jwt": [trusting(issuer, keys={"cooldown": "1s"})]}) as gate:
        await gate.passes(issuer.mint(), within=30)
        issuer.rotate()
        verdicts = await asyncio.gather(*(gate.verdict(issuer.mint(f"user-{n}")) for n in range(50)))
        assert set(verdicts) == {(200, "")}
    assert server.counts["/jwks"] == 2


async def test_an_older_key_set_of_a_lagging_replica_denies_no_token(site: Site) -> None:
    """One response lacks the new key. Tokens of this key get 200 or 503, never 401, and soon 200 again."""
    issuer, server = site
    before = issuer.jwks()
    async with running({"jwt": [trusting(issuer, keys={"cooldown": "3s", "refresh": "5s"})]}) as gate:
        await gate.passes(issuer.mint(), within=30)
        issuer.rotate()
        await gate.passes(issuer.mint(), within=30)
        server.faults.set("/jwks", json_answer(before), times=1)
        lagging = server.counts["/jwks"] + 1
        statuses: list[int] = []
        async with asyncio.timeout(60):
            while server.counts["/jwks"] <= lagging or statuses[-1] != 200:
                statuses.append((await gate.request(issuer.mint())).status)
    assert set(statuses) == {200, 503}


async def test_key_requests_bypass_caches() -> None:
    """A cache must not respond with the old keys to a fetch for a new key (RFC 9111, section 5.2.1.4)."""
    issuer = Issuer("", SigningKey.generate("ES256"))
    async with FakeAPI(documents(issuer)) as server:
        issuer.url, issuer.jwks_uri = server.url, server.url + "/jwks"
        async with running({"jwt": [trusting(issuer)]}) as gate:
            await gate.passes(issuer.mint(), within=30)
        assert {request.headers.get("Cache-Control") for request in server.received} == {"no-cache"}


async def test_a_new_key_works_at_its_first_request(site: Site) -> None:
    """An unknown kid starts a fetch, and the request waits for it."""
    issuer, _ = site
    async with running({"jwt": [trusting(issuer, keys=QUICK)]}) as gate:
        await gate.passes(issuer.mint(), within=30)
        await cooled(gate)
        issuer.rotate()
        assert (await gate.request(issuer.mint())).status == 200


async def test_an_older_key_is_valid_while_it_is_published(site: Site) -> None:
    """Tokens that were signed before a rotation remain valid, and their verdicts stay cached."""
    issuer, _ = site
    async with running({"jwt": [trusting(issuer, keys=QUICK)]}) as gate:
        older = issuer.mint()
        await gate.passes(older, within=30)
        issuer.rotate(overlap=True)
        await gate.passes(issuer.mint(), within=30)
        assert (await gate.request(older)).status == 200
        assert await gate.metric("authgate_verify_requests_total", source="cache", decision="allow") >= 1


async def test_verdicts_of_a_withdrawn_key_are_removed(site: Site) -> None:
    """A cached verdict is valid only as long as its key is published."""
    issuer, _ = site
    async with running({"jwt": [trusting(issuer, keys=QUICK)]}) as gate:
        older = issuer.mint()
        await gate.passes(older, within=30)
        issuer.rotate(overlap=False)
        await gate.passes(issuer.mint(), within=30)
        assert await gate.verdict(older) == (401, "key_unknown")


async def test_keys_are_refreshed_in_the_background(site: Site) -> None:
    """After gate.keys.refresh a withdrawn key is removed, even if no token has an unknown kid."""
    issuer, server = site
    async with running({"jwt": [trusting(issuer, keys={"refresh": "1s"})]}) as gate:
        older = issuer.mint()
        await gate.passes(older, within=30)
        issuer.rotate(overlap=False)
        await server.arrived("/jwks", 2)
        await comes_to(gate, 2, "authgate_jwks_fetches_total", result="success")
        assert await gate.verdict(older) == (401, "key_unknown")


async def test_a_key_is_only_valid_for_its_own_issuer(site: Site) -> None:
    """This also holds if another issuer uses the same kid."""
    issuer, _ = site
    async with (
        published() as (other, _),
        running({"jwt": [trusting(issuer), trusting(other, "other")]}) as gate,
    ):
        forged = issuer.mint(key=other.key)
        same_kid = issuer.mint(key=other.key, headers={"kid": issuer.key.kid})
        assert await gate.verdict(forged) == (401, "key_unknown")
        assert await gate.verdict(same_kid) == (401, "signature_invalid")
        assert (await gate.request(other.mint())).value("X-Auth-Request-User") == "other:user-1"
