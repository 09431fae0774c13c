"""Findings of `authgate doctor` in a real cluster, for accounts with different bindings."""

from pathlib import Path

import pytest

from authgate.tools.doctor import Level
from tests.support.doctor import Findings, found
from tests.support.gate import AUDIENCE, write_configuration
from tests.support.kube import CLUSTER_ISSUER, ControlPlane

ACCESS_REVIEW = {"default": {"accessReview": {"resource": {"verb": "get", "resource": "services"}}}}
MODES = ("never", "fallback", "always")


async def in_pod(plane: ControlPlane, folder: Path, namespace: str, token: str) -> Findings:
    """Return the findings in a pod of the namespace that is configured by one variable."""
    account = plane.write_in_cluster_folder(folder, token=token, namespace=namespace)
    environ = {**plane.in_cluster_environment(), "AUTHGATE_CLUSTER__AUDIENCES": AUDIENCE}
    return await found(None, environ=environ, service_account_dir=account)


@pytest.mark.parametrize("mode", MODES)
async def test_a_bound_account_has_no_problems(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, mode: str
) -> None:
    """Keys, token reviews and access reviews: the gate has everything that it needs."""
    plane = control_plane
    folder = plane.write_in_cluster_folder(
        tmp_path / "account", token=await plane.gate_token(namespace), namespace=namespace
    )
    kubeconfig = plane.write_kubeconfig(tmp_path / "kubeconfig", token_file=folder / "token")
    file = tmp_path / "gate.yaml"
    file.write_text(
        f"cluster: {{audiences: [{AUDIENCE}], kubeconfig: {kubeconfig}, tokenReview: {{mode: {mode}}}}}\n"
        f"policies: {ACCESS_REVIEW}\n"
    )
    findings = await found(file)
    assert findings.worst is Level.GOOD, findings
    assert findings.about("issuer").sentence == f"discovery and the gate's own token name {CLUSTER_ISSUER}"
    assert findings.about("keys").sentence.endswith("for RS256")
    assert f"system:serviceaccount:{namespace}:gate, for {CLUSTER_ISSUER}" in findings.about("token").sentence


async def test_a_pod_has_no_problems(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """The pod has only its account's files and the kubelet's variables."""
    token = await control_plane.gate_token(namespace)
    findings = await in_pod(control_plane, tmp_path, namespace, token)
    assert findings.worst is Level.GOOD, findings


@pytest.mark.parametrize(("mode", "level"), [("fallback", Level.WARNING), ("always", Level.BAD)])
async def test_the_missing_role_of_an_unbound_account_is_named(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, mode: str, level: Level
) -> None:
    """The finding has the command that binds the role."""
    token = await control_plane.gate_token(namespace, reviews=False)
    file = write_configuration(tmp_path, control_plane, token, cluster={"tokenReview": {"mode": mode}})
    finding = (await found(file)).about("TokenReview")
    assert (finding.level, "may not create tokenreviews" in finding.sentence) == (level, True)
    assert "system:auth-delegator" in finding.remedy
    assert f"--serviceaccount={namespace}:gate" in finding.remedy


async def test_the_role_that_allows_the_keys_is_named(control_plane: ControlPlane, tmp_path: Path) -> None:
    """The missing role is a warning, because TokenReview still decides."""
    file = write_configuration(
        tmp_path, control_plane, control_plane.reviewer_user.token, cluster={"issuers": [CLUSTER_ISSUER]}
    )
    findings = await found(file)
    assert findings.worst is Level.WARNING
    assert "system:service-account-issuer-discovery" in findings.about("discovery").remedy


async def test_a_rejected_credential_is_reported(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """The server rejects it, and the finding gives its expiry as the reason."""
    good = await control_plane.gate_token(namespace)
    findings = await in_pod(control_plane, tmp_path, namespace, control_plane.keys.expired(good))
    assert "does not accept the gate's own credential" in findings.about("API server").sentence
    assert findings.about("own token").level is Level.BAD


async def test_an_unreachable_api_server_is_reported(
    mortal_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """The finding names the reason why requests would fail."""
    token = await mortal_plane.gate_token(namespace)
    await mortal_plane.stop_api()
    finding = (await in_pod(mortal_plane, tmp_path, namespace, token)).about("API server")
    assert (finding.level, "Connection refused" in finding.sentence) == (Level.BAD, True)


async def test_a_watch_without_its_role_is_a_warning(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """The missing rule is named. TokenReview decides instead, so it is a warning."""
    file = write_configuration(
        tmp_path, control_plane, await control_plane.gate_token(namespace), cluster={"revocation": "watch"}
    )
    finding = (await found(file)).about("watch")
    assert (finding.level, "serviceaccounts, pods, nodes" in finding.remedy) == (Level.WARNING, True)


@pytest.mark.parametrize(
    ("configured", "level"), [("kubernetes", Level.BAD), (CLUSTER_ISSUER, Level.GOOD)], ids=["wrong", "right"]
)
async def test_the_servers_audience_is_known(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, configured: str, level: Level
) -> None:
    """The gate's own token names the audience that legacyAudiences must have."""
    file = write_configuration(
        tmp_path,
        control_plane,
        await control_plane.gate_token(namespace),
        cluster={"tokenReview": {"legacyAudiences": [configured]}},
    )
    finding = (await found(file)).about("legacyAudiences")
    assert (finding.level, CLUSTER_ISSUER in finding.sentence) == (level, True)
    assert (CLUSTER_ISSUER in finding.remedy) == (level is Level.BAD)
