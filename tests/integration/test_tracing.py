"""Traces: spans of decisions and of the requests that they wait for, received by a collector."""

from __future__ import annotations

import logging
import socket
import ssl
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import trustme

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.kube_api import TOKEN_REVIEWS_PATH
from authgate.observability.log import AUDIT
from authgate.server.exchange import GRANT, JWT_TYPE
from tests.support.authorization_server import CLIENT as CLIENT_ID
from tests.support.authorization_server import INTROSPECT, SECRET, AuthorizationServer
from tests.support.collector import Collector, ReceivedSpan
from tests.support.embedded_server import EmbeddedServer
from tests.support.envoy_messages import asking
from tests.support.faults import failing
from tests.support.gate import AUDIENCE
from tests.support.process import free_port, until
from tests.support.service import cluster, knowing, of_cluster, published, running, trusting
from tests.support.site import site_behind
from tests.support.workers import Crew

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.gate import Gate

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = [("traceparent", f"00-{TRACE}-{SPAN}-01")]
UNSAMPLED = [("traceparent", f"00-{TRACE}-{SPAN}-00")]
SERVER, CLIENT, ERROR = 2, 3, 2
ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
KNOWN = {"jwt": [knowing(ISSUER)]}
DEMO = "system:serviceaccount:default:demo"


def traced(collector: Collector, document: dict[str, Any], **tracing: Any) -> dict[str, Any]:
    """Return a configuration that sends its spans to the collector."""
    return {"log": {"audit": "all"}, **document, "tracing": {"endpoint": collector.url, **tracing}}


@asynccontextmanager
async def gate_of(
    collector: Collector, document: dict[str, Any], *, spans: int, **tracing: Any
) -> AsyncIterator[Gate]:
    """Run a gate that sends its spans to the collector, and wait for this number of them after its end."""
    async with running(traced(collector, document, **tracing)) as gate:
        yield gate

    async def received() -> bool:
        return len(collector.spans) >= spans

    await until(received, within=60)


def only(spans: list[ReceivedSpan]) -> ReceivedSpan:
    """Return the only span."""
    (span,) = spans
    return span


def audited(caplog: pytest.LogCaptureFixture) -> tuple[str, str] | None:
    """Return the trace and the span in the only audit line."""
    (trace,) = traces_of_audit(caplog)
    return trace


def traces_of_audit(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str] | None]:
    """Return the trace and the span in each audit line."""
    traces = [vars(record)["trace"] for record in caplog.records if record.name == AUDIT]
    return [None if trace is None else (trace.trace_id, trace.span_id) for trace in traces]


def exchange_form(token: str) -> str:
    """Return the body of an exchange of this token."""
    return urlencode(
        {
            "grant_type": GRANT,
            "audience": "reports",
            "subject_token_type": JWT_TYPE,
            "subject_token": token,
        }
    )


async def test_a_sampled_request_has_a_span(caplog: pytest.LogCaptureFixture) -> None:
    """It is a child of the proxy's span, has the attributes of the audit line, and the line has its ids."""
    caplog.set_level(logging.INFO)
    with Collector() as collector:
        async with gate_of(collector, KNOWN, spans=1) as gate:
            headers = [*SAMPLED, ("X-Request-Id", "request-1")]
            assert (await gate.request(ISSUER.mint(), headers=headers)).status == 200

    span = only(collector.spans)
    assert (span.name, span.kind, span.status) == ("decide", SERVER, 0)
    assert (span.trace_id, span.parent) == (TRACE, SPAN)
    assert span.attributes == {
        "authgate.decision": "allow",
        "authgate.reason": "authenticated",
        "authgate.policy": "default",
        "authgate.source": "jwks",
        "authgate.issuer": "corp",
        "http.request.id": "request-1",
        "http.response.status_code": 200,
    }
    assert span.resource["service.name"] == "authgate"
    assert audited(caplog) == (TRACE, span.span_id)


async def test_the_proxy_decides_that_a_request_has_no_span(caplog: pytest.LogCaptureFixture) -> None:
    """The ratio is only for requests without a traceparent. The audit line has the proxy's span."""
    caplog.set_level(logging.INFO)
    with Collector() as collector:
        async with gate_of(collector, KNOWN, ratio=1, spans=0) as gate:
            assert (await gate.request(ISSUER.mint(), headers=UNSAMPLED)).status == 200

    assert collector.named("decide") == []
    assert audited(caplog) == (TRACE, SPAN)


