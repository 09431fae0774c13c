"""Keys and TokenReview give the same identity in every mode and for every signing key."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from authgate.model import Allow, Decision, Identity
from tests.support.gate import AUDIENCE, Gate, write_configuration
from tests.support.kube import CLUSTER_ISSUER, FORMER_ISSUER, ControlPlane
from tests.support.kube_api import KubeAPI
from tests.support.kube_keys import claims_of

OTHER = "another-audience"
MODES = ("never", "fallback", "always")

WAYS: dict[str, tuple[str, str, str]] = {
    "bound to nothing but its account": ("keys", "keys", "TokenReview"),
    "bound to a pod, with or without a node": ("keys", "keys", "TokenReview"),
    "bound to a Secret": ("keys", "keys", "TokenReview"),
    "bound to a node": ("keys", "keys", "TokenReview"),
    "for several audiences": ("keys", "keys", "TokenReview"),
    "of a former issuer in `cluster.issuers`": ("keys", "keys", "TokenReview"),
    "without audience, `legacyAudiences` set": ("401 `audience_mismatch`", "TokenReview", "TokenReview"),
    "legacy Secret token, `legacyAudiences` set": ("401 `audience_mismatch`", "TokenReview", "TokenReview"),
    "static token, `legacyAudiences` set": ("401 `token_opaque`", "TokenReview", "TokenReview"),
}
"""How each kind of token is verified in each mode, as in docs/kubernetes-parity.md; the tests below check it."""


def test_the_document_has_the_same_table() -> None:
    """docs/kubernetes-parity.md has these rows."""
    text = (Path(__file__).parents[2] / "docs" / "kubernetes-parity.md").read_text()
    section = text.partition("## Where each ServiceAccount token is verified\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    assert rows[0] == ["token", *(f"`{mode}`" for mode in MODES)]
    assert {row[0]: tuple(row[1:]) for row in rows[1:]} == WAYS


@dataclass(frozen=True, slots=True)
class Signing:
    """How a control plane signs: its key's algorithm, and the issuer of the tokens, None for its own."""

    plane: ControlPlane
    former_issuer: str | None = None

    def issued(self, token: str) -> str:
        """Return the token as the former issuer would have issued it, if there is one."""
        return token if self.former_issuer is None else self.plane.keys.altered(token, iss=self.former_issuer)


@pytest.fixture(params=["RS256", "ES256", "ES256, former issuer"])
def signing(request: pytest.FixtureRequest) -> Signing:
    """A control plane of each kind."""
    if request.param == "RS256":
        return Signing(request.getfixturevalue("control_plane"))
    former = FORMER_ISSUER if "former" in request.param else None
    return Signing(request.getfixturevalue("moved_plane"), former)


@pytest.fixture
async def gates(signing: Signing, namespace: str, tmp_path: Path) -> AsyncIterator[dict[str, Gate]]:
    """A gate in each mode, which accepts two audiences and sends identities in Kubernetes' headers."""
    plane = signing.plane
    own = await plane.gate_token(namespace)
    issuers = [] if signing.former_issuer is None else [signing.former_issuer]
    async with AsyncExitStack() as stack:
        found = {}
        for mode in MODES:
            cluster = {"audiences": [AUDIENCE, OTHER], "issuers": issuers, "tokenReview": {"mode": mode}}
            headers = {"preset": "kubernetes"}
            file = write_configuration(tmp_path / mode, plane, own, cluster=cluster, headers=headers)
            found[mode] = await stack.enter_async_context(Gate(file))
        yield found


def identity_of(decision: Decision, source: str) -> Identity:
    """Return the identity of an allowed request with this decision source."""
    assert isinstance(decision, Allow), decision
    assert decision.evidence.source == source
    assert decision.identity is not None
    return decision.identity


async def unbound(api: KubeAPI, namespace: str) -> str:
    """A token bound to its account only."""
    return await api.request_token(namespace, "app", [AUDIENCE])


