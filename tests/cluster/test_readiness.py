"""When a gate becomes ready, without a restart or a request."""

from pathlib import Path

from tests.support.gate import AUDIENCE, Gate, write_configuration
from tests.support.kube import CLUSTER_ISSUER, ControlPlane
from tests.support.process import until


async def test_a_gate_starts_before_the_api_server(
    mortal_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """It starts, reports which verifier cannot decide and why, and becomes ready when the API server is up."""
    await mortal_plane.admin.create_service_account(namespace, "app")
    token = await mortal_plane.admin.request_token(namespace, "app", [AUDIENCE])
    file = write_configuration(tmp_path, mortal_plane, await mortal_plane.gate_token(namespace))
    await mortal_plane.stop_api()
    async with Gate(file) as gate:
        assert (await gate.verdict(token))[0] == 503
        report = await gate.admin("/readyz")
        assert report.status == 503
        assert "[-]cluster/home failed: keys: " in report.body
        assert f"{mortal_plane.url} cannot be reached" in report.body
        assert (await gate.admin("/livez")).status == 200

        await mortal_plane.start_api()

        await gate.becomes_ready(within=30)
        assert (await gate.request(token)).status == 200


async def test_reviews_alone_make_it_ready(control_plane: ControlPlane, tmp_path: Path) -> None:
    """A gate that may review but not read the keys becomes ready, and reports the missing permission."""
    token = control_plane.reviewer_user.token
    file = write_configuration(tmp_path, control_plane, token, cluster={"issuers": [CLUSTER_ISSUER]})
    async with Gate(file) as gate:
        await gate.becomes_ready(within=30)
        report = await gate.admin("/readyz?verbose")

    assert "[+]cluster/home ok: keys: " in report.body
    assert "bind the ClusterRole system:service-account-issuer-discovery" in report.body
    assert "tokenreview: answers" in report.body


async def test_neither_keys_nor_reviews_is_not_ready(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """A gate with neither permission reports the two bindings that would make it ready."""
    token = control_plane.static_user.token
    async with Gate(write_configuration(tmp_path, control_plane, token)) as gate:
        await _reports(gate, "bind the ClusterRole system:auth-delegator")
        report = await gate.admin("/readyz")

    assert report.status == 503
    assert "bind the ClusterRole system:service-account-issuer-discovery" in report.body


async def test_reviews_without_an_issuer_are_not_ready(control_plane: ControlPlane, tmp_path: Path) -> None:
    """A gate that does not know the cluster's issuer cannot decide its tokens, and reports where to set it."""
    token = control_plane.reviewer_user.token
    async with Gate(write_configuration(tmp_path, control_plane, token)) as gate:
        await _reports(gate, "cluster.issuers")
        assert not await gate.ready()


async def _reports(gate: Gate, text: str) -> None:
    async def reported() -> bool:
        return text in (await gate.admin("/readyz?verbose")).body

    await until(reported, within=30)
