"""The configuration that the manifest for ingress-nginx adds to the controller, run by a real nginx."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml

from authgate.tools.snippets import MANIFESTS, Options, manifests
from authgate.vocabulary import REMOVED_HEADERS
from tests.support.nginx import Nginx
from tests.support.process import free_port
from tests.support.wire import ask

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTS = {
    "one host": (["GET / HTTP/1.1", "Host: app.example.com"], 200),
    "port": (["GET / HTTP/1.1", "Host: app.example.com:8443"], 200),
    "capitals": (["GET / HTTP/1.1", "Host: APP.example.com"], 200),
    "final dot": (["GET / HTTP/1.1", "Host: app.example.com."], 200),
    "address": (["GET / HTTP/1.1", "Host: [::1]:8443"], 200),
    "the same in the target": (["GET http://app.example.com/ HTTP/1.1", "Host: app.example.com"], 200),
    "another in the target": (["GET http://docs.example.com/ HTTP/1.1", "Host: app.example.com"], 400),
    "a longer one in the target": (
        ["GET http://app.example.com.evil/ HTTP/1.1", "Host: app.example.com"],
        400,
    ),
    "a longer one in Host": (["GET http://app.example.com/ HTTP/1.1", "Host: app.example.com.evil"], 400),
    "no host": (["GET / HTTP/1.0"], 400),
}


def controllers() -> dict[str, dict[str, str]]:
    """Return the data of the manifest's ConfigMaps by their names."""
    [file] = manifests(MANIFESTS["ingress-nginx"], Options())
    objects = yaml.safe_load_all(file.text)
    return {each["metadata"]["name"]: each["data"] for each in objects if each["kind"] == "ConfigMap"}


@pytest.mark.parametrize(("lines", "status"), HOSTS.values(), ids=list(HOSTS))
async def test_a_host_that_differs_from_nginx_own_is_refused(
    tmp_path: Path, lines: list[str], status: int
) -> None:
    """The gate and the app get the virtual host that nginx has chosen."""
    port, snippet = free_port(), controllers()["ingress-nginx-controller"]["location-snippet"]
    location = f"location / {{\n{snippet}\nreturn 200;\n}}"
    server = f"server {{ listen 127.0.0.1:{port} default_server; server_name _;\n{location}\n}}"
    async with Nginx(tmp_path / "nginx", server, port=port):
        reply = await ask(f"127.0.0.1:{port}", *lines, "Connection: close")
    assert reply.status == status


async def test_a_request_has_one_id(tmp_path: Path) -> None:
    """The gate, the app, the client and the log get nginx's own id, whatever the client sends.

    The `map` is the controller's.
    """
    port, config = free_port(), controllers()
    [(name, value)] = config["authgate-request-id"].items()
    echo = f"add_header X-Seen $http_{name.lower().replace('-', '_')}; add_header X-Request-Id apps-own; return 200;"
    configuration = f"""
        map $http_x_request_id $req_id {{ default $http_x_request_id; "" $request_id; }}
        log_format own $req_id;
        server {{
            listen 127.0.0.1:{port} default_server;
            access_log {tmp_path}/own.log own;
            location / {{
                {config["ingress-nginx-controller"]["location-snippet"]}
                auth_request /auth;
                auth_request_set $gates $upstream_http_x_seen;
                add_header X-Gates $gates;
                proxy_set_header X-Request-ID $req_id;
                proxy_pass http://127.0.0.1:{port}/echo;
            }}
            location = /auth {{ proxy_set_header {name} "{value}"; proxy_pass http://127.0.0.1:{port}/echo; }}
            location = /echo {{ access_log off; {echo} }}
        }}"""
    async with Nginx(tmp_path / "nginx", configuration, port=port):
        request = ["GET / HTTP/1.1", "Host: app", "X-Request-Id: of-another-request", "Connection: close"]
        reply = await ask(f"127.0.0.1:{port}", *request)
        own = reply.value("X-Request-Id")
        assert re.fullmatch("[0-9a-f]{32}", own)
        assert (reply.value("X-Gates"), reply.value("X-Seen")) == (own, own)
    assert (tmp_path / "own.log").read_text().split() == [own]


async def test_every_header_that_apps_trust_is_removed() -> None:
    """The controller or its list of empty headers removes them, and the token."""
    removed = controllers()["authgate-removed-headers"]
    assert set(removed) >= set(REMOVED_HEADERS) - MANIFESTS["ingress-nginx"].own_headers | {"Authorization"}
    assert set(removed.values()) == {""}
