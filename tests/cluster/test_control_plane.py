"""The control plane of these tests is real: it issues, reviews and rejects tokens as a cluster does."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp
import jwt
import pytest

from tests.support.kube import CLUSTER_ISSUER, REVIEWER, ControlPlane, PlaneOptions
from tests.support.kube_api import KubeError
from tests.support.kube_keys import claims_of
from tests.support.tools import require_tool

AUDIENCE = "my-audience"


async def test_a_requested_token_is_reviewed_as_its_account(control_plane: ControlPlane) -> None:
    """TokenReview accepts a requested token for its audience and names the ServiceAccount."""
    uid = await control_plane.admin.create_service_account("issue", "app")
    token = await control_plane.admin.request_token("issue", "app", [AUDIENCE])

    review = await control_plane.admin.review_token(token, [AUDIENCE])

    assert review.authenticated
    assert review.audiences == (AUDIENCE,)
    assert (review.username, review.uid) == ("system:serviceaccount:issue:app", uid)
    assert set(review.groups) == {
        "system:serviceaccounts",
        "system:serviceaccounts:issue",
        "system:authenticated",
    }


@pytest.mark.parametrize("audiences", [["another"], []], ids=["another audience", "the server's own"])
async def test_a_requested_token_has_no_other_audience(
    control_plane: ControlPlane, audiences: list[str]
) -> None:
    """TokenReview rejects a token for an audience that it was not requested for."""
    await control_plane.admin.create_namespace("elsewhere")
    name = f"app-{len(audiences)}"
    await control_plane.admin.create_service_account("elsewhere", name)
    token = await control_plane.admin.request_token("elsewhere", name, [AUDIENCE])

    assert not (await control_plane.admin.review_token(token, audiences)).authenticated


@pytest.mark.parametrize(
    ("audiences", "accepted"),
    [([], True), ([CLUSTER_ISSUER], True), ([AUDIENCE], False)],
    ids=["no audience", "the server's own", "another audience"],
)
async def test_a_static_token_has_the_servers_own_audience_only(
    control_plane: ControlPlane, audiences: list[str], *, accepted: bool
) -> None:
    """A token of `--token-auth-file` is valid only for the API server's own audiences."""
    user = control_plane.static_user

    review = await control_plane.admin.review_token(user.token, audiences)

    assert review.authenticated is accepted
    assert review.username == (user.name if accepted else "")


async def test_a_legacy_secret_token_is_accepted(control_plane: ControlPlane) -> None:
    """A token in a Secret, without audience and expiry, is valid for the API server's own audience."""
    await control_plane.admin.create_service_account("legacy", "app")
    token = await control_plane.create_legacy_token("legacy", "app", secret="app-token")

    review = await control_plane.admin.review_token(token, [CLUSTER_ISSUER])

    assert review.username == "system:serviceaccount:legacy:app", review.error


async def test_a_legacy_token_is_rejected_after_its_secret_is_deleted(control_plane: ControlPlane) -> None:
    """The server looks up the Secret, so it rejects a legacy token without one."""
    await control_plane.admin.create_service_account("legacy", "deleted")
    token = await control_plane.create_legacy_token("legacy", "deleted", secret="deleted-token")
    await control_plane.admin.delete("/api/v1/namespaces/legacy/secrets/deleted-token")

    assert not (await control_plane.admin.review_token(token)).authenticated


async def test_a_pods_token_names_pod_and_node(control_plane: ControlPlane) -> None:
    """A token bound to a Pod names the Pod and its Node, and so does its review."""
    await control_plane.admin.create_service_account("bound", "app")
    await control_plane.admin.create_node("node-1")
    pod = await control_plane.admin.create_pod("bound", "app-0", account="app", node="node-1")
    token = await control_plane.admin.request_token("bound", "app", [AUDIENCE], bound_object=pod)

    extra = (await control_plane.admin.review_token(token, [AUDIENCE])).extra

    assert extra["authentication.kubernetes.io/pod-name"] == ("app-0",)
    assert extra["authentication.kubernetes.io/pod-uid"] == (pod.uid,)
    assert extra["authentication.kubernetes.io/node-name"] == ("node-1",)


async def test_a_token_has_the_requested_lifetime(control_plane: ControlPlane) -> None:
    """TokenRequest applies `expiration_seconds`."""
    await control_plane.admin.create_service_account("short", "app")
    token = await control_plane.admin.request_token("short", "app", [AUDIENCE], expiration_seconds=600)

    assert claims_of(token)["exp"] - claims_of(token)["iat"] == 600


