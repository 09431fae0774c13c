"""`revocation: watch` on a real API server: tokens of deleted objects are rejected at once, without a review."""

from pathlib import Path

from tests.support.gate import AUDIENCE
from tests.support.kube import ControlPlane
from tests.support.process import until
from tests.support.watching import comes_to_see, let_watch, pod_token, refusal_time, watched, watching

ALL = ("serviceaccounts", "pods", "nodes")


def gate_user(namespace: str) -> str:
    """The user that the gate of a namespace reviews as."""
    return f"system:serviceaccount:{namespace}:gate"


async def test_the_token_of_a_deleted_pod_is_rejected_at_once(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """A used token is rejected a moment after its pod is deleted, and the server never reviewed it."""
    plane = control_plane
    token, _ = await pod_token(plane, namespace, "web-0")
    other, _ = await pod_token(plane, namespace, "web-1")
    await let_watch(plane, namespace, ALL)
    async with watching(plane, namespace, tmp_path) as gate:
        assert await gate.verdict(token) == (200, "")
        assert await gate.verdict(other) == (200, "")
        await plane.admin.delete(f"/api/v1/namespaces/{namespace}/pods/web-0")
        took = await refusal_time(gate, token, within=30)

        assert await gate.verdict(other) == (200, "")
    print(f"\nfrom the answer to the delete to the refusal: {took * 1000:.1f} ms")  # noqa: T201 - a figure, shown with -s
    asked = plane.audit.tokens_reviewed_by(gate_user(namespace))
    assert token not in asked
    assert other not in asked


async def test_a_new_token_of_a_deleted_pod_is_rejected(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """After the watch has seen the pod's deletion, its tokens need no review, used before or not."""
    plane = control_plane
    token, _ = await pod_token(plane, namespace, "web-0")
    await let_watch(plane, namespace, ALL)
    async with watching(plane, namespace, tmp_path) as gate:
        await plane.admin.delete(f"/api/v1/namespaces/{namespace}/pods/web-0")
        await refusal_time(gate, token, within=30)
    assert plane.audit.tokens_reviewed_by(gate_user(namespace)).count(token) <= 1


async def test_an_account_that_is_created_again_is_a_different_account(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Tokens of the deleted account stay rejected, and tokens of the new account are accepted."""
    plane = control_plane
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/app"
    await plane.admin.create_service_account(namespace, "app")
    token = await plane.admin.request_token(namespace, "app", [AUDIENCE])
    await let_watch(plane, namespace, ALL)
    async with watching(plane, namespace, tmp_path) as gate:
        assert await gate.verdict(token) == (200, "")
        await plane.admin.delete(path)
        await plane.admin.create_service_account(namespace, "app")
        fresh = await plane.admin.request_token(namespace, "app", [AUDIENCE])
        await gate.passes(fresh, within=30)
        await refusal_time(gate, token, within=30)
    assert token not in plane.audit.tokens_reviewed_by(gate_user(namespace))


async def test_the_token_of_a_new_pod_is_accepted(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """A pod that the watch has not reported yet is reviewed, and never rejected."""
    plane = control_plane
    await let_watch(plane, namespace, ALL)
    asked = []
    async with watching(plane, namespace, tmp_path) as gate:
        for number in range(20):
            token, _ = await pod_token(plane, namespace, f"web-{number}")
            assert await gate.verdict(token) == (200, "")
            asked.append(token)
    reviewed = plane.audit.tokens_reviewed_by(gate_user(namespace))
    print(f"\nnew pods that had to be reviewed: {sum(token in reviewed for token in asked)} of {len(asked)}")  # noqa: T201 - a figure, shown with -s


async def test_a_secret_bound_token_is_reviewed_unless_secrets_are_watched(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Without `secrets` the API server decides. With it the watch decides."""
    plane = control_plane
    await plane.admin.create_service_account(namespace, "app")
    secret = await plane.admin.create_secret(namespace, "anchor")
    token = await plane.admin.request_token(namespace, "app", [AUDIENCE], bound_object=secret)
    await let_watch(plane, namespace, (*ALL, "secrets"))
    own = await plane.gate_token(namespace)
    async with watching(plane, namespace, tmp_path / "watched", own=own, secrets=True) as gate:
        assert await gate.verdict(token) == (200, "")
        assert token not in plane.audit.tokens_reviewed_by(gate_user(namespace))
        async with watching(plane, namespace, tmp_path / "unwatched", own=own) as other:
            assert await other.verdict(token) == (200, "")
        assert plane.audit.tokens_reviewed_by(gate_user(namespace)).count(token) == 1
        await plane.admin.delete(f"/api/v1/namespaces/{namespace}/secrets/anchor")
        await refusal_time(gate, token, within=30)


async def test_deleting_a_node_revokes_node_bound_but_not_pod_bound_tokens(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """As in kube-apiserver, the node counts only if the token is bound to no other object."""
    plane = control_plane
    await plane.admin.create_service_account(namespace, "app")
    node = await plane.admin.create_node(f"{namespace}-node")
    pod = await plane.admin.create_pod(namespace, "web-0", account="app", node=node.name)
    of_node, of_pod = [
        await plane.admin.request_token(namespace, "app", [AUDIENCE], bound_object=bound)
        for bound in (node, pod)
    ]
    await let_watch(plane, namespace, ALL)
    async with watching(plane, namespace, tmp_path) as gate:
        assert await gate.verdict(of_node) == (200, "")
        assert await gate.verdict(of_pod) == (200, "")
        await plane.admin.delete(f"/api/v1/nodes/{node.name}")
        await refusal_time(gate, of_node, within=30)
        assert await gate.verdict(of_pod) == (200, "")


async def test_watching_one_namespace_needs_a_role_only_in_it(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """With `namespaces`, the watch decides tokens of these namespaces, and TokenReview those of others."""
    plane = control_plane
    token, _ = await pod_token(plane, namespace, "web-0")
    elsewhere, _ = await pod_token(plane, f"{namespace}-b", "web-0")
    await let_watch(plane, namespace, ("serviceaccounts", "pods"), only=namespace)
    async with watching(plane, namespace, tmp_path, namespaces=[namespace]) as gate:
        assert await gate.verdict(token) == (200, "")
        assert await gate.verdict(elsewhere) == (200, "")
        await plane.admin.delete(f"/api/v1/namespaces/{namespace}/pods/web-0")
        await refusal_time(gate, token, within=30)
    reviewed = plane.audit.tokens_reviewed_by(gate_user(namespace))
    assert token not in reviewed
    assert reviewed.count(elsewhere) == 1


async def test_without_its_role_the_gate_names_it_and_reviews(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """If the watch is forbidden, TokenReview decides, and /readyz names the missing permission."""
    plane = control_plane
    token, _ = await pod_token(plane, namespace, "web-0")
    async with watching(plane, namespace, tmp_path, sees=False) as gate:
        await gate.passes(token, within=30)

        async def shown() -> bool:
            return "with the verbs list and watch on pods" in await watched(gate)

        await until(shown, within=30)
        assert await gate.ready()
        assert plane.audit.tokens_reviewed_by(gate_user(namespace)).count(token) == 1
        await let_watch(plane, namespace, ALL)
        await comes_to_see(gate, within=40)


async def test_the_watch_resumes_after_a_restart_of_the_api_server(
    mortal_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """The deletion of a pod is noticed after a restart and before the watch resumes. Valid tokens are accepted."""
    plane = mortal_plane
    first, _ = await pod_token(plane, namespace, "web-0")
    second, _ = await pod_token(plane, namespace, "web-1")
    await let_watch(plane, namespace, ALL)
    async with watching(plane, namespace, tmp_path) as gate:
        assert await gate.verdict(first) == (200, "")
        await plane.stop_api()
        assert await gate.verdict(second) == (200, "")
        await plane.start_api()
        await plane.admin.delete(f"/api/v1/namespaces/{namespace}/pods/web-0")
        took = await refusal_time(gate, first, within=40)
        print(f"\nrefused {took:.2f} s after the delete, the server just restarted")  # noqa: T201 - a figure, shown with -s
        assert await gate.verdict(second) == (200, "")
        assert await gate.metric("authgate_watch_restarts_total", resource="pods") >= 1
    assert first not in plane.audit.tokens_reviewed_by(gate_user(namespace))
