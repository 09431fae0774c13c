"""Two ways to one identity: the cluster's keys and TokenReview name the owner of a token alike."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from authgate.model import Allow, Decision, Identity
from tests.support.gate import AUDIENCE, Gate, write_configuration
from tests.support.kube import CLUSTER_ISSUER, ControlPlane
from tests.support.kube_api import KubeAPI
from tests.support.kube_keys import claims_of

OTHER = "another-audience"


@dataclass(frozen=True, slots=True)
class BothWays:
    """Two gates of the same cluster: one never asks it, the other asks it about every token."""

    by_keys: Gate
    by_review: Gate


@pytest.fixture
async def both(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> AsyncIterator[BothWays]:
    """The two gates, which accept two audiences and tell identities as the API server reads them."""
    own = await control_plane.gate_token(namespace)
    async with AsyncExitStack() as stack:
        gates = []
        for mode in ("never", "always"):
            cluster = {"audiences": [AUDIENCE, OTHER], "tokenReview": {"mode": mode}}
            headers = {"preset": "kubernetes"}
            file = write_configuration(tmp_path / mode, control_plane, own, cluster=cluster, headers=headers)
            gates.append(await stack.enter_async_context(Gate(file)))
        yield BothWays(*gates)


def identity_of(decision: Decision, source: str) -> Identity:
    """The identity of an allowed request that was decided in this way."""
    assert isinstance(decision, Allow), decision
    assert decision.evidence.source == source
    assert decision.identity is not None
    return decision.identity


async def unbound(api: KubeAPI, namespace: str) -> str:
    """A token that lives as long as its account."""
    return await api.request_token(namespace, "app", [AUDIENCE])


async def two_audiences(api: KubeAPI, namespace: str) -> str:
    """A token for both audiences and a third, in another order than the gate's."""
    return await api.request_token(namespace, "app", [OTHER, "a-third", AUDIENCE])


async def pod(api: KubeAPI, namespace: str) -> str:
    """A token of a Pod that runs nowhere yet."""
    bound = await api.create_pod(namespace, "app-0", account="app")
    return await api.request_token(namespace, "app", [AUDIENCE], bound_object=bound)


async def pod_on_node(api: KubeAPI, namespace: str) -> str:
    """A token of a Pod on a Node."""
    await api.create_node(f"{namespace}-node")
    bound = await api.create_pod(namespace, "app-0", account="app", node=f"{namespace}-node")
    return await api.request_token(namespace, "app", [AUDIENCE], bound_object=bound)


async def pod_on_lost_node(api: KubeAPI, namespace: str) -> str:
    """A token of a Pod on a Node that is no object of the cluster any more."""
    bound = await api.create_pod(namespace, "app-0", account="app", node=f"{namespace}-gone")
    return await api.request_token(namespace, "app", [AUDIENCE], bound_object=bound)


async def secret(api: KubeAPI, namespace: str) -> str:
    """A token that lives and dies with a Secret."""
    bound = await api.create_secret(namespace, "app-secret")
    return await api.request_token(namespace, "app", [AUDIENCE], bound_object=bound)


async def node(api: KubeAPI, namespace: str) -> str:
    """A token that lives and dies with a Node."""
    bound = await api.create_node(f"{namespace}-node")
    return await api.request_token(namespace, "app", [AUDIENCE], bound_object=bound)


Issue = Callable[[KubeAPI, str], Awaitable[str]]
every_binding = pytest.mark.parametrize(
    "issue",
    [unbound, two_audiences, pod, pod_on_node, pod_on_lost_node, secret, node],
    ids=lambda issue: issue.__name__,
)


