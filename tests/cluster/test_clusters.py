"""One gate for two real clusters, each with its own issuer, keys and certificate authority."""

import json
from pathlib import Path
from typing import Any

import pytest

from authgate.model import Allow
from tests.support.gate import AUDIENCE, Gate
from tests.support.kube import ControlPlane
from tests.support.process import until
from tests.support.watching import let_watch, pod_token, refusal_time

ALL = ("serviceaccounts", "pods", "nodes")


async def configured(folder: Path, planes: dict[str, ControlPlane], namespace: str, **sections: Any) -> Path:
    """The configuration of a gate for these clusters, in which it has an account each; returns its path.

    `cluster` in `sections` adds to each entry.
    """
    further = sections.pop("cluster", {})
    entries = []
    for name, plane in planes.items():
        token = await plane.gate_token(namespace)
        kubeconfig = plane.write_kubeconfig(folder / f"{name}.kubeconfig", token=token)
        entries.append({"name": name, "audiences": [AUDIENCE], "kubeconfig": str(kubeconfig), **further})
    path = folder / "gate.yaml"
    path.write_text(json.dumps({"cluster": entries, **sections}, indent=2))
    return path


async def token_of(plane: ControlPlane, namespace: str) -> str:
    """The token of a new account `app`."""
    await plane.admin.create_service_account(namespace, "app")
    return await plane.admin.request_token(namespace, "app", [AUDIENCE])


async def both_decide(gate: Gate) -> None:
    """Wait until both clusters' tokens can be decided."""

    async def decided() -> bool:
        report = (await gate.admin("/readyz?verbose")).body
        return "[+]cluster/here " in report and "[+]cluster/away " in report

    await until(decided, within=30)


def shown_to(plane: ControlPlane) -> list[str]:
    """Every token that the API server reviewed."""
    return [review.token for review in plane.audit.reviews()]


@pytest.mark.parametrize("mode", ["never", "fallback", "always"])
async def test_each_token_is_decided_by_its_own_cluster(
    control_plane: ControlPlane, away_plane: ControlPlane, namespace: str, tmp_path: Path, mode: str
) -> None:
    """Accounts of one name in two clusters are two identities, and neither API server sees a token of the other."""
    planes = {"here": control_plane, "away": away_plane}
    tokens = {name: await token_of(plane, namespace) for name, plane in planes.items()}
    file = await configured(tmp_path, planes, namespace, cluster={"tokenReview": {"mode": mode}})
    async with Gate(file) as gate:
        await both_decide(gate)
        for name, token in tokens.items():
            decision = await gate.decide(token)
            assert isinstance(decision, Allow), decision
            assert decision.identity is not None
            assert decision.identity.cluster == name
            assert (await gate.request(token)).value("X-Auth-Request-Cluster") == name
            assert (token in shown_to(planes[name])) == (mode == "always")
            reported = await planes[name].admin.review_token(token, [AUDIENCE])
            assert decision.identity.uid == reported.uid
            assert dict(decision.identity.extra) == reported.extra

    assert tokens["here"] not in shown_to(away_plane)
    assert tokens["away"] not in shown_to(control_plane)


async def test_a_cluster_cannot_sign_for_another(
    control_plane: ControlPlane, away_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """A token of one cluster that names the other's issuer is denied. Only the other cluster reviews it."""
    planes = {"here": control_plane, "away": away_plane}
    forged = control_plane.keys.altered(
        await token_of(control_plane, namespace), iss="https://away.example", jti=namespace
    )
    async with Gate(await configured(tmp_path, planes, namespace)) as gate:
        await both_decide(gate)
        assert (await gate.verdict(forged))[0] == 401
    assert forged not in shown_to(control_plane)


async def test_a_cluster_that_is_down_does_not_delay_another(
    mortal_plane: ControlPlane, away_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """The gate starts, and decides tokens of the other cluster."""
    planes = {"here": mortal_plane, "away": away_plane}
    token = await token_of(away_plane, namespace)
    file = await configured(tmp_path, planes, namespace)
    await mortal_plane.stop_api()
    async with Gate(file) as gate:
        await gate.becomes_ready(within=30)
        await gate.passes(token, within=30)
        assert "[-]cluster/here " in (await gate.admin("/readyz?verbose")).body


async def test_each_cluster_has_watches_of_its_own(
    control_plane: ControlPlane, away_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Deleting a pod in one cluster revokes its token. The other cluster's token stays valid."""
    planes = {"here": control_plane, "away": away_plane}
    tokens = {name: (await pod_token(plane, namespace, "web-0"))[0] for name, plane in planes.items()}
    file = await configured(tmp_path, planes, namespace, cluster={"revocation": "watch"})
    for plane in planes.values():
        await let_watch(plane, namespace, ALL)
    async with Gate(file) as gate:
        await both_decide(gate)
        for token in tokens.values():
            await gate.passes(token, within=30)
        assert {
            sample.labels["cluster"]
            for sample in await gate.samples()
            if sample.name == "authgate_watch_objects"
        } == {"here", "away"}
        await away_plane.admin.delete(f"/api/v1/namespaces/{namespace}/pods/web-0")
        await refusal_time(gate, tokens["away"], within=30)
        assert (await gate.request(tokens["here"])).status == 200


async def test_each_clusters_rbac_judges_its_own(
    control_plane: ControlPlane, away_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """A permission in one cluster does not count for an account of the same name in the other."""
    planes = {"here": control_plane, "away": away_plane}
    tokens = {name: await token_of(plane, namespace) for name, plane in planes.items()}
    name = f"{namespace}-pods"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    role = {"metadata": {"name": name}, "rules": rules}
    await away_plane.admin.call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
    user = f"system:serviceaccount:{namespace}:app"
    await away_plane.admin.bind_cluster_role(name, name=name, subjects=[user])
    asked = {"verb": "get", "resource": "pods", "namespace": "{{ .Namespace }}"}
    policies = {"default": {"accessReview": {"resource": asked, "deniedTTL": "0s"}}}
    async with Gate(await configured(tmp_path, planes, namespace, policies=policies)) as gate:
        await both_decide(gate)
        await gate.passes(tokens["away"], within=30)
        assert await gate.verdict(tokens["here"]) == (403, "access_denied")


async def test_the_second_cluster_with_the_same_issuer_fails_closed(
    control_plane: ControlPlane, moved_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Its tokens are denied, it receives no token of the first cluster, and `/readyz?verbose` shows why."""
    planes = {"here": control_plane, "away": moved_plane}
    tokens = {name: await token_of(plane, namespace) for name, plane in planes.items()}
    async with Gate(await configured(tmp_path, planes, namespace)) as gate:

        async def shown() -> bool:
            return "is also the issuer of cluster 'here'" in (await gate.admin("/readyz?verbose")).body

        await until(shown, within=30)
        await gate.passes(tokens["here"], within=30)
        assert (await gate.verdict(tokens["away"]))[0] == 401
    assert tokens["here"] not in shown_to(moved_plane)
    assert tokens["away"] not in shown_to(moved_plane)
