"""The gate, end to end: a token of a real kube-apiserver, a real nginx, and an app behind it.

The gate is the program that users start, `authgate serve`.
"""

import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.gate import AUDIENCE, GateProcess, write_configuration
from tests.support.kube import CLUSTER_ISSUER, ControlPlane
from tests.support.site import Site, seen_by_app, site_behind

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOBODY_TELLS_THE_ISSUER = {"issuers": [CLUSTER_ISSUER]}
"""For a gate that may review, but not read the keys and the discovery document."""


@dataclass(frozen=True, slots=True)
class Way:
    """A site, its gate with the gate's own token, and the source of its decisions."""

    site: Site
    gate: GateProcess
    own_token: str
    source: str


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["jwks", "tokenreview"])
async def way(
    request: pytest.FixtureRequest, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Way]:
    """A site whose gate decides by the cluster's keys, and one whose gate cannot read them and reviews."""
    folder, source = tmp_path_factory.mktemp(request.param), request.param
    if source == "jwks":
        own = await control_plane.gate_token(f"test-{secrets.token_hex(4)}")
        file = write_configuration(folder, control_plane, own)
    else:
        own = control_plane.reviewer_user.token
        file = write_configuration(folder, control_plane, own, cluster=NOBODY_TELLS_THE_ISSUER)
    everything = {"AUTHGATE_LOG__LEVEL": "debug", "AUTHGATE_LOG__AUDIT": "all"}
    async with GateProcess(file, everything) as gate, site_behind(gate, folder) as site:
        yield Way(site, gate, own, source)


@pytest_asyncio.fixture(loop_scope="module")
async def token(control_plane: ControlPlane, namespace: str) -> str:
    """A token of the account `app`, issued for the gate's audience."""
    await control_plane.admin.create_service_account(namespace, "app")
    return await control_plane.admin.request_token(namespace, "app", [AUDIENCE])


async def test_a_service_accounts_token_is_accepted(way: Way, token: str, namespace: str) -> None:
    """The app gets the account of the token, whether keys or a review decide."""
    decided = await way.gate.metric("authgate_verify_requests_total", decision="allow", source=way.source)

    seen = seen_by_app(await way.site.get(token))

    assert seen.values("X-Auth-Request-User") == [f"system:serviceaccount:{namespace}:app"]
    assert seen.values("X-Auth-Request-Groups") == [
        f"system:serviceaccounts,system:serviceaccounts:{namespace},system:authenticated"
    ]
    assert seen.values("X-Auth-Request-Namespace") == [namespace]
    assert seen.values("X-Auth-Request-Service-Account") == ["app"]
    assert seen.values("Authorization") == []
    now = await way.gate.metric("authgate_verify_requests_total", decision="allow", source=way.source)
    assert now == decided + 1


async def test_the_app_sees_the_pod(way: Way, control_plane: ControlPlane, namespace: str) -> None:
    """The app sees the Pod that a token is bound to."""
    await control_plane.admin.create_service_account(namespace, "app")
    pod = await control_plane.admin.create_pod(namespace, "app-0", account="app")
    token = await control_plane.admin.request_token(namespace, "app", [AUDIENCE], bound_object=pod)

    assert seen_by_app(await way.site.get(token)).values("X-Auth-Request-Pod") == ["app-0"]


async def test_a_token_for_another_audience_is_rejected(
    way: Way, control_plane: ControlPlane, namespace: str
) -> None:
    """The client gets the reason."""
    await control_plane.admin.create_service_account(namespace, "app")
    token = await control_plane.admin.request_token(namespace, "app", ["another"])
    before = len(way.site.app.seen)

    answer = await way.site.get(token)

    assert answer.verdict == (401, "audience_mismatch")
    assert 'error="invalid_token"' in answer.value("WWW-Authenticate")
    assert len(way.site.app.seen) == before


async def test_an_expired_token_is_rejected(way: Way, control_plane: ControlPlane, token: str) -> None:
    """The cluster's own key signed it. The client gets the reason."""
    before = len(way.site.app.seen)

    answer = await way.site.get(control_plane.keys.expired(token))

    assert answer.verdict == (401, "token_expired")
    assert 'error="invalid_token"' in answer.value("WWW-Authenticate")
    assert len(way.site.app.seen) == before


Naming = Callable[[str], list[tuple[str, str]]]


@pytest.mark.parametrize(
    "naming",
    [
        lambda name: [(name, "admin")],
        lambda name: [(name.lower(), "admin")],
        lambda name: [(name, "admin"), (name, "root")],
        lambda name: [(name.replace("-", "_"), "admin")],
        lambda name: [(name, "admin"), (name.replace("-", "_"), "root")],
    ],
    ids=["as it is spelled", "in lower case", "twice", "with underscores", "both spellings"],
)
async def test_a_clients_own_identity_never_reaches_the_app(
    way: Way, token: str, namespace: str, naming: Naming
) -> None:
    """The app gets the verified identity once, whatever identity headers the client sends."""
    claimed = [*naming("X-Auth-Request-User"), *naming("X-Auth-Request-Email")]

    seen = seen_by_app(await way.site.get(token, claimed))

    names = [value for name, value in seen.headers if _folded(name) == "x-auth-request-user"]
    assert names == [f"system:serviceaccount:{namespace}:app"]
    assert not {"admin", "root"} & {value for _, value in seen.headers}


def _folded(name: str) -> str:
    return name.lower().replace("_", "-")


async def test_no_token_is_ever_written(way: Way, control_plane: ControlPlane, token: str) -> None:
    """At log level debug with every decision audited, neither log nor metrics contain a part of a token."""
    keys = control_plane.keys
    tokens = [token, keys.expired(token), keys.altered(token, aud=["another"]), f"{token}x", f"{token}."]
    for shown in tokens:
        await way.site.get(shown)

    written = way.gate.process.output() + (await way.gate.admin("/metrics")).body
    assert '"authgate.audit"' in written
    for secret in [*tokens, way.own_token, control_plane.static_user.token]:
        assert [part for part in secret.split(".") if len(part) > 4 and part in written] == []


async def test_an_outage_of_the_api_server(
    mortal_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """While the API server is down, tokens that need no review are accepted. Others get 503 until it is back."""
    plane = mortal_plane
    await plane.admin.create_service_account(namespace, "app")
    used, unused = [await plane.admin.request_token(namespace, "app", [AUDIENCE]) for _ in range(2)]
    static = plane.static_user.token
    legacy = {"tokenReview": {"legacyAudiences": [CLUSTER_ISSUER]}}
    file = write_configuration(tmp_path, plane, await plane.gate_token(namespace), cluster=legacy)
    async with GateProcess(file) as gate, site_behind(gate, tmp_path) as site:
        assert (await site.get(used)).status == 200

        await plane.stop_api()

        assert (await site.get(used)).status == 200
        assert (await site.get(unused)).status == 200
        assert (await gate.verdict(static)) == (503, "review_unavailable")
        outside = await site.get(static)
        assert outside.verdict == (503, "review_unavailable")
        assert int(outside.value("Retry-After")) >= 1
        assert await gate.metric("authgate_verify_requests_total", decision="allow", source="cache") == 1
        assert await gate.ready()

        await plane.start_api()

        seen = seen_by_app(await site.get(static))
        assert seen.values("X-Auth-Request-User") == [plane.static_user.name]
        assert seen.values("X-Auth-Request-Groups") == ["robots,builders,system:authenticated"]