@every_binding
async def test_keys_and_reviews_give_one_identity(
    control_plane: ControlPlane, both: BothWays, namespace: str, issue: Issue
) -> None:
    """The identity is the same to the last extra value, and the one that the API server tells."""
    await control_plane.admin.create_service_account(namespace, "app")
    token = await issue(control_plane.admin, namespace)

    by_keys = identity_of(await both.by_keys.decide(token), "jwks")
    by_review = identity_of(await both.by_review.decide(token), "tokenreview")

    assert by_keys == by_review
    told = await control_plane.admin.review_token(token, [AUDIENCE])
    assert (by_keys.username, by_keys.uid, by_keys.groups) == (told.username, told.uid, told.groups)
    assert dict(by_keys.extra) == told.extra


@every_binding
async def test_keys_and_reviews_give_the_same_headers(
    control_plane: ControlPlane, both: BothWays, namespace: str, issue: Issue
) -> None:
    """The headers of the preset kubernetes are the same, and hold every extra value."""
    await control_plane.admin.create_service_account(namespace, "app")
    token = await issue(control_plane.admin, namespace)

    by_keys, by_review = await both.by_keys.request(token), await both.by_review.request(token)

    assert by_keys.status == 200
    assert by_keys.headers_from("X-Remote-") == by_review.headers_from("X-Remote-")
    told = await control_plane.admin.review_token(token, [AUDIENCE])
    assert by_keys.values("X-Remote-Group") == list(told.groups)
    for key, values in told.extra.items():
        assert by_keys.values(f"X-Remote-Extra-{key.replace('/', '%2F')}") == list(values)


async def static_token(plane: ControlPlane, namespace: str) -> str:
    """A line of the API server's token file."""
    return plane.static_user.token


async def legacy_token(plane: ControlPlane, namespace: str) -> str:
    """A token out of a Secret."""
    await plane.admin.create_service_account(namespace, "app")
    return await plane.create_legacy_token(namespace, "app", secret="app-token")


async def token_for_nobody(plane: ControlPlane, namespace: str) -> str:
    """A token of the cluster's key that names no audience."""
    await plane.admin.create_service_account(namespace, "app")
    claims = claims_of(await plane.admin.request_token(namespace, "app", []))
    del claims["aud"]
    return plane.keys.sign(claims)


MakeToken = Callable[[ControlPlane, str], Awaitable[str]]


@pytest.mark.parametrize(
    ("make", "username"),
    [
        (static_token, "robot"),
        (legacy_token, "system:serviceaccount:{}:app"),
        (token_for_nobody, "system:serviceaccount:{}:app"),
    ],
    ids=["static", "legacy Secret", "bound, without audience"],
)
async def test_tokens_without_audience_are_reviewed_where_told(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, make: MakeToken, username: str
) -> None:
    """With `legacyAudiences` they are who the API server says."""
    token = await make(control_plane, namespace)
    cluster = {"tokenReview": {"legacyAudiences": [CLUSTER_ISSUER]}}
    own = await control_plane.gate_token(namespace)
    async with Gate(write_configuration(tmp_path, control_plane, own, cluster=cluster)) as gate:
        identity = identity_of(await gate.decide(token), "tokenreview")

    told = await control_plane.admin.review_token(token, [CLUSTER_ISSUER])
    assert identity.username == told.username == username.format(namespace)
    assert (identity.uid, identity.groups, dict(identity.extra)) == (told.uid, told.groups, told.extra)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (static_token, "token_opaque"),
        (legacy_token, "audience_mismatch"),
        (token_for_nobody, "audience_mismatch"),
    ],
    ids=["static", "legacy Secret", "bound, without audience"],
)
async def test_tokens_without_audience_are_refused_by_default(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, make: MakeToken, reason: str
) -> None:
    """Without `legacyAudiences` they open nothing, and nobody is asked about them."""
    token = await make(control_plane, namespace)
    own = await control_plane.gate_token(namespace)
    async with Gate(write_configuration(tmp_path, control_plane, own)) as gate:
        assert await gate.verdict(token) == (401, reason)

    assert token not in control_plane.audit.tokens_reviewed_by(f"system:serviceaccount:{namespace}:gate")
