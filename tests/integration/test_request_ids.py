"""Request ids on real ports: in every answer, in the audit log and in the log."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.audit_lines import audit_lines
from tests.support.envoy_messages import asking
from tests.support.gate import AUDIENCE
from tests.support.logs import configured, lines
from tests.support.process import free_port
from tests.support.service import knowing, running, trusting
from tests.support.wire import Reply, ask, bearer

if TYPE_CHECKING:
    from tests.support.gate import Gate

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
UNREACHABLE = "https://127.0.0.1:9"
ID = "7e0d2a4c-9b1f-4a8f-8f0a-0d7c1f3b2a11"
NEW = re.compile(r"[0-9a-f]{32}")
GOOD = bearer(ISSUER.mint("ada", AUDIENCE))
DENIED = bearer(ISSUER.mint("mallory", AUDIENCE))
UNDECIDED = bearer(Issuer(UNREACHABLE, SigningKey.generate("ES256")).mint("ada", AUDIENCE))
REQUESTS = {
    "200": ("GET /verify HTTP/1.1", GOOD),
    "401": ("GET /verify HTTP/1.1",),
    "403": ("GET /verify HTTP/1.1", DENIED),
    "404": ("GET /nothing HTTP/1.1", GOOD),
    "503": ("GET /verify HTTP/1.1", UNDECIDED),
    "400": ("OPTIONS * HTTP/1.1", GOOD),
    "431": ("GET /verify HTTP/1.1", *(f"X-{number}: {'x' * 1000}" for number in range(40))),
}


def document(**server: Any) -> dict[str, Any]:
    """Return a configuration with one issuer whose keys are known and one that cannot be reached."""
    return {
        "jwt": [knowing(ISSUER), trusting(UNREACHABLE, "away")],
        "policies": {"default": {"deny": [{"users": ["corp:mallory"]}]}},
        "server": server,
        "limits": {"maxHeaderBytes": 32768},
    }


async def asked(gate: Gate, request: tuple[str, ...], *more: str) -> Reply:
    """Return the answer to a request with more headers."""
    return await ask(gate.address, *request, *more, "Host: gate")


@pytest.mark.parametrize("fast_lane", [True, False], ids=["lane", "no-lane"])
async def test_every_answer_has_the_request_id(fast_lane: bool) -> None:
    """A well-formed id is returned as it is. Another request gets a new one."""
    async with running(document(fastLane=fast_lane)) as gate:
        for status, request in REQUESTS.items():
            given = await asked(gate, request, f"x-request-id: {ID}")
            assert (given.status, given.value("X-Request-Id")) == (int(status), ID)
            made = [await asked(gate, request, *more) for more in ((), (), ("X-Request-Id: <b>",))]
            assert {reply.status for reply in made} == {int(status)}
            ids = {reply.value("X-Request-Id") for reply in made}
            assert len(ids) == 3
            assert all(map(NEW.fullmatch, ids))


async def test_another_header_can_carry_the_id() -> None:
    """`X-Request-Id` then means nothing."""
    async with running(document(requestID={"header": "X-Correlation-Id"})) as gate:
        for request in REQUESTS.values():
            reply = await asked(gate, request, f"X-Correlation-Id: {ID}", "X-Request-Id: other")
            assert (reply.values("X-Correlation-Id"), reply.values("X-Request-Id")) == ([ID], [])


async def test_ids_can_be_turned_off() -> None:
    """Neither answers nor audit lines have one."""
    log = configured()
    async with running(document(requestID=None)) as gate:
        for request in REQUESTS.values():
            reply = await asked(gate, request, f"X-Request-Id: {ID}")
            assert reply.values("X-Request-Id") == []
    assert ID not in log.getvalue()
    assert "http.request.id" not in log.getvalue()


@pytest.mark.parametrize("fast_lane", [True, False], ids=["lane", "no-lane"])
async def test_the_audit_log_has_the_id_of_the_answer(fast_lane: bool) -> None:
    """This also holds for generated ids, and for verdicts from the cache."""
    log = configured()
    returned = []
    async with running({**document(fastLane=fast_lane), "log": {"audit": "all"}}) as gate:
        for request in (REQUESTS["200"], REQUESTS["401"], REQUESTS["403"], REQUESTS["503"]):
            for more in ((f"X-Request-Id: {ID}",), (), ()):
                reply = await asked(gate, request, *more)
                returned.append((reply.values("X-Auth-Reason"), reply.value("X-Request-Id")))
    written = [line["attributes"] for line in lines(log) if line["scope"] == "authgate.audit"]
    assert len(written) == 12
    reasons = [[] if line["authgate.decision"] == "allow" else [line["authgate.reason"]] for line in written]
    assert list(zip(reasons, [line["http.request.id"] for line in written], strict=True)) == returned


@pytest.mark.parametrize("fast_lane", [True, False], ids=["lane", "no-lane"])
async def test_the_difference_of_a_shadow_has_the_id_of_the_answer(fast_lane: bool) -> None:
    """This also holds for cached verdicts, for requests without a token, and over gRPC."""
    shadow = {"deny": [{"users": ["corp:ada"]}], "anonymous": ["/open"]}
    server = {"proxy": "nginx", "grpc": "127.0.0.1:0", "fastLane": fast_lane}
    log = configured()
    original = ("X-Original-Method: GET", "X-Original-Host: app", "X-Original-URI: /open?secret=1")
    trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    async with (
        running({**document(**server), "policies": {"default": {"shadow": shadow}}}) as gate,
        asking(gate.grpc_address) as send,
    ):
        replies = [
            await asked(gate, request, *original, trace, "X-Forwarded-For: 192.0.2.7")
            for request in (REQUESTS["200"], REQUESTS["200"], REQUESTS["401"])
        ]
        assert [reply.status for reply in replies] == [200, 200, 401]
        over_grpc = await send(GOOD.removeprefix("Authorization: Bearer "))

    found = [line for line in audit_lines(log.getvalue()) if "authgate.shadow" in line["attributes"]]
    ids = [line["attributes"]["http.request.id"] for line in found]
    answered = [reply.value("X-Request-Id") for reply in replies]
    assert ids == [*answered, over_grpc.value("X-Request-Id")]
    for line in found[:3]:
        assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        assert line["attributes"]["client.address"] == "192.0.2.7"
        assert line["attributes"]["url.path"] == "/open"


async def test_envoy_gets_the_id_over_grpc() -> None:
    """An allowed request reaches the app with it, a denied one is answered with it."""
    async with (
        running(document(grpc="127.0.0.1:0")) as gate,
        asking(gate.grpc_address) as send,
    ):
        for token in (GOOD, DENIED, UNDECIDED, "Authorization: Bearer garbage"):
            text = token.removeprefix("Authorization: Bearer ")
            given = await send(text, headers={"x-request-id": ID, "x_request_id": "forged"})
            assert given.value("X-Request-Id") == ID
            assert given.status != 200 or "x_request_id" in given.removed
            assert NEW.fullmatch((await send(text)).value("X-Request-Id"))
        large = await send(None, headers={"x-request-id": ID, "x-large": "x" * 40000})
        assert (large.status, large.value("X-Request-Id")) == (431, ID)


async def test_token_exchange_has_ids() -> None:
    """The answer and the audit line have the same one."""
    port = free_port()
    sections = {
        "signing": {"issuer": f"http://127.0.0.1:{port}", "keyFiles": []},
        "exchange": {"listen": f"127.0.0.1:{port}", "audiences": {"default": ["reports"]}},
    }
    log = configured()
    form = (
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&audience=reports"
        "&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt&subject_token=garbage"
    )
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Request-Id": ID}
    async with running({**document(), **sections}) as gate:
        answer = await gate.client.post(f"http://127.0.0.1:{port}/token", form.encode(), headers.items())
    assert (answer.status, answer.value("X-Request-Id")) == (400, ID)
    assert json.loads(answer.body)["error"] == "invalid_request"
    audited = [line for line in lines(log) if line["scope"] == "authgate.audit"]
    assert [line["attributes"]["http.request.id"] for line in audited] == [ID]