async def two_audiences(api: KubeAPI, namespace: str) -> str:
    """A token for both audiences and a third one, in another order than the gate's."""
    return await api.request_token(namespace, "app", [OTHER, "a-third", AUDIENCE])


async def pod(api: KubeAPI, namespace: str) -> str:
    """A token of a Pod that is not scheduled yet."""
    bound = await api.create_pod(namespace, "app-0", account="app")
    return await api.request_token(namespace, "app", [AUDIENCE], bound_object=bound)


async def pod_on_node(api: KubeAPI, namespace: str) -> str:
    """A token of a Pod on a Node."""
    await api.create_node(f"{namespace}-node")
    bound = await api.create_pod(namespace, "app-0", account="app", node=f"{namespace}-node")
    return await api.request_token(namespace, "app", [AUDIENCE], bound_object=bound)


async def pod_on_lost_node(api: KubeAPI, namespace: str) -> str:
    """A token of a Pod on a Node that was deleted."""
    bound = await api.create_pod(namespace, "app-0", account="app", node=f"{namespace}-deleted")
    return await api.request_token(namespace, "app", [AUDIENCE], bound_object=bound)


async def secret(api: KubeAPI, namespace: str) -> str:
    """A token bound to a Secret."""
    bound = await api.create_secret(namespace, "app-secret")
    return await api.request_token(namespace, "app", [AUDIENCE], bound_object=bound)


async def node(api: KubeAPI, namespace: str) -> str:
    """A token bound to a Node."""
    bound = await api.create_node(f"{namespace}-node")
    return await api.request_token(namespace, "app", [AUDIENCE], bound_object=bound)


Issue = Callable[[KubeAPI, str], Awaitable[str]]
every_binding = pytest.mark.parametrize(
    "issue",
    [unbound, two_audiences, pod, pod_on_node, pod_on_lost_node, secret, node],
    ids=lambda issue: issue.__name__,
)


@every_binding
async def test_every_mode_gives_one_identity(
    signing: Signing, gates: dict[str, Gate], namespace: str, issue: Issue
) -> None:
    """The identity is the same to the last extra value, and equal to the API server's."""
    admin = signing.plane.admin
    await admin.create_service_account(namespace, "app")
    token = signing.issued(await issue(admin, namespace))

    by_keys = identity_of(await gates["never"].decide(token), "jwks")
    assert identity_of(await gates["fallback"].decide(token), "jwks") == by_keys
    assert identity_of(await gates["always"].decide(token), "tokenreview") == by_keys
    assert by_keys.issuer == (signing.former_issuer or CLUSTER_ISSUER)
    reviewed = await admin.review_token(token, [AUDIENCE])
    assert (by_keys.username, by_keys.uid, by_keys.groups) == (
        reviewed.username,
        reviewed.uid,
        reviewed.groups,
    )
    assert dict(by_keys.extra) == reviewed.extra


@every_binding
async def test_every_mode_gives_the_same_headers(
    signing: Signing, gates: dict[str, Gate], namespace: str, issue: Issue
) -> None:
    """The headers of the preset kubernetes are the same, and hold every extra value."""
    admin = signing.plane.admin
    await admin.create_service_account(namespace, "app")
    token = signing.issued(await issue(admin, namespace))

    answers = [await gate.request(token) for gate in gates.values()]

    assert [answer.status for answer in answers] == [200, 200, 200]
    by_keys, *others = answers
    assert all(other.headers_from("X-Remote-") == by_keys.headers_from("X-Remote-") for other in others)
    reviewed = await admin.review_token(token, [AUDIENCE])
    assert by_keys.values("X-Remote-Group") == list(reviewed.groups)
    for key, values in reviewed.extra.items():
        assert by_keys.values(f"X-Remote-Extra-{key.replace('/', '%2F')}") == list(values)


