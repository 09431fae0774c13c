"""A gate outside the cluster with only the API server's address and CA, or without them."""

import json
from pathlib import Path
from typing import Any

import pytest

from authgate.model import Allow, Identity
from authgate.tools.doctor import Level
from tests.support.doctor import found
from tests.support.gate import AUDIENCE, Gate
from tests.support.kube import AWAY_ISSUER, CLUSTER_ISSUER, ControlPlane
from tests.support.kube_api import KubeError
from tests.support.process import until

RBAC = "rbac.authorization.k8s.io"
DISCOVERER = "system:service-account-issuer-discovery"
NEVER = {"tokenReview": {"mode": "never"}}


async def publish(plane: ControlPlane) -> None:
    """Make issuer and keys public, as rbac.publicDiscovery of the chart does, and wait until they can be read."""
    body = {
        "metadata": {"name": "public-discovery"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": DISCOVERER},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": "system:unauthenticated"}],
    }
    try:
        await plane.admin.call("POST", f"/apis/{RBAC}/v1/clusterrolebindings", body)
    except KubeError as refused:
        if refused.status != 409:
            raise

    async def public() -> bool:
        try:
            return bool(await plane.client(None).call("GET", "/openid/v1/jwks"))
        except KubeError:
            return False

    await until(public, within=30)


@pytest.fixture
async def public_plane(away_plane: ControlPlane) -> ControlPlane:
    """A cluster that publishes its keys; its issuer is not its address, and what it advertises cannot be reached."""
    await publish(away_plane)
    return away_plane


def kubeconfig(folder: Path, plane: ControlPlane) -> str:
    """A kubeconfig with a server and its CA, and no user."""
    path = folder / "kubeconfig"
    server = {"server": plane.url, "certificate-authority": str(plane.ca_file)}
    document = {
        "clusters": [{"name": "away", "cluster": server}],
        "contexts": [{"name": "away", "context": {"cluster": "away"}}],
        "current-context": "away",
    }
    path.write_text(json.dumps(document))
    return str(path)


def written(folder: Path, **sections: Any) -> Path:
    """Write the configuration, and return its path."""
    path = folder / "gate.yaml"
    path.write_text(json.dumps(sections))
    return path


def as_cluster(folder: Path, plane: ControlPlane, **members: Any) -> dict[str, Any]:
    """The `cluster` entry of a gate that has only the server's address and CA."""
    return {
        "name": "away",
        "audiences": [AUDIENCE],
        "kubeconfig": kubeconfig(folder, plane),
        **NEVER,
        **members,
    }


def as_issuer(plane: ControlPlane, url: str, *, discovery: str | None = None, **gate: Any) -> dict[str, Any]:
    """The entry of `jwt` for a cluster's issuer, whose accounts are then users of that issuer."""
    issuer = {
        "url": url,
        "audiences": [AUDIENCE],
        "certificateAuthority": plane.ca_file.read_text(),
        **({"discoveryURL": discovery} if discovery else {}),
    }
    username = {"claim": "sub", "prefix": "away:"}
    return {"issuer": issuer, "claimMappings": {"username": username}, "gate": {"name": "away", **gate}}


async def token_of(plane: ControlPlane, namespace: str) -> str:
    """The token of a pod of a new account `app`."""
    await plane.admin.create_service_account(namespace, "app")
    pod = await plane.admin.create_pod(namespace, "app-0", account="app")
    return await plane.admin.request_token(namespace, "app", [AUDIENCE], bound_object=pod)


async def identity_of(gate: Gate, token: str) -> Identity:
    """The identity that a gate gives a token."""
    decision = await gate.decide(token)
    assert isinstance(decision, Allow), decision
    assert decision.identity is not None
    return decision.identity


async def assert_the_server_agrees(plane: ControlPlane, token: str, identity: Identity) -> None:
    """The identity is the ServiceAccount's, to the last extra value."""
    reviewed = await plane.admin.review_token(token, [AUDIENCE])
    assert (identity.username, identity.uid, identity.groups) == (
        reviewed.username,
        reviewed.uid,
        reviewed.groups,
    )
    assert dict(identity.extra) == reviewed.extra


