"""Envoy's gRPC ext_authz on a real port: answers as over HTTP, health, limits, and shutdown."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from authgate.config import load
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.errors import Reason
from authgate.model import BearerToken, Unavailable, Verdict
from authgate.observability.metrics import Metrics
from authgate.server.grpc.services import AUTHORIZATION
from authgate.server.http.head_budget import HeadBudget
from authgate.service import ListenError, Service
from tests.support.envoy_messages import CHECK, Asker, asking, check_request
from tests.support.gate import AUDIENCE, GateProcess
from tests.support.grpc_gate import answering
from tests.support.logs import configured
from tests.support.process import free_port, until
from tests.support.service import knowing, running, trusting, written
from tests.support.verifiers import ScriptedVerifier
from tests.support.workers import Crew

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.gate import Gate

IN_EVERY_LOOP = True
ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
POLICIES = {
    "default": {
        "deny": [{"users": ["corp:mallory"]}],
        "anonymous": ["/open/*"],
        "rules": [
            {"hosts": ["docs.example.com"], "methods": ["GET"], "paths": ["/pages/*"], "anonymous": True}
        ],
    },
    "billing": {"allow": [{"users": ["corp:bill"]}]},
}
HEALTH = "/grpc.health.v1.Health/Check"


def minted(name: str = "ada", **claims: Any) -> str:
    """Return a token for the gate."""
    return ISSUER.mint(name, AUDIENCE, claims=claims)


@asynccontextmanager
async def asked(**more: Any) -> AsyncIterator[tuple[Gate, Asker]]:
    """A gate without `server.proxy`, and Envoy's requests to it."""
    document = {"jwt": [knowing(ISSUER)], "policies": POLICIES, "server": {"grpc": "127.0.0.1:0"}, **more}
    async with running(document) as gate, asking(gate.grpc_address) as ask:
        yield gate, ask


