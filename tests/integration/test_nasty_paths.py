"""A proxy serves the same path that a rule saw: ambiguous paths, as nginx and Envoy themselves read them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import pytest
import pytest_asyncio

from authgate.errors import Reason
from authgate.policy.paths import plain_path
from authgate.policy.routes import PathPattern, RequestMatch, Routes
from authgate.server.http.request import Endpoint, original_request
from tests.support.nasty_paths import NASTY
from tests.support.nginx import Nginx
from tests.support.process import ChildProcess, accepts, free_port
from tests.support.tools import require_tool
from tests.support.wire import connected

if TYPE_CHECKING:
    from pathlib import Path

    from authgate.model import OriginalRequest
    from authgate.vocabulary import Proxy

_NGINX = """
large_client_header_buffers 4 32k;
server {{
    listen 127.0.0.1:{port};
    merge_slashes {merge};
    location / {{ return 200 "$uri"; }}
}}
"""
Readings = dict[bytes, str | None]
"""The path that a proxy reads for each of `NASTY`; None if it rejects the request."""

SECRET, PUBLIC = 0, 1
ROUTES = Routes(
    [
        (RequestMatch(paths=(PathPattern("/secret/*"), PathPattern("/secret"))), SECRET),
        (RequestMatch(paths=(PathPattern("/public/*"),), raw=True), PUBLIC),
    ]
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nginx(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Readings]:
    """How nginx reads the paths, with and without merging slashes."""
    found = {}
    for merge in ("on", "off"):
        port = free_port()
        configuration = _NGINX.format(port=port, merge=merge)
        async with Nginx(tmp_path_factory.mktemp("nginx"), configuration, port=port):
            found[f"merge_slashes {merge}"] = {path: await _received_path(port, path) for path in NASTY}
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def envoy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Readings]:
    """How Envoy reads the paths, in each of its configurations."""
    folder = tmp_path_factory.mktemp("envoy")
    ports = {name: free_port() for name in _ENVOY}
    listeners = [_listener(name, port) for name, port in ports.items()]
    (folder / "envoy.json").write_text(json.dumps({"static_resources": {"listeners": listeners}}))
    program = require_tool("envoy", "how it reads paths is what is tested")

    async def ready() -> bool:
        return all([await accepts(port) for port in ports.values()])

    arguments: list[str | Path] = [
        "-c",
        folder / "envoy.json",
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "error",
    ]
    process = ChildProcess([program, *arguments], log=folder / "envoy.log", ready=ready)
    await process.start()
    try:
        return {
            name: {path: await _received_path(port, path) for path in NASTY} for name, port in ports.items()
        }
    finally:
        await process.stop()


_ENVOY: dict[str, dict[str, object]] = {
    "as they come": {"normalize_path": False, "merge_slashes": False},
    "normalised": {"normalize_path": True, "merge_slashes": True},
    "unescaped": {
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
    },
}


def _listener(name: str, port: int) -> dict[str, object]:
    kind = "type.googleapis.com/envoy.extensions.filters"
    route = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200},
        "response_headers_to_add": [{"header": {"key": "x-read", "value": "%REQ(:PATH)%"}}],
    }
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "paths",
        "http_protocol_options": {"allow_absolute_url": True},
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{kind}.http.router.v3.Router"},
            }
        ],
        **_ENVOY[name],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": name, "address": address, "filter_chains": [chain]}


async def _received_path(port: int, path: bytes) -> str | None:
    """Return the path that the proxy received, without escapes, or None if it rejected the request."""
    async with connected(f"127.0.0.1:{port}") as wire:
        await wire.send(b"GET " + path + b" HTTP/1.1", "Host: app.example")
        reply = await wire.reply()
    if reply.status != 200:
        return None
    said = [line[7:].strip() for line in reply.head.split(b"\r\n") if line.startswith(b"x-read:")]
    raw = unquote_to_bytes(said[0].partition(b"?")[0]) if said else reply.body
    return raw.decode("utf-8", "surrogateescape")


def _forwarded(proxy: Proxy, path: bytes) -> OriginalRequest:
    """Return the original request that authgate receives for this path."""
    if proxy == "envoy":
        target, _, query = path.decode("latin-1").partition("?")
        return original_request(proxy, [(b"Host", b"app.example")], "GET", Endpoint("default", target, query))
    headers = [
        (b"X-Original-Method", b"GET"),
        (b"X-Original-URI", path),
        (b"X-Original-Host", b"app.example"),
    ]
    return original_request(proxy, headers, "GET", Endpoint("default", ""))


def _wider(proxy: Proxy, read: Readings) -> list[tuple[bytes, str, str]]:
    """Return the paths that the proxy serves and the rule saw differently."""
    found: list[tuple[bytes, str, str]] = []
    for path, served in read.items():
        seen = plain_path(_forwarded(proxy, path).path or "")
        if seen is not None and served is not None and served != seen:
            found.append((path, seen, served))
    return found


def _escaping(proxy: Proxy, read: Readings) -> list[tuple[bytes, str]]:
    """Return the paths that are public by `rawPath: allow`, but that the proxy serves outside of /public/."""
    return [
        (path, served)
        for path, served in read.items()
        if served is not None
        and ROUTES.find(_forwarded(proxy, path)) == PUBLIC
        and not served.startswith("/public/")
    ]


def test_there_are_enough_ambiguous_paths() -> None:
    """All are different, and at least eighty are denied as ambiguous."""
    assert len(set(NASTY)) == len(NASTY)
    outcomes = [ROUTES.find(_forwarded("nginx", path)) for path in NASTY]
    assert len(NASTY) >= 80
    assert outcomes.count(Reason.PATH_AMBIGUOUS) >= 80


async def test_nginx_serves_the_path_that_the_rule_saw(nginx: dict[str, Readings]) -> None:
    """If nginx resolves, merges or decodes a path, the rule saw the result or denied the request."""
    assert {name: found for name, read in nginx.items() if (found := _wider("nginx", read))} == {}
    assert {name: strays for name, read in nginx.items() if (strays := _escaping("nginx", read))} == {}


async def test_envoy_serves_the_path_that_the_rule_saw(envoy: dict[str, Readings]) -> None:
    """This holds if Envoy normalises, merges and unescapes paths, and if it does not change them."""
    assert {name: found for name, read in envoy.items() if (found := _wider("envoy", read))} == {}
    assert {name: strays for name, read in envoy.items() if (strays := _escaping("envoy", read))} == {}


async def test_the_proxies_read_some_paths_differently(
    nginx: dict[str, Readings], envoy: dict[str, Readings]
) -> None:
    """Otherwise the table would prove nothing. Plain decoding would read these paths wrongly."""
    for read in (nginx["merge_slashes on"], envoy["unescaped"]):
        fooled = [
            path for path, served in read.items() if served is not None and served.startswith("/secret")
        ]
        assert len([path for path in fooled if not path.startswith((b"/secret", b"/%73", b"/s%65"))]) >= 10
