"""A real Envoy with the filter jwt_authn, and the gate with the converted configuration, decide the same requests."""

from __future__ import annotations

import json
import time
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest
import yaml

from authgate.config import PolicyTest, load
from authgate.config.policy_tests import AskedRequest
from authgate.errors import REASONS
from authgate.tools import policy_tests
from tests.support.key_pool import KeyPool
from tests.support.process import ChildProcess, accepts, free_port
from tests.support.tools import require_tool
from tests.support.wire import ask
from tests.unit.tools.convert.peers import CASES, Case

if TYPE_CHECKING:
    from pathlib import Path

    from authgate.config import Config

KEY: Final = KeyPool().key("RS256", kid="test")
TYPE: Final = "type.googleapis.com/envoy.extensions.filters."
ROUTER: Final = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": f"{TYPE}http.router.v3.Router"},
}
NARROWER: Final = {
    "any": "a token of one issuer is optional",
    "matches": "conditions that a rule cannot have",
    "state": "a requirement that another filter chooses",
}
"""The cases in which authgate denies requests that Envoy allows, and why; in the others both decide alike."""

SUBJECTS: Final = ("spiffe://example.org/ns/a", "jane@example.com", "JANE")
PATHS: Final = [
    "/",
    "/zzz",
    "/healthz",
    "/healthzzz",
    "/health",
    "/admin",
    "/admin/x",
    "/administration",
    "/reports/1",
    "/catalog",
    "/catalogue/x",
    "/feed",
    "/pair",
    "/device",
    "/api",
    "/api/users",
    "/api/upload",
    "/static/a.js",
    "/internal",
    "/users/7/photo",
    "/users/7/8/photo",
    "/search",
    "/me",
    "/public",
    "/other",
    "/late",
    "/login",
    "/login/x",
    "/status",
    "/version",
    "/statuses",
]

EVERY = pytest.mark.parametrize(
    "case", [case for case in CASES if case.peer == "envoy-jwt-authn"], ids=lambda case: case.file.stem
)


@EVERY
async def test_no_request_is_allowed_that_envoy_denies(case: Case, tmp_path: Path) -> None:
    """Tokens of every issuer, audience and subject on every path: authgate allows no more, and mostly the same."""
    require_tool("envoy", "the conversion is compared with the real filter")
    config = load(case.expected, {}).config
    for policy, (root, settings) in zip(config.policies, _filters(case), strict=True):
        tokens = [None, *_tokens(settings)]
        asked = [
            (path, method, host, claims)
            for path, method, host, claims in product(_paths(case), _methods(case), _hosts(case), tokens)
        ]
        ours = await _ours(config, policy, asked)
        port = free_port()
        async with _envoy(tmp_path / policy, root, settings, port):
            theirs = [await _theirs(port, config, *request) for request in asked]
        both = list(zip(asked, ours, theirs, strict=True))
        assert [request for request, we, they in both if we and they is False] == []
        # Envoy does not read tokens where no token is needed; authgate rejects invalid ones.
        opened = {request[:3] for request, we, _ in both if we and request[3] is None}
        narrower = [request for request, we, they in both if not we and they and request[:3] not in opened]
        assert bool(narrower) == (case.file.stem in NARROWER), narrower[:5]


def _filters(case: Case) -> list[tuple[Any, dict[str, Any]]]:
    """Return the settings of each filter, with the route configuration beside it."""
    found: list[tuple[Any, dict[str, Any]]] = []

    def search(value: Any, routes: Any) -> None:
        if isinstance(value, dict):
            routes = value.get("route_config", routes)
            if str(value.get("@type")).endswith(".JwtAuthentication") or "providers" in value:
                found.append((routes, value))
                return
            for member in value.values():
                search(member, routes)
        elif isinstance(value, list):
            for item in value:
                search(item, routes)

    search(yaml.safe_load(case.text), None)
    return found