async def health(ask: Asker, service: str = "") -> int:
    """Return the answer of the health service."""
    call = ask.channel.unary_unary(
        HEALTH,
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    status: int = (await call(HealthCheckRequest(service=service), timeout=60)).status
    return status


async def refused(call: Any) -> grpc.StatusCode:
    """Return the status code of a failing call."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return refusal.value.code()


TOKENS = {
    "good": minted(groups=["dev", "a,b"]),
    "none": None,
    "expired": minted(exp=1),
    "denied": minted("mallory"),
    "garbage": "garbage",
    "another-audience": ISSUER.mint("ada", "another"),
    "too-large": "x" * 20_000,
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
async def test_the_answer_is_the_same_as_over_http(token: str | None, policy: str) -> None:
    """Status and headers for the same token and policy, except headers without a value."""
    async with asked() as (gate, ask):
        path = "/verify" if policy == "default" else f"/policies/{policy}/verify"
        given = {"x-request-id": "the-same"}
        over_http = await gate.request(token, f"{path}/", given.items())
        over_grpc = await ask(token, policy=policy, headers=given)
    framing = {"content-length", "server", "date"} | ({"cache-control"} if over_http.status == 200 else set())
    told = [
        (name.lower(), value) for name, value in over_http.headers if value and name.lower() not in framing
    ]
    headers = [(name.lower(), value) for name, value in over_grpc.headers]
    assert (over_grpc.status, headers) == (over_http.status, told)


async def test_an_unknown_policy() -> None:
    """It gets 404, like the path of an unknown policy over HTTP."""
    async with asked() as (_, ask):
        assert (await ask(minted(), policy="unknown")).verdict == (404, "no_such_endpoint")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"path": "/open/page?x=1"}, 200),
        ({"path": "/open/../secret"}, 401),
        ({"path": "/pages/1", "host": "docs.example.com"}, 200),
        ({"path": "/pages/1", "host": "docs.example.com", "method": "POST"}, 401),
        ({"path": "/pages/1"}, 401),
        ({"path": "/secret", "headers": {"x-original-uri": "/open/page", ":path": "/open/page"}}, 401),
    ],
    ids=["open", "dots", "rule", "method", "host", "lies"],
)
async def test_rules_use_the_request_that_envoy_sends(request_: dict[str, Any], status: int) -> None:
    """It needs no `server.proxy`, and no headers that a client could send."""
    async with asked() as (_, ask):
        assert (await ask(**request_)).status == status


async def test_two_credentials_are_refused() -> None:
    """This does not depend on whether Envoy joins repeated headers."""
    token = minted()
    one = f"Bearer {token}".encode()
    async with asked() as (_, ask):
        joined = await ask(headers={"authorization": f"Bearer {token},Bearer {token}"})
        single = await ask(raw=[("authorization", one), ("Authorization", one)])
    assert joined.verdict == single.verdict == (401, "multiple_credentials")


async def test_tokens_are_read_from_the_configured_sources() -> None:
    """Here from a cookie and from the query of Envoy's path. The response has these headers without the token."""
    places = {"sources": [{"cookie": "session"}, {"query": "access_token"}]}
    token = minted()
    async with asked(credential=places) as (_, ask):
        cookie = await ask(headers={"cookie": f"theme=dark; session={token}"})
        query = await ask(path=f"/a?x=1&access_token={token}")
        both = await ask(path=f"/a?access_token={token}", headers={"cookie": f"session={token}"})
    assert (cookie.status, cookie.value("X-Auth-Forward-Cookie")) == (200, "theme=dark")
    assert (query.status, query.value("X-Auth-Forward-Uri")) == (200, "/a?x=1")
    assert both.verdict == (401, "multiple_credentials")


async def test_a_basic_password() -> None:
    """With a listed username it is a token. Envoy gets both challenges in one header."""
    password = base64.b64encode(f"oauth2:{minted()}".encode()).decode()
    async with asked(credential={"sources": [{"basic": {"usernames": ["oauth2"]}}]}) as (_, ask):
        accepted = await ask(headers={"authorization": f"Basic {password}"})
        refused_ = await ask()
    assert accepted.status == 200
    assert refused_.value("WWW-Authenticate") == (
        'Basic realm="authgate", charset="UTF-8", Bearer realm="authgate"'
    )


async def test_an_ignored_authorization_is_left_to_the_app() -> None:
    """It is not a credential, and Envoy does not remove it."""
    places = {"authorization": "ignore", "sources": [{"header": "X-Token"}]}
    headers = {"authorization": "Basic YXBwOnNlY3JldA==", "x-token": minted()}
    async with asked(credential=places) as (_, ask):
        answer = await ask(headers=headers)
        alone = await ask(headers={"authorization": f"Bearer {minted()}"})
    assert answer.status == 200
    assert "authorization" not in [name.lower() for name in answer.removed]
    assert alone.verdict == (401, "no_credential")


async def test_calls_are_counted_and_audited_like_requests() -> None:
    """They have the same metrics and audit lines. No call stays in flight."""
    stream = configured()
    async with asked() as (gate, ask):
        await ask(minted())
        await ask(minted("mallory"))
        counted = {
            (sample.labels["decision"], sample.labels["reason"], sample.labels["policy"]): sample.value
            for sample in await gate.samples()
            if sample.name == "authgate_verify_requests_total" and sample.value
        }
        assert await gate.metric("authgate_in_flight_requests") == 0
    assert counted == {("allow", "authenticated", "default"): 1, ("deny", "denied", "default"): 1}
    audit = [json.loads(line) for line in stream.getvalue().splitlines() if '"authgate.audit"' in line]
    assert [line["attributes"]["user.name"] for line in audit] == ["corp:mallory"]


async def test_an_open_call_is_in_flight() -> None:
    """The metric counts it until it is answered."""
    metrics, verifier = Metrics(), ScriptedVerifier()
    verifier.held = True
    async with answering(verifier, metrics) as gate, asking(gate.address) as ask:
        waiting = asyncio.create_task(ask(minted()))
        await until(lambda: _is(metrics.in_flight == 1), within=30)
        verifier.release()
        assert (await waiting).status == 200
    assert metrics.in_flight == 0


async def _is(holds: bool) -> bool:
    return holds


async def test_a_cancelled_call_leaves_nothing_behind() -> None:
    """Envoy's timeout cancels the call."""
    metrics, verifier = Metrics(), ScriptedVerifier()
    verifier.held = True
    async with answering(verifier, metrics) as gate, asking(gate.address) as ask:
        call = ask.channel.unary_unary(CHECK)(check_request(minted()).SerializeToString())
        await until(lambda: _is(metrics.in_flight == 1), within=30)
        call.cancel()
        await until(lambda: _is(metrics.in_flight == 0), within=30)
        verifier.release()
    assert metrics.internal_errors == 0


class Broken(ScriptedVerifier):
    """A verifier with a bug that quotes the token."""

    def try_verify(self, token: BearerToken) -> Verdict:
        raise RuntimeError(f"cannot make anything of {token.text}")


async def test_an_internal_error_is_a_503_without_details() -> None:
    """Its log line quotes no token."""
    stream, metrics, token = configured(), Metrics(), minted()
    async with answering(Broken(), metrics) as gate, asking(gate.address) as ask:
        answer = await ask(token)
    assert answer.verdict == (503, "internal_error")
    assert answer.value("Retry-After") == "1"
    assert metrics.internal_errors == 1
    assert "RuntimeError" in stream.getvalue()
    assert token not in stream.getvalue()


async def test_unavailable_has_retry_after() -> None:
    """It is the same as over HTTP."""
    verdict = Unavailable(Reason.REVIEW_UNAVAILABLE, retry_after=7)
    async with answering(ScriptedVerifier(verdict)) as gate, asking(gate.address) as ask:
        answer = await ask(minted())
    assert (answer.verdict, answer.value("Retry-After")) == ((503, "review_unavailable"), "7")


async def test_health_is_readiness() -> None:
    """It can be requested with an empty service name and with that of Authorization."""
    async with asked() as (gate, ask):
        assert [await health(ask), await health(ask, AUTHORIZATION)] == [HealthCheckResponse.SERVING] * 2
        gate.begin_ending()
        assert await health(ask) == HealthCheckResponse.NOT_SERVING
        assert (await ask(minted())).status == 200


async def test_a_gate_without_keys_is_not_serving() -> None:
    """It accepts calls, and its health shows that it cannot decide."""
    async with asked(jwt=[trusting(f"http://127.0.0.1:{free_port()}")]) as (_, ask):
        assert await health(ask) == HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize(
    "method",
    [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/envoy.service.auth.v2.Authorization/Check",
        "/grpc.channelz.v1.Channelz/GetServers",
        "/grpc.health.v1.Health/Watch",
    ],
)
async def test_no_other_service_can_be_called(method: str) -> None:
    """This includes reflection, older protocols and streams."""
    async with asked() as (_, ask):
        assert await refused(ask.channel.unary_unary(method)(b"")) is grpc.StatusCode.UNIMPLEMENTED


async def test_the_health_of_an_unknown_service() -> None:
    """It is an error, as in gRPC's health protocol."""
    async with asked() as (_, ask):
        assert await refused(health(ask, "unknown")) is grpc.StatusCode.NOT_FOUND


async def test_too_many_header_bytes_are_a_431() -> None:
    """The limit and the counter are those of HTTP."""
    async with asked(limits={"maxHeaderBytes": 20_000}) as (gate, ask):
        assert (await ask(minted(), headers={"x-long": "x" * 20_000})).status == 431
        assert await gate.metric("authgate_http_errors_total", status="431") == 1


async def test_a_message_over_the_limit_is_not_read() -> None:
    """It may contain the request's body."""
    async with asked(limits={"maxHeaderBytes": 20_000}) as (_, ask):
        call = ask(minted(), headers={"x-long": "x" * 100_000})
        assert await refused(call) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await ask(minted())).status == 200