@pytest.mark.parametrize(("ratio", "spans"), [(0, 0), (1, 1)])
async def test_the_ratio_is_for_requests_without_a_traceparent(
    ratio: int, spans: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a span begins a trace."""
    caplog.set_level(logging.INFO)
    with Collector() as collector:
        async with gate_of(collector, KNOWN, ratio=ratio, spans=spans) as gate:
            assert (await gate.request(ISSUER.mint())).status == 200

    found = collector.named("decide")
    assert [span.parent for span in found] == [""] * spans
    assert audited(caplog) == ((found[0].trace_id, found[0].span_id) if found else None)


@pytest.mark.parametrize(
    "lines",
    [SAMPLED * 2, [("traceparent", f"00-{TRACE}-{'0' * 16}-01")], [("traceparent", "x" * 2000)]],
    ids=["repeated", "invalid", "long"],
)
async def test_an_invalid_traceparent_is_ignored(lines: list[tuple[str, str]]) -> None:
    """The request is decided as without one."""
    with Collector() as collector:
        async with gate_of(collector, KNOWN, spans=0) as gate:
            assert (await gate.request(ISSUER.mint(), headers=lines)).status == 200

    assert collector.spans == []


async def test_answers_do_not_depend_on_tracing() -> None:
    """A sampled request leaves the fast lane, and gets the same answer."""
    tokens = (ISSUER.mint(), ISSUER.mint(audience="other"), "junk", None)
    with Collector() as collector:
        async with gate_of(collector, KNOWN, spans=4) as gate:
            for token in tokens:
                with_span = await gate.request(token, headers=[*SAMPLED, ("X-Request-Id", "a")])
                without = await gate.request(token, headers=[*UNSAMPLED, ("X-Request-Id", "a")])
                assert (with_span.status, with_span.body) == (without.status, without.body)
                assert _stable(with_span.headers) == _stable(without.headers)

    reasons = [span.attributes["authgate.reason"] for span in collector.spans]
    assert sorted(reasons) == ["audience_mismatch", "authenticated", "no_credential", "token_opaque"]
    assert {span.status for span in collector.spans} == {0}


def _stable(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in headers if name.lower() != "date")


async def test_a_key_fetch_is_a_child_of_the_decision_that_needs_it() -> None:
    """A token with an unknown key id starts it."""
    with Collector() as collector:
        async with published() as (issuer, server):
            document = {"jwt": [trusting(issuer, keys={"cooldown": "100ms"})]}
            async with gate_of(collector, document, spans=2) as gate:
                await gate.has_keys(within=30)
                unknown = Issuer(issuer.url, SigningKey.generate("ES256")).mint()
                assert (await gate.request(unknown, headers=SAMPLED)).status == 401

        decision, fetch = only(collector.named("decide")), only(collector.named("fetch keys"))
        assert (fetch.trace_id, fetch.parent, fetch.kind) == (TRACE, decision.span_id, CLIENT)
        assert fetch.attributes == {
            "authgate.issuer": "corp",
            "http.request.method": "GET",
            "server.address": "127.0.0.1",
            "server.port": int(server.url.rpartition(":")[2]),
        }


async def test_a_fetch_in_the_background_begins_a_trace() -> None:
    """The ratio selects it. A failed one has the type of the error."""
    with Collector() as collector:
        async with published() as (issuer, server):
            server.faults.set("/.well-known/openid-configuration", failing(500))
            async with gate_of(collector, {"jwt": [trusting(issuer)]}, ratio=1, spans=1) as gate:
                answer = await gate.request(issuer.mint(), headers=UNSAMPLED)
                assert answer.status == 503

        fetch = collector.named("fetch keys")[0]
        assert (fetch.parent, fetch.status) == ("", ERROR)
        assert fetch.attributes["error.type"] == "500"


async def test_reviews_are_children_of_the_decision(tmp_path: Path) -> None:
    """TokenReview and SubjectAccessReview have a span each."""
    async with cluster(tmp_path) as scenario:
        scenario.state.grant(DEMO, path="/metrics", verb="get")
        document = {
            "cluster": of_cluster(scenario, mode="always"),
            "policies": {"default": {"accessReview": {"nonResource": "request"}}},
            "server": {"proxy": "nginx"},
        }
        original = [("X-Original-Method", "GET"), ("X-Original-URI", "/metrics?secret=1")]
        with Collector() as collector:
            async with gate_of(collector, document, spans=3) as gate:
                await gate.becomes_ready(within=30)
                token = scenario.token_file.read_text()
                assert (await gate.request(token, headers=[*SAMPLED, *original])).status == 200

    decision = only(collector.named("decide"))
    for name in ("TokenReview", "SubjectAccessReview"):
        review = only(collector.named(name))
        assert (review.trace_id, review.parent, review.kind) == (TRACE, decision.span_id, CLIENT)
        assert review.attributes["http.request.method"] == "POST"
    body = b"".join(collector.bodies)
    for secret in (token, *token.split("."), "secret", "demo", "metrics"):
        assert secret.encode() not in body


async def test_a_failed_review_is_an_error(tmp_path: Path) -> None:
    """So is the decision that is unavailable because of it."""
    async with cluster(tmp_path) as scenario:
        with Collector() as collector:
            document = {"cluster": of_cluster(scenario, mode="always")}
            async with gate_of(collector, document, spans=2) as gate:
                await gate.becomes_ready(within=30)
                scenario.server.faults.set(TOKEN_REVIEWS_PATH, failing(500))
                token = scenario.token_file.read_text()
                assert (await gate.request(token, headers=SAMPLED)).status == 503

    decision, review = only(collector.named("decide")), only(collector.named("TokenReview"))
    assert (decision.status, decision.attributes["error.type"]) == (ERROR, "review_unavailable")
    assert decision.attributes["http.response.status_code"] == 503
    assert (review.status, review.attributes["error.type"]) == (ERROR, "server_error")


async def test_introspection_is_a_child_of_the_decision(tmp_path: Path) -> None:
    """The span has neither the token nor the client's secret."""
    secret = tmp_path / "client-secret"
    secret.write_text(SECRET)
    async with EmbeddedServer() as server:
        site = AuthorizationServer(server.url)
        site.tokens["gho_opaque-token"] = {"sub": "jane", "aud": AUDIENCE}
        server.add(site)
        item = {
            "name": "opaque",
            "endpoint": site.url + INTROSPECT,
            "clientAuth": {"clientID": CLIENT_ID, "secretFile": str(secret)},
            "audiences": [AUDIENCE],
            "claimMappings": {"username": {"claim": "sub", "prefix": "opaque:"}},
        }
        with Collector() as collector:
            async with gate_of(collector, {"introspection": [item]}, spans=2) as gate:
                await gate.becomes_ready(within=30)
                assert (await gate.request("gho_opaque-token", headers=SAMPLED)).status == 200

    decision, request = only(collector.named("decide")), only(collector.named("introspect token"))
    assert (request.trace_id, request.parent, request.kind) == (TRACE, decision.span_id, CLIENT)
    assert request.attributes["authgate.issuer"] == "opaque"
    for word in (b"gho_", b"jane", SECRET.encode()):
        assert word not in b"".join(collector.bodies)


@pytest.mark.parametrize("status", [None, 400, 503], ids=["unreachable", "refuses", "unavailable"])
async def test_an_outage_of_the_collector_changes_no_answer(
    status: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged."""
    with Collector(status=status or 200) as collector, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # it does not listen
        endpoint = collector.url if status else f"http://127.0.0.1:{closed.getsockname()[1]}"
        async with running(traced(collector, KNOWN, endpoint=endpoint)) as gate:
            for _ in range(3):
                assert (await gate.request(ISSUER.mint(), headers=SAMPLED)).status == 200

        async def logged() -> bool:
            return bool(_export_warnings(caplog))

        await until(logged, within=60)

    assert collector.spans == []


def _export_warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage().startswith("traces are not exported")]


async def test_the_collector_can_need_tls_and_a_key(tmp_path: Path) -> None:
    """The CA and the headers come from files."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "headers").write_text("Authorization: Bearer collector-key\nX-Tenant: shop\n")
    files = {"caFile": str(tmp_path / "ca.pem"), "headersFile": str(tmp_path / "headers")}
    with Collector(tls=context) as collector:
        async with gate_of(collector, KNOWN, **files, spans=1) as gate:
            await gate.request(ISSUER.mint(), headers=SAMPLED)

    assert len(collector.spans) == 1
    assert collector.requests[0]["authorization"] == "Bearer collector-key"
    assert collector.requests[0]["x-tenant"] == "shop"


async def test_every_worker_exports(tmp_path: Path) -> None:
    """Each has an instance id of its own."""
    with Collector() as collector:
        async with Crew(tmp_path, traced(collector, KNOWN)) as crew:

            async def from_both() -> bool:
                for _ in range(20):
                    answer = await crew.client.get(
                        f"http://{crew.address}/verify", ISSUER.mint(), [*SAMPLED, ("Connection", "close")]
                    )
                    assert answer.status == 200
                return len({span.resource["service.instance.id"] for span in collector.spans}) == 2

            await until(from_both, within=60)

    assert {(span.name, span.trace_id, span.parent) for span in collector.spans} == {("decide", TRACE, SPAN)}


async def test_a_decision_over_grpc_has_a_span() -> None:
    """Envoy sends the client's traceparent with the headers."""
    with Collector() as collector:
        document = {**KNOWN, "server": {"grpc": "127.0.0.1:0"}}
        async with gate_of(collector, document, spans=1) as gate, asking(gate.grpc_address) as ask:
            assert (await ask(ISSUER.mint(), headers=dict(SAMPLED))).status == 200

    span = only(collector.spans)
    assert (span.name, span.trace_id, span.parent) == ("decide", TRACE, SPAN)


async def test_a_token_exchange_has_a_span(caplog: pytest.LogCaptureFixture) -> None:
    """It has the status of the response, also if there is no decision. Audit lines have its ids."""
    caplog.set_level(logging.INFO)
    port = free_port()
    document = {
        **KNOWN,
        "signing": {"issuer": f"http://127.0.0.1:{port}", "keyFiles": []},
        "exchange": {"listen": f"127.0.0.1:{port}", "audiences": {"default": ["reports"]}},
    }
    headers = [*SAMPLED, ("Content-Type", "application/x-www-form-urlencoded"), ("X-Request-Id", "request-1")]
    statuses = []
    with Collector() as collector:
        async with gate_of(collector, document, spans=3) as gate:
            for form in (exchange_form(ISSUER.mint()), exchange_form("garbage"), "audience=reports"):
                url = f"http://127.0.0.1:{port}/token"
                statuses.append((await gate.client.post(url, form.encode(), headers)).status)

    spans = collector.spans
    assert {(span.name, span.kind, span.status, span.trace_id, span.parent) for span in spans} == {
        ("exchange token", SERVER, 0, TRACE, SPAN)
    }
    assert {span.attributes["http.request.id"] for span in spans} == {"request-1"}
    assert [span.attributes["http.response.status_code"] for span in spans] == statuses == [200, 400, 400]
    reasons = [span.attributes.get("authgate.reason") for span in spans]
    assert reasons == ["authenticated", "token_opaque", None]
    assert traces_of_audit(caplog) == [(TRACE, span.span_id) for span in spans[:2]]
    for secret in (b"eyJ", b"garbage"):
        assert secret not in b"".join(collector.bodies)


async def test_a_decision_about_the_admin_port_has_a_span() -> None:
    """If a policy protects the port. Probes have none."""
    document = {**KNOWN, "admin": {"policy": "default"}}
    with Collector() as collector:
        async with gate_of(collector, document, spans=2) as gate:
            for token, status in ((ISSUER.mint(), 200), (None, 401)):
                assert (await gate.admin("/metrics", token, SAMPLED)).status == status
            assert (await gate.admin("/readyz", None, SAMPLED)).status == 200

    assert {(span.name, span.trace_id, span.parent) for span in collector.spans} == {("decide", TRACE, SPAN)}
    reasons = [span.attributes["authgate.reason"] for span in collector.spans]
    assert reasons == ["authenticated", "no_credential"]


async def test_nginx_sends_the_traceparent(tmp_path: Path) -> None:
    """The configuration of deploy/proxies does not remove it."""
    with Collector() as collector:
        document = {**KNOWN, "server": {"proxy": "nginx"}}
        async with gate_of(collector, document, spans=1) as gate, site_behind(gate, tmp_path) as site:
            assert (await site.get(ISSUER.mint(), SAMPLED)).status == 200
            assert (await site.get(ISSUER.mint(), UNSAMPLED)).status == 200

    span = only(collector.spans)
    assert (span.name, span.trace_id, span.parent) == ("decide", TRACE, SPAN)


async def test_a_fetch_of_one_key_has_a_span() -> None:
    """A load balancer's keys are fetched one by one."""
    key = SigningKey.generate("ES256", kid=str(uuid.uuid4()))
    with Collector() as collector:
        async with published() as (_, server):
            server.faults.set(f"/{key.kid}", failing(500))
            entry = trusting("urn:idp", alb={"region": "eu-west-1", "keysURL": server.url})
            entry["issuer"]["audiences"] = ["arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/app/web/1"]
            async with gate_of(collector, {"jwt": [entry]}, spans=2) as gate:
                signer = entry["issuer"]["audiences"][0]
                token = Issuer("urn:idp", key).mint(headers={"signer": signer})
                assert (await gate.request(token, headers=SAMPLED)).status == 503

    decision, fetch = only(collector.named("decide")), only(collector.named("fetch keys"))
    assert (fetch.parent, fetch.status) == (decision.span_id, ERROR)
    assert fetch.attributes["error.type"] == "500"