async def test_a_former_issuers_tokens_are_not_reviewed_unless_configured(
    moved_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Discovery names only the first issuer. Tokens of the others are reviewed only with `cluster.issuers`."""
    await moved_plane.admin.create_service_account(namespace, "app")
    token = moved_plane.keys.altered(await unbound(moved_plane.admin, namespace), iss=FORMER_ISSUER)
    own = await moved_plane.gate_token(namespace)
    async with Gate(write_configuration(tmp_path, moved_plane, own)) as gate:
        await gate.has_keys(within=30)
        assert await gate.verdict(token) == (401, "issuer_unknown")

    assert token not in moved_plane.audit.tokens_reviewed_by(f"system:serviceaccount:{namespace}:gate")


async def static_token(plane: ControlPlane, namespace: str) -> str:
    """A line of the API server's token file."""
    return plane.static_user.token


async def legacy_token(plane: ControlPlane, namespace: str) -> str:
    """A legacy token from a Secret."""
    await plane.admin.create_service_account(namespace, "app")
    return await plane.create_legacy_token(namespace, "app", secret="app-token")


async def token_without_audience(plane: ControlPlane, namespace: str) -> str:
    """A token of the cluster's key without an audience."""
    await plane.admin.create_service_account(namespace, "app")
    claims = claims_of(await plane.admin.request_token(namespace, "app", []))
    del claims["aud"]
    return plane.keys.sign(claims)


MakeToken = Callable[[ControlPlane, str], Awaitable[str]]


@pytest.mark.parametrize("mode", ["fallback", "always"])
@pytest.mark.parametrize(
    ("make", "username"),
    [
        (static_token, "robot"),
        (legacy_token, "system:serviceaccount:{}:app"),
        (token_without_audience, "system:serviceaccount:{}:app"),
    ],
    ids=["static", "legacy Secret", "bound, without audience"],
)
async def test_tokens_without_audience_are_reviewed_if_configured(
    signing: Signing, namespace: str, tmp_path: Path, make: MakeToken, username: str, mode: str
) -> None:
    """With `legacyAudiences` TokenReview alone decides their identity."""
    plane = signing.plane
    token = await make(plane, namespace)
    cluster = {"tokenReview": {"mode": mode, "legacyAudiences": [CLUSTER_ISSUER]}}
    own = await plane.gate_token(namespace)
    async with Gate(write_configuration(tmp_path, plane, own, cluster=cluster)) as gate:
        identity = identity_of(await gate.decide(token), "tokenreview")

    reviewed = await plane.admin.review_token(token, [CLUSTER_ISSUER])
    assert identity.username == reviewed.username == username.format(namespace)
    assert (identity.uid, identity.groups, dict(identity.extra)) == (
        reviewed.uid,
        reviewed.groups,
        reviewed.extra,
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (static_token, "token_opaque"),  # although it has two dots
        (legacy_token, "audience_mismatch"),
        (token_without_audience, "audience_mismatch"),
    ],
    ids=["static", "legacy Secret", "bound, without audience"],
)
@pytest.mark.parametrize(
    "review",
    [
        {},
        {"mode": "always"},
        {"mode": "never"},
        {"mode": "never", "legacyAudiences": [CLUSTER_ISSUER]},
    ],
    ids=["fallback", "always", "never", "never, legacyAudiences"],
)
async def test_tokens_without_audience_are_denied_by_default(
    control_plane: ControlPlane,
    namespace: str,
    tmp_path: Path,
    make: MakeToken,
    reason: str,
    review: dict[str, Any],
) -> None:
    """Without `legacyAudiences`, or without reviews, they are denied and never reviewed."""
    token = await make(control_plane, namespace)
    own = await control_plane.gate_token(namespace)
    file = write_configuration(tmp_path, control_plane, own, cluster={"tokenReview": review})
    async with Gate(file) as gate:
        assert await gate.verdict(token) == (401, reason)

    assert token not in control_plane.audit.tokens_reviewed_by(f"system:serviceaccount:{namespace}:gate")