async def test_a_compressed_message_is_not_read() -> None:
    """It could be a thousand times larger in memory."""
    async with answering(ScriptedVerifier()) as gate, asking(gate.address) as ask:
        message = check_request(minted(), headers={"x-long": "x" * 10_000_000}).SerializeToString()
        call = ask.channel.unary_unary(CHECK)(message, compression=grpc.Compression.Gzip)
        assert await refused(call) is grpc.StatusCode.UNIMPLEMENTED
        assert (await ask(minted())).status == 200


async def test_the_oldest_of_too_many_slow_messages_is_cancelled() -> None:
    """Each slow message is charged the maximum size, and all of them must fit into the budget."""
    message = 2 * 65536 + 16384
    async with (
        answering(ScriptedVerifier(), budget=HeadBudget(3 * message), header_timeout=3600.0) as gate,
        asking(gate.address) as ask,
    ):
        calls = []
        for _ in range(5):
            calls.append(ask.channel.stream_unary(CHECK)())
            await calls[-1].wait_for_connection()
        for call in calls[:2]:
            assert await asyncio.wait_for(call.code(), 60) is grpc.StatusCode.DEADLINE_EXCEEDED
        assert not any(call.done() for call in calls[2:])
        assert (await ask(minted())).status == 200
        for call in calls:
            call.cancel()


