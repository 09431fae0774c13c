"""Headers that authgate removes over gRPC if Envoy's configuration removes none."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from authgate.vocabulary import OTHER_IDENTITY_HEADERS, REMOVED_HEADERS
from tests.proxies.programs import PROGRAMS
from tests.proxies.site import protected
from tests.support.wire import bearer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="session")

GRPC = PROGRAMS["envoy-grpc"]
USERNAME = "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:username)%"
RAW = pytest.mark.parametrize("raw", [False, True], ids=["joined", "raw"])
LIES = [
    "X-Auth-Request-User: mallory",
    "x-auth-request-user: mallory",
    "X-Auth-Request-Email: mallory",
    "X_Auth_Request_User: mallory",
    "X_Auth-Request_Email: mallory",
    "X-Auth-Forward-Cookie: mallory",
    "X-Remote-Extra-Scopes: mallory",
    "Remote-User: mallory",
    *(f"{name}: mallory" for name in OTHER_IDENTITY_HEADERS),
]


def check_only(text: str, *, raw: bool) -> str:
    """Keep only the check of the snippet, and send the user from the metadata to the app."""
    document: dict[str, Any] = yaml.safe_load(text)
    [chain] = document["static_resources"]["listeners"][0]["filter_chains"]
    manager = chain["filters"][0]["typed_config"]
    del manager["common_http_protocol_options"]
    manager["route_config"]["request_headers_to_add"] = [
        {"header": {"key": "x-metadata-user", "value": USERNAME}}
    ]
    _clears, check, router = manager["http_filters"]
    del check["typed_config"]["allowed_headers"]
    check["typed_config"]["encode_raw_headers"] = raw
    manager["http_filters"] = [check, router]
    return yaml.safe_dump(document)


@RAW
async def test_authgate_removes_identity_headers_of_the_client(tmp_path: Path, *, raw: bool) -> None:
    """Headers with a value are overwritten and the others are removed, in every spelling."""
    program = replace(GRPC, change=partial(check_only, raw=raw))
    async with protected(program, tmp_path / "proxy") as site:
        seen = await site.passes("GET / HTTP/1.1", *LIES)
        assert seen.values("X-Auth-Request-User") == ["corp:ada"]
        assert seen.values("x-metadata-user") == ["corp:ada"]
        assert "mallory" not in str(seen)


@RAW
async def test_authgate_removes_headers_that_apps_trust(tmp_path: Path, *, raw: bool) -> None:
    """These are headers that describe a request, in every spelling."""
    program = replace(GRPC, change=partial(check_only, raw=raw))
    async with protected(program, tmp_path / "proxy") as site:
        for name in ("X-Forwarded-Host", *REMOVED_HEADERS):
            seen = await site.passes(
                "GET / HTTP/1.1", f"{name}: mallory", f"{name.replace('-', '_')}: mallory"
            )
            assert "mallory" not in str(seen), name


@RAW
async def test_two_tokens_are_denied(tmp_path: Path, *, raw: bool) -> None:
    """Envoy joins them or sends them separately."""
    program = replace(GRPC, change=partial(check_only, raw=raw))
    async with protected(program, tmp_path / "proxy") as site:
        reply = await site.ask("GET / HTTP/1.1", bearer(site.token()), token=site.token())
        assert (reply.status, reply.reason) == (401, "multiple_credentials")
        assert site.app.seen == []


@pytest.mark.parametrize(("policy", "status"), [("default", 403), ("billing", 200)])
async def test_envoys_configuration_selects_the_policy(tmp_path: Path, policy: str, status: int) -> None:
    """--policy writes the name into it."""
    policies = {"default": {"deny": [{"users": ["corp:ada"]}]}, "billing": {}}
    async with protected(GRPC, tmp_path / "proxy", policy=policy, more={"policies": policies}) as site:
        reply = await site.ask("GET / HTTP/1.1", token=site.token())
    assert reply.status == status
