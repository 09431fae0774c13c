"""One gate for several apps: a token for one app is not accepted for another, with keys and with reviews."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.gate import Gate, write_configuration
from tests.support.kube import CLUSTER_ISSUER, ControlPlane

POLICIES = {"a": {"audiences": ["app-a"]}, "b": {"audiences": ["app-b"]}, "either": {}}


async def gate_of(plane: ControlPlane, namespace: str, folder: Path, way: str) -> Gate:
    """A gate for both apps that decides by the cluster's keys or by reviews."""
    cluster: dict[str, Any] = {"audiences": ["app-a", "app-b"]}
    if way == "tokenreview":
        own = plane.reviewer_user.token
        cluster["issuers"] = [CLUSTER_ISSUER]
    else:
        own = await plane.gate_token(namespace, reviews=way == "always")
        cluster["tokenReview"] = {"mode": "always" if way == "always" else "never"}
    return Gate(write_configuration(folder, plane, own, cluster=cluster, policies=POLICIES))


@pytest.mark.parametrize("first", ["a", "b"], ids=["its own app first", "the other app first"])
@pytest.mark.parametrize("way", ["jwks", "tokenreview", "always"])
async def test_a_token_is_accepted_only_for_its_own_app(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, way: str, first: str
) -> None:
    """A token for app A is accepted for A and not for B, at the first request and from the cache, in any order."""
    await control_plane.admin.create_service_account(namespace, "app")
    token = await control_plane.admin.request_token(namespace, "app", ["app-a"])
    expected = {"a": (200, ""), "b": (401, "audience_mismatch"), "either": (200, "")}
    order = [first, *expected, *expected]
    async with await gate_of(control_plane, namespace, tmp_path, way) as gate:
        verdicts = [await gate.verdict(token, f"/policies/{name}/verify") for name in order]
        cached = await gate.metric("authgate_verify_requests_total", source="cache")

    assert verdicts == [expected[name] for name in order]
    assert cached == len(order) - 1


@pytest.mark.parametrize("way", ["jwks", "tokenreview", "always"])
async def test_a_token_for_both_apps_is_accepted_for_both(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, way: str
) -> None:
    """The token also has the audience of a third app."""
    await control_plane.admin.create_service_account(namespace, "app")
    token = await control_plane.admin.request_token(namespace, "app", ["app-b", "app-c", "app-a"])
    async with await gate_of(control_plane, namespace, tmp_path, way) as gate:
        verdicts = [await gate.verdict(token, f"/policies/{name}/verify") for name in ("a", "b")]

    assert verdicts == [(200, ""), (200, "")]


async def test_a_policy_allows_some_accounts(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """`serviceAccounts` names them by namespace and name. A denied account gets 403, not 401."""
    for name in ("reader", "writer"):
        await control_plane.admin.create_service_account(namespace, name)
    reader, writer = [
        await control_plane.admin.request_token(namespace, name, ["my-audience"])
        for name in ("reader", "writer")
    ]
    policies = {"default": {"allow": [{"serviceAccounts": [f"{namespace}/read*"]}]}}
    own = await control_plane.gate_token(namespace, reviews=False)
    async with Gate(write_configuration(tmp_path, control_plane, own, policies=policies)) as gate:
        assert await gate.verdict(reader) == (200, "")
        assert await gate.verdict(writer) == (403, "not_allowed")