async def test_a_call_with_much_metadata_is_refused() -> None:
    """The gate reads no metadata: the request is in the message."""
    async with answering(ScriptedVerifier()) as gate, asking(gate.address) as ask:
        for size, taken in ((1000, True), (9000, False)):
            message = check_request(minted()).SerializeToString()
            call = ask.channel.unary_unary(CHECK)(message, metadata=(("x-long", "x" * size),), timeout=60)
            if taken:
                await call
            else:
                assert await refused(call) is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("streams", [128, 129])
async def test_a_connection_has_128_calls_at_once(streams: int) -> None:
    """A further call on the same connection waits until one of them has ended."""
    async with (
        answering(ScriptedVerifier(), max_connections=1000, header_timeout=3600.0) as gate,
        asking(gate.address) as ask,
    ):
        calls = [ask.channel.stream_unary(CHECK)() for _ in range(streams - 1)]
        await asyncio.gather(*(call.wait_for_connection() for call in calls))
        limit = 60 if streams == 128 else 0.5
        last = ask.channel.unary_unary(CHECK)(check_request(minted()).SerializeToString(), timeout=limit)
        if streams == 128:
            await last
        else:
            assert await refused(last) is grpc.StatusCode.DEADLINE_EXCEEDED
        for call in calls:
            call.cancel()


@pytest.mark.parametrize("method", [CHECK, HEALTH], ids=["check", "health"])
async def test_a_missing_message_times_out(method: str) -> None:
    """A call ends after limits.headerTimeout."""
    async with answering(ScriptedVerifier(), header_timeout=1.0) as gate, asking(gate.address) as ask:
        assert await refused(ask.channel.stream_unary(method)(_never())) is grpc.StatusCode.DEADLINE_EXCEEDED


async def _never() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def test_a_call_without_a_message_is_refused() -> None:
    """It has no request to decide."""
    async with answering(ScriptedVerifier()) as gate, asking(gate.address) as ask:
        assert await refused(ask.channel.stream_unary(CHECK)(())) is grpc.StatusCode.INVALID_ARGUMENT


async def test_bytes_that_are_not_a_message_are_refused() -> None:
    """The next call is answered."""
    async with answering(ScriptedVerifier()) as gate, asking(gate.address) as ask:
        assert (await refused(ask.channel.unary_unary(CHECK)(b"\xff\xff"))) is not grpc.StatusCode.OK
        assert (await ask(minted())).status == 200


async def test_calls_beyond_the_limit_are_refused() -> None:
    """This is like the limit for connections over HTTP. Open calls continue."""
    verifier = ScriptedVerifier()
    verifier.held = True
    async with answering(verifier, max_connections=3) as gate, asking(gate.address) as ask:
        held = [asyncio.create_task(ask(minted())) for _ in range(3)]
        await until(lambda: _is(len(verifier.asked) == 3), within=30)
        assert await refused(ask(minted())) is grpc.StatusCode.RESOURCE_EXHAUSTED
        verifier.release()
        assert [(await one).status for one in held] == [200] * 3


