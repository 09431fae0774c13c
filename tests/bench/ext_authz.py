"""Envoy that sends check requests over HTTP and gRPC, and answers itself. It shares the server's core."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.bench.report import Row
from tests.bench.server import SERVER_CORE, free_port, pinned
from tests.bench.stage import Stage
from tests.bench.tokens import gate_document
from tests.bench.wrk import wrk

_TYPE = "type.googleapis.com/envoy.extensions."


def behind_envoy(stage: Stage) -> None:
    """Measure ext_authz in both protocols with one cached token."""
    if stage.peers.envoy is None:
        return
    case = "Envoy ext_authz in gRPC, one cached token"
    stage.say(case)
    with ExitStack() as servers:
        port = free_port()
        document = json.loads(gate_document(stage.jwks, listen="127.0.0.1:0", admin="127.0.0.1:0"))
        document["server"]["grpc"] = f"127.0.0.1:{port}"
        gate = servers.enter_context(stage.gate(document=json.dumps(document)))
        http = int(gate.url.removesuffix("/verify").rpartition(":")[2])
        null = free_port()
        servers.enter_context(_null(null))
        measured = {}
        for name, asked in (
            ("authgate, gRPC", port),
            ("authgate, HTTP", http),
            ("empty grpc.aio handler", null),
        ):
            command = partial(_command, stage, gate=asked, grpc=asked != http)
            url = servers.enter_context(stage.peer(f"envoy-{asked}", command)).url
            wrk(url, stage.one, 1)
            measured[name] = partial(_rate, stage, url)
        seen = stage.alternating(measured)
    ours, over_http, ceiling = seen.values()
    stage.report.rows += [Row(case, ours, over_http, 0.5), Row(case, ours, ceiling)]


@contextmanager
def _null(port: int) -> Iterator[None]:
    """Run an empty gRPC handler on authgate's core. Its Envoy is ready when it accepts a request."""
    command = [sys.executable, "-m", "tests.bench.null_ext_authz", str(port)]
    process = subprocess.Popen(pinned(SERVER_CORE, command))
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _rate(stage: Stage, url: str) -> float:
    return wrk(url, stage.one, stage.effort.seconds).rate


def _command(stage: Stage, listen: int, *, gate: int, grpc: bool) -> list[str | Path]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": gate}}
    protocol: dict[str, object] = {"http2_protocol_options": {}} if grpc else {"http_protocol_options": {}}
    options = {
        "@type": f"{_TYPE}upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": protocol,
    }
    cluster = {
        "name": "authgate",
        "typed_extension_protocol_options": {
            f"{_TYPE.split('/')[1]}upstreams.http.v3.HttpProtocolOptions": options
        },
        "load_assignment": {
            "cluster_name": "authgate",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    how = (
        {"grpc_service": {"envoy_grpc": {"cluster_name": "authgate"}, "timeout": "2s"}}
        if grpc
        else {
            "http_service": {
                "server_uri": {"uri": "http://authgate", "cluster": "authgate", "timeout": "2s"},
                "path_prefix": "/verify",
                "authorization_response": {
                    "allowed_upstream_headers": {"patterns": [{"prefix": "x-auth-request-"}]}
                },
            }
        }
    )
    check = {
        "@type": f"{_TYPE}filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "allowed_headers": {"patterns": [{"exact": "authorization"}]},
        **how,
    }
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    manager = {
        "@type": f"{_TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.ext_authz", "typed_config": check},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPE}filters.http.router.v3.Router"},
            },
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    listener = {
        "name": "front",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": listen}},
        "filter_chains": [{"filters": filters}],
    }
    path = stage.folder / f"front-{listen}.json"
    path.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    envoy = stage.peers.envoy or "envoy"
    return [envoy, "-c", path, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