async def test_tokens_can_be_signed_with_the_clusters_key(control_plane: ControlPlane) -> None:
    """A token signed by the test names the same key as one of the server, and is accepted like it."""
    await control_plane.admin.create_service_account("signed", "app")
    issued = await control_plane.admin.request_token("signed", "app", [AUDIENCE])
    signed = control_plane.keys.altered(issued, jti="made-by-the-test")

    assert jwt.get_unverified_header(signed)["kid"] == jwt.get_unverified_header(issued)["kid"]
    assert (await control_plane.admin.review_token(signed, [AUDIENCE])).authenticated


async def test_an_expired_token_is_rejected(control_plane: ControlPlane) -> None:
    """A token that the test signs with an expiry in the past is rejected."""
    await control_plane.admin.create_service_account("expired", "app")
    token = await control_plane.admin.request_token("expired", "app", [AUDIENCE])
    expired = control_plane.keys.expired(token)

    assert not (await control_plane.admin.review_token(expired, [AUDIENCE])).authenticated


async def test_a_service_account_reads_the_signing_keys(control_plane: ControlPlane) -> None:
    """Any ServiceAccount can read the key set with its token, without its own binding."""
    await control_plane.admin.create_service_account("keys", "gate")
    client = control_plane.client(await control_plane.admin.request_token("keys", "gate", []))

    keys = (await client.call("GET", "/openid/v1/jwks"))["keys"]

    assert [key["kid"] for key in keys] == [control_plane.keys.key_id]


async def test_the_reviewer_reads_no_signing_keys(control_plane: ControlPlane) -> None:
    """The reviewer account can only review, like a gate that cannot reach the key set."""
    reviewer = control_plane.client(control_plane.reviewer_user.token)

    with pytest.raises(KubeError, match=f'User \\\\"{REVIEWER}\\\\" cannot get path') as refused:
        await reviewer.call("GET", "/openid/v1/jwks")

    assert refused.value.status == 403


async def test_reviews_need_the_binding(control_plane: ControlPlane) -> None:
    """A ServiceAccount without a binding to system:auth-delegator cannot review."""
    await control_plane.admin.create_service_account("unbound", "gate")
    client = control_plane.client(await control_plane.admin.request_token("unbound", "gate", []))

    with pytest.raises(KubeError, match="cannot create resource"):
        await client.review_token("any")


async def test_a_kubeconfig_gives_access_to_the_api(control_plane: ControlPlane, tmp_path: Path) -> None:
    """With the kubeconfig, kubectl acts as the owner of the token in a pod's folder."""
    kubectl = require_tool("kubectl", "it shows that the kubeconfig is one")
    await control_plane.admin.create_service_account("files", "gate")
    token = await control_plane.admin.request_token("files", "gate", [])
    folder = control_plane.write_in_cluster_folder(tmp_path / "pod", token=token, namespace="files")
    config = control_plane.write_kubeconfig(tmp_path / "config", token_file=folder / "token")

    child = await asyncio.create_subprocess_exec(
        kubectl, f"--kubeconfig={config}", "auth", "whoami", "--output=json", stdout=asyncio.subprocess.PIPE
    )
    whoami, _ = await child.communicate()

    assert b"system:serviceaccount:files:gate" in whoami


async def test_a_stopped_server_restarts_with_its_data(mortal_plane: ControlPlane) -> None:
    """A stopped API server refuses connections. After a restart it has the earlier accounts and tokens."""
    plane = mortal_plane
    await plane.admin.create_service_account("outage", "app")
    token = await plane.admin.request_token("outage", "app", [AUDIENCE])
    reviewer = plane.client(plane.reviewer_user.token)

    await plane.stop_api()
    with pytest.raises(aiohttp.ClientConnectorError):
        await reviewer.review_token(token, [AUDIENCE])

    await plane.start_api()
    assert (await reviewer.review_token(token, [AUDIENCE])).authenticated


async def test_a_suspended_server_does_not_answer(mortal_plane: ControlPlane) -> None:
    """A suspended API server answers its clients only after it is resumed."""
    mortal_plane.suspend()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await mortal_plane.admin.review_token("any")

    mortal_plane.resume()
    assert not (await mortal_plane.admin.review_token("any")).authenticated


async def test_a_test_can_set_issuers_and_authentication_configuration(
    new_control_plane: Callable[..., ControlPlane],
) -> None:
    """The server issues tokens of the first issuer, and also accepts an AuthenticationConfiguration."""
    configuration = """
        apiVersion: apiserver.config.k8s.io/v1
        kind: AuthenticationConfiguration
        anonymous: {enabled: false}
    """
    options = PlaneOptions(
        issuers=("https://new.example", "https://old.example"), authentication_config=configuration
    )
    async with new_control_plane(options) as plane:
        await plane.admin.create_service_account("moved", "app")
        token = await plane.admin.request_token("moved", "app", [AUDIENCE])
        assert claims_of(token)["iss"] == "https://new.example"

        with pytest.raises(KubeError, match="Unauthorized"):
            await plane.client(None).call("GET", "/version")