async def test_connections_beyond_the_limit_are_refused() -> None:
    """Existing connections continue."""
    async with answering(ScriptedVerifier(), max_connections=2) as gate, AsyncExitStack() as stack:
        own = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(gate.address, options=own))
            for _ in range(3)
        ]
        calls = [Asker(channel) for channel in channels]
        assert [(await call(minted())).status for call in calls[:2]] == [200] * 2
        assert await refused(calls[2](minted())) is grpc.StatusCode.UNAVAILABLE
        assert (await calls[0](minted())).status == 200


def service(folder: Path, **server: Any) -> Service:
    """Return a gate with this `server` section that is not started."""
    document = {
        "jwt": [knowing(ISSUER)],
        "server": {"admin": None, "listen": ["127.0.0.1:0"], **server},
        "shutdown": {"timeout": "1s"},
    }
    return Service(load(written(folder, document), {}).config, {})


@asynccontextmanager
async def started(folder: Path, **server: Any) -> AsyncIterator[str]:
    """Start such a gate and return its gRPC address."""
    gate = service(folder, **server)
    await gate.start()
    try:
        assert gate.ports.grpc_address is not None
        yield gate.ports.grpc_address
    finally:
        await gate.stop()


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mutual"])
async def test_tls_is_that_of_the_verify_port(tmp_path: Path, *, mutual: bool) -> None:
    """It is configured by server.tls. With clientCAFile, clients need a certificate of that CA."""
    authority = trustme.CA()
    own, client = authority.issue_cert("localhost"), authority.issue_cert("envoy")
    own.private_key_pem.write_to_path(tmp_path / "tls.key")
    for blob in own.cert_chain_pems:
        blob.write_to_path(tmp_path / "tls.crt", append=True)
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    tls = {"certFile": str(tmp_path / "tls.crt"), "keyFile": str(tmp_path / "tls.key")}
    if mutual:
        tls["clientCAFile"] = str(tmp_path / "ca.crt")
    trusted = authority.cert_pem.bytes()
    chain = b"".join(blob.bytes() for blob in client.cert_chain_pems)
    known = grpc.ssl_channel_credentials(trusted, client.private_key_pem.bytes(), chain)
    async with started(tmp_path, grpc="localhost:0", tls=tls) as address:
        async with asking(address, known) as ask:
            assert (await ask(minted())).status == 200
        async with asking(address, grpc.ssl_channel_credentials(trusted)) as ask:
            if mutual:
                assert await refused(ask(minted())) is grpc.StatusCode.UNAVAILABLE
            else:
                assert (await ask(minted())).status == 200


async def test_a_unix_socket(tmp_path: Path) -> None:
    """The proxy can connect to it. A socket file of a killed gate is replaced."""
    path = tmp_path / "grpc.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with started(tmp_path, grpc=f"unix:{path}") as address, asking(address) as ask:
        assert (await ask(minted())).status == 200
        assert path.stat().st_mode & 0o777 == 0o666


async def test_the_socket_of_a_running_gate_is_kept(tmp_path: Path) -> None:
    """Without a check, gRPC would remove it."""
    path = f"unix:{tmp_path}/grpc.sock"
    async with started(tmp_path, grpc=path) as address, asking(address) as ask:
        with pytest.raises(ListenError, match="another process listens there"):
            await service(tmp_path, grpc=path).start()
        assert (await ask(minted())).status == 200


async def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    """Without a check, gRPC would share it with another process."""
    async with started(tmp_path, grpc="127.0.0.1:0") as address:
        with pytest.raises(ListenError, match=f"cannot listen on {address}: Address already in use"):
            await service(tmp_path, grpc=address).start()


@pytest.mark.parametrize("host", ["", "0.0.0.0", "[::]"])
async def test_every_address_of_the_machine_can_be_used(tmp_path: Path, host: str) -> None:
    """There are several notations for it."""
    port = free_port()
    async with started(tmp_path, grpc=f"{host}:{port}"), asking(f"127.0.0.1:{port}") as ask:
        assert (await ask(minted())).status == 200


