"""The gate in a pod needs its ServiceAccount folder, two variables of the kubelet and one of the user."""

from pathlib import Path

import trustme

from tests.support.gate import AUDIENCE, Gate
from tests.support.kube import CLUSTER_ISSUER, ControlPlane

AUDIENCES_ONLY = {"AUTHGATE_CLUSTER__AUDIENCES": AUDIENCE}


async def test_one_variable_is_a_complete_configuration(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """With `AUTHGATE_CLUSTER__AUDIENCES` alone the gate fetches the cluster's keys and accepts its tokens."""
    folder = control_plane.write_in_cluster_folder(
        tmp_path, token=await control_plane.gate_token(namespace, reviews=False), namespace=namespace
    )
    await control_plane.admin.create_service_account(namespace, "app")
    token = await control_plane.admin.request_token(namespace, "app", [AUDIENCE])
    environ = {**control_plane.in_cluster_environment(), **AUDIENCES_ONLY}

    async with Gate(None, environ, folder) as gate:
        answer = await gate.request(token)

    assert answer.value("X-Auth-Request-User") == f"system:serviceaccount:{namespace}:app"
    assert f"system:serviceaccount:{namespace}:gate" in control_plane.audit.key_readers()


async def test_a_rotated_token_is_used(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """The gate uses the token that is in its folder now, even after the first token's account was deleted."""
    plane = control_plane
    reviewed = [await _legacy_token(plane, namespace, number) for number in (1, 2)]
    folder = plane.write_in_cluster_folder(
        tmp_path, token=await plane.gate_token(namespace), namespace=namespace
    )
    environ = {**plane.in_cluster_environment(), **AUDIENCES_ONLY, **_LEGACY}
    async with Gate(None, environ, folder) as gate:
        assert (await gate.request(reviewed[0])).status == 200
        assert reviewed[0] in plane.audit.tokens_reviewed_by(f"system:serviceaccount:{namespace}:gate")

        successor = f"{namespace}-next"
        plane.write_in_cluster_folder(tmp_path, token=await plane.gate_token(successor), namespace=namespace)
        await plane.admin.delete(f"/api/v1/namespaces/{namespace}/serviceaccounts/gate")

        assert (await gate.request(reviewed[1])).status == 200
    assert reviewed[1] in plane.audit.tokens_reviewed_by(f"system:serviceaccount:{successor}:gate")


async def test_the_gate_recovers_from_an_expired_token(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """A gate whose own token is rejected decides nothing and reports it. It works once the folder has a valid one."""
    plane = control_plane
    good = await plane.gate_token(namespace)
    await plane.admin.create_service_account(namespace, "app")
    token = await plane.admin.request_token(namespace, "app", [AUDIENCE])
    folder = plane.write_in_cluster_folder(tmp_path, token=plane.keys.expired(good), namespace=namespace)
    async with Gate(None, {**plane.in_cluster_environment(), **AUDIENCES_ONLY}, folder) as gate:
        assert (await gate.verdict(token)) == (503, "review_forbidden")
        report = await gate.admin("/readyz")
        assert report.status == 503
        assert "the API server does not accept the gate's own credential" in report.body

        plane.write_in_cluster_folder(tmp_path, token=good, namespace=namespace)

        assert (await gate.request(token)).status == 200


async def test_the_gate_recovers_from_a_wrong_certificate_authority(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """A gate with the wrong CA sends the server nothing and reports it. It works once it has the right CA."""
    plane = control_plane
    own = await plane.gate_token(namespace)
    await plane.admin.create_service_account(namespace, "app")
    token = await plane.admin.request_token(namespace, "app", [AUDIENCE])
    folder = plane.write_in_cluster_folder(tmp_path, token=own, namespace=namespace)
    trustme.CA().cert_pem.write_to_path(folder / "ca.crt")
    async with Gate(None, {**plane.in_cluster_environment(), **AUDIENCES_ONLY}, folder) as gate:
        assert (await gate.verdict(token)) == (503, "review_unavailable")
        report = await gate.admin("/readyz")
        assert report.status == 503
        assert "certificate" in report.body
        assert token not in plane.audit.tokens_reviewed_by(f"system:serviceaccount:{namespace}:gate")

        plane.write_in_cluster_folder(tmp_path, token=own, namespace=namespace)

        await gate.passes(token, within=30)


async def _legacy_token(plane: ControlPlane, namespace: str, number: int) -> str:
    await plane.admin.create_service_account(namespace, f"app-{number}")
    return await plane.create_legacy_token(namespace, f"app-{number}", secret=f"token-{number}")


_LEGACY = {"AUTHGATE_CLUSTER__TOKEN_REVIEW__LEGACY_AUDIENCES": CLUSTER_ISSUER}
"""A legacy token is decided by a review, whatever keys are in memory."""