async def test_an_address_and_an_authority_are_enough(
    public_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """The identity is the API server's, whatever its issuer is and whatever address of its keys it advertises."""
    token = await token_of(public_plane, namespace)
    policies = {"default": {"allow": [{"serviceAccounts": [f"{namespace}/*"]}]}}
    async with Gate(written(tmp_path, cluster=as_cluster(tmp_path, public_plane), policies=policies)) as gate:
        await gate.has_keys(within=30)
        identity = await identity_of(gate, token)
        assert (identity.issuer, identity.cluster) == (AWAY_ISSUER, "away")
        await assert_the_server_agrees(public_plane, token, identity)
    assert not public_plane.audit.tokens_reviewed_by("system:anonymous")


async def test_doctor_finds_no_problem_with_an_address_and_an_authority(
    public_plane: ControlPlane, tmp_path: Path
) -> None:
    """No finding is a problem or a warning."""
    findings = await found(written(tmp_path, cluster=as_cluster(tmp_path, public_plane)))
    assert findings.worst is Level.GOOD, findings


async def test_a_missing_role_is_named(control_plane: ControlPlane, tmp_path: Path) -> None:
    """By default, a cluster publishes nothing to anonymous clients."""
    async with Gate(written(tmp_path, cluster=as_cluster(tmp_path, control_plane))) as gate:

        async def reported() -> bool:
            report = await gate.admin("/readyz?verbose")
            return report.status == 503 and DISCOVERER in report.body

        await until(reported, within=30)


async def test_a_jwt_issuer_can_be_discovered_at_another_address(
    moved_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """With issuer.discoveryURL, its accounts are users of a `jwt` issuer, named by `sub`."""
    await publish(moved_plane)
    token = await token_of(moved_plane, namespace)
    discovery = f"{moved_plane.url}/.well-known/openid-configuration"
    entry = as_issuer(moved_plane, CLUSTER_ISSUER, discovery=discovery)
    async with Gate(written(tmp_path, jwt=[entry])) as gate:
        await gate.has_keys(within=30)
        identity = await identity_of(gate, token)
    assert (identity.username, identity.cluster) == (f"away:system:serviceaccount:{namespace}:app", None)


async def test_an_advertised_address_of_the_keys_that_cannot_be_reached_is_reported(
    public_plane: ControlPlane, tmp_path: Path
) -> None:
    """The message has the address and the setting that helps: gate.jwksURL."""
    discovery = f"{public_plane.url}/.well-known/openid-configuration"
    file = written(tmp_path, jwt=[as_issuer(public_plane, AWAY_ISSUER, discovery=discovery)])
    finding = (await found(file)).about("jwt away: keys")
    assert (finding.level, "gate.jwksURL" in finding.remedy) == (Level.BAD, True)


async def test_the_address_of_the_keys_can_be_configured(
    public_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """With gate.jwksURL neither discovery nor the advertised address is used."""
    token = await token_of(public_plane, namespace)
    entry = as_issuer(public_plane, AWAY_ISSUER, jwksURL=f"{public_plane.url}/openid/v1/jwks")
    async with Gate(written(tmp_path, jwt=[entry])) as gate:
        await gate.has_keys(within=30)
        assert (await gate.request(token)).status == 200


async def test_keys_can_be_copied_into_a_file(
    public_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """The identity is the API server's, and the API server gets no request from the gate."""
    token = await token_of(public_plane, namespace)
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(await public_plane.admin.call("GET", "/openid/v1/jwks")))
    cluster = {
        "name": "away",
        "audiences": [AUDIENCE],
        "issuers": [AWAY_ISSUER],
        "staticKeys": {"file": str(keys)},
        **NEVER,
    }
    file = written(tmp_path, cluster=cluster)
    read = public_plane.audit.key_readers()
    async with Gate(file) as gate:
        assert await gate.ready()
        await assert_the_server_agrees(public_plane, token, await identity_of(gate, token))
        stranger = public_plane.keys.altered(token, iss="https://other.example")
        assert await gate.verdict(stranger) == (401, "issuer_unknown")
    assert (await found(file)).worst is Level.GOOD
    assert public_plane.audit.key_readers() == read