async def test_an_open_call_is_finished_at_shutdown() -> None:
    """Meanwhile new calls are refused."""
    verifier = ScriptedVerifier()
    verifier.held = True
    async with answering(verifier, shutdown_timeout=60.0) as gate, asking(gate.address) as ask:
        waiting = asyncio.create_task(ask(minted()))
        await until(lambda: _is(len(verifier.asked) == 1), within=30)
        closing = asyncio.create_task(gate.close())
        assert await refused(ask(minted())) in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        assert not waiting.done()
        verifier.release()
        assert (await waiting).status == 200
        await closing


async def test_sigterm_gives_envoy_time(tmp_path: Path) -> None:
    """Health fails at once, calls are answered for shutdown.delay, and the status is 0."""
    address = f"127.0.0.1:{free_port()}"
    document = {"jwt": [knowing(ISSUER)], "server": {"grpc": address}}
    environ = {"AUTHGATE_SHUTDOWN__DELAY": "60s"}
    async with GateProcess(written(tmp_path, document), environ) as gate, asking(address) as ask:
        assert await health(ask) == HealthCheckResponse.SERVING
        gate.process.send(signal.SIGTERM)

        async def unready() -> bool:
            return (await health(ask)) == int(HealthCheckResponse.NOT_SERVING)

        await until(unready, within=30)
        assert (await ask(minted())).status == 200
        gate.process.send(signal.SIGTERM)  # the second one ends the delay
        assert await gate.process.ended(within=30)
        assert gate.process.exit_status == 0
        assert "Traceback" not in gate.process.output()


def has_grpc(pid: int) -> bool:
    """Return whether a process has loaded gRPC, whose threads do not survive a fork."""
    return "cygrpc" in Path(f"/proc/{pid}/maps").read_text()


async def test_workers_share_the_port(tmp_path: Path) -> None:
    """Each worker has its own connections, and metrics and health cover all workers.

    The supervisor, which forks, never loads gRPC.
    """
    address = f"127.0.0.1:{free_port()}"
    document = {"jwt": [knowing(ISSUER)], "server": {"grpc": address}}
    token = minted()
    environ = {"AUTHGATE_SHUTDOWN__DELAY": "60s"}
    async with Crew(tmp_path, document, environ) as crew, AsyncExitStack() as stack:
        own = [("grpc.use_local_subchannel_pool", 1)]
        calls = [
            Asker(await stack.enter_async_context(grpc.aio.insecure_channel(address, options=own)))
            for _ in range(40)
        ]
        assert [(await call(token)).status for call in calls] == [200] * len(calls)
        assert await crew.metric("authgate_verify_requests_total", decision="allow") == len(calls)
        assert await crew.metric("authgate_cache_requests_total", cache="verdict", result="miss") == 2
        assert not has_grpc(crew.process.pid)
        assert all(has_grpc(pid) for pid in await crew.pids())
        crew.process.send(signal.SIGTERM)

        async def all_unready() -> bool:
            return {await health(call) for call in calls} == {HealthCheckResponse.NOT_SERVING}

        await until(all_unready, within=30)
        crew.process.send(signal.SIGTERM)  # the second one ends the delay
        assert await crew.process.ended(within=30)
        assert "Traceback" not in crew.process.output()


MISSING = """
import sys
sys.modules[{name!r}] = None
from authgate.cli import main
sys.argv = ["authgate", "check", "--config", {path!r}]
main()
"""


@pytest.mark.parametrize("name", ["grpc", "grpc_health", "envoy"])
def test_a_missing_extra_is_reported_with_the_command_to_install_it(tmp_path: Path, name: str) -> None:
    """It is reported when the configuration is loaded, not at the first call."""
    path = written(tmp_path, {"jwt": [knowing(ISSUER)], "server": {"grpc": "127.0.0.1:9001"}})
    done = subprocess.run(
        [sys.executable, "-c", MISSING.format(name=name, path=str(path))],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "300"},
    )
    assert done.returncode == 1
    assert "pip install '.[grpc]'" in done.stdout + done.stderr