def _envoy(folder: Path, routes: Any, settings: dict[str, Any], port: int) -> ChildProcess:
    """Run Envoy with a filter, in which every provider has the test's key, and an app that answers 200."""
    keys = json.dumps({"keys": [KEY.jwk()]})
    for provider in settings["providers"].values():
        for name in ("remote_jwks", "remoteJwks", "local_jwks"):
            provider.pop(name, None)
        provider["local_jwks"] = {"inline_string": keys}
    answer = {"direct_response": {"status": 200}}
    routes = routes or {"virtual_hosts": [{"domains": ["*"], "routes": [{"match": {"prefix": "/"}}]}]}
    for host in routes["virtual_hosts"]:
        host["name"] = "app"
        host["routes"] = [
            {name: value for name, value in route.items() if name != "route"} | answer
            for route in host["routes"]
        ]
    manager = {
        "@type": f"{TYPE}network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "route_config": routes,
        "http_filters": [
            {
                "name": "envoy.filters.http.jwt_authn",
                "typed_config": {"@type": f"{TYPE}http.jwt_authn.v3.JwtAuthentication", **settings},
            },
            ROUTER,
        ],
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    folder.mkdir()
    file = folder / "envoy.yaml"
    file.write_text(json.dumps({"static_resources": {"listeners": [listener]}}))
    words = ("-c", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn")
    program = require_tool("envoy", "the conversion is compared with the real filter")
    return ChildProcess([program, *words], log=folder / "envoy.log", ready=partial(accepts, port))


def _tokens(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the claims of tokens for every issuer, audience and subject, and of another issuer."""
    audiences = {
        audience for provider in settings["providers"].values() for audience in provider.get("audiences", ())
    }
    issuers = {provider["issuer"] for provider in settings["providers"].values() if "issuer" in provider}
    text = json.dumps(settings)
    subjects = SUBJECTS if "subjects" in text else SUBJECTS[:1]
    audiences |= {word for word in ("web", "portal-read", "app-admin") if word in text}
    return [
        {"iss": issuer, "aud": audience, "sub": subject}
        for issuer in (*sorted(issuers), "https://other.example.com")
        for audience in (*sorted(audiences), "unknown")
        for subject in subjects
    ]


def _paths(case: Case) -> list[str]:
    """Return the paths that may matter for a case."""
    return [path for path in PATHS if path in ("/", "/zzz") or path[1:5] in case.text]


def _methods(case: Case) -> list[str]:
    return ["GET", "PUT"] if ":method" in case.text else ["GET"]


def _hosts(case: Case) -> list[str]:
    return (
        ["app.example.com", "upload.example.com"]
        if "app.example.com" in case.text or "upload." in case.text
        else ["app"]
    )


async def _ours(config: Config, policy: str, asked: list[Any]) -> list[bool]:
    """Return whether the gate allows each request."""
    tests = [
        PolicyTest(
            name="request",
            policy=policy,
            claims=claims,
            request=AskedRequest(method=method, host=host, path=path),
            expect="allow",
        )
        for path, method, host, claims in asked
    ]
    results = await policy_tests.run(config, tests)
    return [result.reason is not None and REASONS[result.reason].status == 200 for result in results]


async def _theirs(port: int, config: Config, path: str, method: str, host: str, claims: Any) -> bool | None:
    """Return whether Envoy allows a request; None if it has no route for it."""
    lines = [f"Host: {host}"]
    if claims is not None:
        now = int(time.time())
        token = KEY.sign({**claims, "iat": now, "nbf": now, "exp": now + 600})
        source = config.credential.sources[0] if config.credential.sources else None
        if source is None:
            lines.append(f"Authorization: Bearer {token}")
        elif source.header is not None:
            lines.append(f"{source.header}: {token}")
        else:
            path += f"?{source.query}={quote(token)}"
    reply = await ask(f"127.0.0.1:{port}", f"{method} {path} HTTP/1.1", *lines)
    assert reply.status in (200, 401, 403, 404)
    return None if reply.status == 404 else reply.status == 200
