from __future__ import annotations

import base64
import json
import re

import jwt
import pytest

from authgate.dev.kube import MASTERS, SERVICE_ACCOUNTS, KubeState, Permission, User
from authgate.dev.objects import Node, Pod, Secret, ServiceAccount
from tests.support.clock import FakeClock
from tests.support.key_pool import KeyPool

UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def payload(token: str) -> bytes:
    """Return the payload's bytes."""
    encoded = token.split(".")[1]
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


def binding(token: str) -> object:
    """Return the claim that names account and bound object."""
    return json.loads(payload(token))["kubernetes.io"]


def test_pyjwt_accepts_an_account_token(pool: KeyPool) -> None:
    """A ServiceAccount token minted now passes every check of PyJWT's own decode."""
    state = KubeState(pool.key("RS256"))
    token = state.account_token(state.service_account("demo"))
    claims = jwt.decode(
        token, state.issuer.key.public, algorithms=["RS256"], issuer=state.issuer.url, audience="my-audience"
    )
    assert claims["sub"] == "system:serviceaccount:default:demo"


def test_an_account_token_is_byte_for_byte_a_kube_apiservers(state: KubeState, clock: FakeClock) -> None:
    """Members and their order are those of a token that a real server issued."""
    clock.set_wall(1795332106.5)
    account = state.service_account("demo")
    node = state.node("n1")
    pod = state.pod(account, "p1", node=node)
    written = payload(state.account_token(account, bound_to=pod, claims={"jti": "x"})).decode()
    assert written == (
        '{"aud":["my-audience"],"exp":1795335706,"iat":1795332106,"iss":"https://kubernetes.default.svc","jti":"x",'
        f'"kubernetes.io":{{"namespace":"default","node":{{"name":"n1","uid":"{node.uid}"}},'
        f'"pod":{{"name":"p1","uid":"{pod.uid}"}},"serviceaccount":{{"name":"demo","uid":"{account.uid}"}}}},'
        '"nbf":1795332106,"sub":"system:serviceaccount:default:demo"}'
    )


def test_every_token_has_an_id_of_its_own(state: KubeState) -> None:
    """The jti is a fresh UUID."""
    account = state.service_account("demo")
    ids = {json.loads(payload(state.account_token(account)))["jti"] for _ in range(2)}
    assert len(ids) == 2
    assert all(UID.fullmatch(one) for one in ids)


def test_a_token_of_a_pod_names_a_deleted_node(state: KubeState) -> None:
    """The token has the node's name without a UID, as from a real server."""
    account, node = state.service_account("demo"), state.node("n1")
    pod = state.pod(account, "p1", node=node)
    state.objects.remove(node)
    bound = binding(state.account_token(account, bound_to=pod))
    assert isinstance(bound, dict)
    assert bound["node"] == {"name": "n1"}


@pytest.mark.parametrize("kind", ["node", "secret"])
def test_a_token_names_its_bound_object(state: KubeState, kind: str) -> None:
    """A token bound to a node or a secret has its name and UID."""
    bound_to: Node | Secret = state.node("x") if kind == "node" else state.secret("x")
    bound = binding(state.account_token(state.service_account("demo"), bound_to=bound_to))
    assert isinstance(bound, dict)
    assert bound[kind] == {"name": "x", "uid": bound_to.uid}


def test_a_legacy_token_has_neither_audience_nor_times(state: KubeState) -> None:
    """A Secret's token has the claims of Kubernetes' LegacyClaims and no others."""
    account = state.service_account("demo")
    assert json.loads(payload(state.legacy_token(account, "demo-token"))) == {
        "iss": "kubernetes/serviceaccount",
        "sub": "system:serviceaccount:default:demo",
        "kubernetes.io/serviceaccount/namespace": "default",
        "kubernetes.io/serviceaccount/secret.name": "demo-token",
        "kubernetes.io/serviceaccount/service-account.name": "demo",
        "kubernetes.io/serviceaccount/service-account.uid": account.uid,
    }


def test_an_account_that_is_created_again_is_a_different_one(state: KubeState) -> None:
    """The new account has another UID than the deleted one."""
    assert state.service_account("demo").uid != state.service_account("demo").uid


def test_objects_of_two_namespaces_are_different(state: KubeState) -> None:
    """The same name in another namespace is another object."""
    here, there = state.service_account("demo"), state.service_account("demo", namespace="there")
    assert state.objects.get(ServiceAccount, "demo", "default") == here
    assert state.objects.get(ServiceAccount, "demo", "there") == there


def test_objects_of_two_kinds_are_different(state: KubeState) -> None:
    """The same name with another kind is another object."""
    state.secret("x")
    assert state.objects.get(Pod, "x", "default") is None


def test_a_static_token_is_random_unless_given(state: KubeState) -> None:
    """Two users get two tokens, and a given token is kept."""
    assert state.static_token("a") != state.static_token("b")
    assert state.static_token("c", token="given") == "given"


def test_secrets_have_no_repr(state: KubeState) -> None:
    """Neither a secret nor the state shows a token when it is printed."""
    token = state.legacy_token(state.service_account("demo"), "legacy")
    assert token not in repr(state.objects.get(Secret, "legacy", "default"))


@pytest.mark.parametrize(
    ("user", "permission", "allowed"),
    [
        (User("x", groups=(SERVICE_ACCOUNTS,)), Permission.DISCOVER, True),
        (User("x", groups=(SERVICE_ACCOUNTS,)), Permission.REVIEW_TOKENS, False),
        (User("x", groups=(MASTERS,)), Permission.REVIEW_TOKENS, True),
        (User("x", groups=("system:authenticated",)), Permission.DISCOVER, False),
        (User("system:anonymous", groups=("system:unauthenticated",)), Permission.DISCOVER, False),
    ],
    ids=["accounts-discover", "accounts-review", "masters", "users", "anonymous"],
)
def test_the_bindings_of_a_new_cluster(
    state: KubeState, user: User, permission: Permission, *, allowed: bool
) -> None:
    """Service accounts may read the issuer's documents, masters may do everything, and others nothing."""
    assert state.is_allowed(user, permission) is allowed


def test_a_permission_can_be_granted_and_revoked(state: KubeState) -> None:
    """A binding applies to its user until it is removed."""
    user = User("gate")
    state.allow("gate", Permission.REVIEW_TOKENS)
    assert state.is_allowed(user, Permission.REVIEW_TOKENS)
    state.forbid("gate", Permission.REVIEW_TOKENS)
    assert not state.is_allowed(user, Permission.REVIEW_TOKENS)


def test_anonymous_users_can_read_the_documents_of_a_public_cluster(pool: KeyPool) -> None:
    """With `public` the anonymous user may read the issuer's documents."""
    state = KubeState(pool.key("ES256"), public=True)
    assert state.is_allowed(User("system:anonymous", groups=("system:unauthenticated",)), Permission.DISCOVER)
