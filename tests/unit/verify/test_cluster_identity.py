"""The identity of ServiceAccount tokens, from local keys and from TokenReview."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from authgate.cluster.api import ReviewedUser
from authgate.dev.compact import OMIT, JsonObject, changed
from authgate.errors import Reason
from authgate.model import Identity, JSONValue, Rejected, ServiceAccount, VerifiedClaims
from authgate.text import is_clean
from authgate.verify.identity import cluster_identity, reviewed_identity
from tests.support.tokens import POD_BOUND, service_account_claims

if TYPE_CHECKING:
    from collections.abc import Mapping

ISSUER = "https://kubernetes.default.svc"
EXTRA = "authentication.kubernetes.io/"
GROUPS = ("system:serviceaccounts", "system:serviceaccounts:prod", "system:authenticated")
DIRTY = {
    "NUL": "a\x00",
    "newline": "a\n",
    "tab": "\ta",
    "DEL": "a\x7f",
    "C1": "a\x85",
    "surrogate": "a\ud800",
}


def identity(claims: Mapping[str, object]) -> Identity | Rejected:
    """Return the identity in the claims of a verified token."""
    members = cast("Mapping[str, JSONValue]", claims)
    return cluster_identity(VerifiedClaims(members), ISSUER, ("my-audience",), cluster="home")


def bound(**changes: object) -> JsonObject:
    """Return the claims of a pod's token, with these changes to `kubernetes.io`."""
    return service_account_claims(**{"kubernetes.io": changed(POD_BOUND, changes)})


def extra_of(found: Identity | Rejected) -> dict[str, str]:
    """Return the extra of an identity, by the last part of its keys."""
    assert isinstance(found, Identity), found
    return {key.removeprefix(EXTRA): value for key, (value,) in found.extra}


def test_a_pods_token_names_account_and_pod_as_the_kube_apiserver_does() -> None:
    """Source: kubernetes pkg/serviceaccount/claims.go and util.go."""
    assert identity(service_account_claims()) == Identity(
        username="system:serviceaccount:prod:web",
        uid="uid-of-web",
        groups=GROUPS,
        extra=(
            (f"{EXTRA}credential-id", ("JTI=token-1",)),
            (f"{EXTRA}node-name", ("node-1",)),
            (f"{EXTRA}node-uid", ("uid-of-node-1",)),
            (f"{EXTRA}pod-name", ("web-0",)),
            (f"{EXTRA}pod-uid", ("uid-of-web-0",)),
        ),
        issuer=ISSUER,
        issuer_name="home",
        cluster="home",
        service_account=ServiceAccount("prod", "web"),
        audiences=("my-audience",),
    )


def test_the_name_comes_from_the_private_claims_and_not_from_sub() -> None:
    """As in kube-apiserver: `sub` only repeats it."""
    found = identity(service_account_claims(sub="system:serviceaccount:kube-system:admin"))

    assert isinstance(found, Identity)
    assert found.username == "system:serviceaccount:prod:web"


@pytest.mark.parametrize(
    ("claims", "keys"),
    [
        pytest.param(
            bound(pod=OMIT, node=OMIT, secret={"name": "s", "uid": "u"}), {"credential-id"}, id="secret"
        ),
        pytest.param(bound(pod=OMIT, node=OMIT), {"credential-id"}, id="not bound"),
        pytest.param(bound(pod=None, node=None), {"credential-id"}, id="bound to null"),
        pytest.param(bound(pod=OMIT), {"credential-id", "node-name", "node-uid"}, id="node"),
        pytest.param(bound(node=OMIT), {"credential-id", "pod-name", "pod-uid"}, id="pod without node"),
        pytest.param(
            bound(pod=OMIT, node={"name": "n"}), {"credential-id", "node-name"}, id="node without uid"
        ),
        pytest.param(bound(node=OMIT, pod={"name": "p"}), {"credential-id"}, id="pod without uid"),
        pytest.param(
            changed(bound(pod=OMIT, node=OMIT), {"jti": OMIT}), set[str](), id="neither bound nor numbered"
        ),
        pytest.param(changed(bound(pod=OMIT, node=OMIT), {"jti": ""}), set[str](), id="empty jti"),
        pytest.param(bound(warnafter=1800000000, pod=OMIT, node=OMIT), {"credential-id"}, id="warnafter"),
    ],
)
def test_extra_names_what_a_token_is_bound_to(claims: JsonObject, keys: set[str]) -> None:
    """A pod with its uid, a node with or without its uid, and the token's id. A Secret adds nothing."""
    assert set(extra_of(identity(claims))) == keys


def test_a_service_account_may_lack_a_uid() -> None:
    """The user's uid is then empty, as in kube-apiserver."""
    found = identity(bound(serviceaccount={"name": "web"}))

    assert isinstance(found, Identity)
    assert found.uid == ""


@pytest.mark.parametrize(
    ("claims", "claim"),
    [
        pytest.param(
            service_account_claims(**{"kubernetes.io": OMIT}), "kubernetes.io", id="no private claims"
        ),
        pytest.param(service_account_claims(**{"kubernetes.io": None}), "kubernetes.io", id="null"),
        pytest.param(service_account_claims(**{"kubernetes.io": "x"}), "kubernetes.io", id="a string"),
        pytest.param(bound(namespace=OMIT), "kubernetes.io.namespace", id="no namespace"),
        pytest.param(bound(namespace=""), "kubernetes.io.namespace", id="empty namespace"),
        pytest.param(bound(namespace=1), "kubernetes.io.namespace", id="namespace no string"),
        pytest.param(bound(serviceaccount=OMIT), "kubernetes.io.serviceaccount", id="no account"),
        pytest.param(bound(serviceaccount=None), "kubernetes.io.serviceaccount", id="account null"),
        pytest.param(bound(serviceaccount="web"), "kubernetes.io.serviceaccount", id="account a string"),
        pytest.param(
            bound(serviceaccount={}), "kubernetes.io.serviceaccount.name", id="account without name"
        ),
        pytest.param(
            bound(serviceaccount={"name": "", "uid": "u"}),
            "kubernetes.io.serviceaccount.name",
            id="empty name",
        ),
        pytest.param(
            bound(serviceaccount={"name": 1, "uid": "u"}),
            "kubernetes.io.serviceaccount.name",
            id="name no string",
        ),
        pytest.param(
            bound(serviceaccount={"name": "web", "uid": 1}),
            "kubernetes.io.serviceaccount.uid",
            id="uid no string",
        ),
        pytest.param(
            bound(serviceaccount={"name": "web", "uid": None}),
            "kubernetes.io.serviceaccount.uid",
            id="uid null",
        ),
        pytest.param(bound(pod="web-0"), "kubernetes.io.pod", id="pod a string"),
        pytest.param(bound(pod={}), "kubernetes.io.pod.name", id="pod without name"),
        pytest.param(bound(pod={"name": "p", "uid": 1}), "kubernetes.io.pod.uid", id="pod uid no string"),
        pytest.param(bound(node=[]), "kubernetes.io.node", id="node a list"),
        pytest.param(bound(node={"uid": "u"}), "kubernetes.io.node.name", id="node without name"),
    ],
)
def test_a_private_claim_that_is_missing_or_mistyped_is_named(claims: JsonObject, claim: str) -> None:
    """A token without a ServiceAccount names no user."""
    found = identity(claims)

    assert isinstance(found, Rejected)
    assert found.reason is Reason.IDENTITY_INVALID
    assert f"'{claim}'" in found.detail


@pytest.mark.parametrize("value", DIRTY.values(), ids=DIRTY)
@pytest.mark.parametrize(
    "place",
    ["jti", "namespace", "serviceaccount.name", "serviceaccount.uid", "pod.name", "pod.uid", "node.name"],
)
def test_a_value_that_no_header_can_carry_is_refused(place: str, value: str) -> None:
    """These are control characters and lone surrogates. The message names the claim and does not contain the value."""
    kind, _, member = place.partition(".")
    if place == "jti":
        claims = service_account_claims(jti=value)
    elif not member:
        claims = bound(**{kind: value})
    else:
        claims = bound(**{kind: {"name": "n", "uid": "u", member: value}})
    found = identity(claims)

    assert isinstance(found, Rejected)
    assert found.reason is Reason.IDENTITY_INVALID
    assert value not in found.detail


@pytest.mark.parametrize(
    ("claims", "extra"),
    [
        pytest.param(
            service_account_claims(),
            {
                "credential-id": "JTI=token-1",
                "node-name": "node-1",
                "node-uid": "uid-of-node-1",
                "pod-name": "web-0",
                "pod-uid": "uid-of-web-0",
            },
            id="a pod's token",
        ),
        pytest.param(
            bound(pod=OMIT, node=OMIT), {"credential-id": "JTI=token-1"}, id="a token bound to nothing"
        ),
    ],
)
def test_tokenreview_gives_the_identical_identity(claims: JsonObject, extra: dict[str, str]) -> None:
    """For the same token and the facts in a real server's review, the app gets the same user."""
    user = ReviewedUser(
        "system:serviceaccount:prod:web",
        "uid-of-web",
        GROUPS,
        tuple((EXTRA + key, (value,)) for key, value in extra.items()),
        ("my-audience",),
    )

    assert reviewed_identity(user, "home", ISSUER, ("my-audience",)) == identity(claims)


@pytest.mark.parametrize(
    ("username", "account"),
    [
        ("system:serviceaccount:prod:web", ServiceAccount("prod", "web")),
        ("alice", None),
        ("system:serviceaccount:prod", None),
        ("system:serviceaccount:prod:web:more", None),
        ("system:serviceaccount::web", None),
        ("system:serviceaccount:prod:", None),
        ("system:serviceaccounts:prod:web", None),
        ("prod:web", None),
        ("system:node:node-1", None),
    ],
)
def test_a_reviewed_user_is_an_account_by_its_name_alone(
    username: str, account: ServiceAccount | None
) -> None:
    """The API server distinguishes accounts in the same way (apiserver pkg/authentication/serviceaccount)."""
    user = ReviewedUser(username, "", (), (), ("my-audience",))

    assert reviewed_identity(user, "home", "", ("my-audience",)).service_account == account


def test_a_reviewed_static_user_keeps_name_groups_and_uid() -> None:
    """Such a token has no claims."""
    user = ReviewedUser("alice", "u-1", ("dev", "system:authenticated"), (("scope", ("a", "b")),), ("api",))

    assert reviewed_identity(user, "home", "", ("api",)) == Identity(
        username="alice",
        uid="u-1",
        groups=("dev", "system:authenticated"),
        extra=(("scope", ("a", "b")),),
        issuer_name="home",
        cluster="home",
        audiences=("api",),
    )


@pytest.mark.parametrize(
    "value",
    ["", "a", "ä", "☃", "a b", "\u00a0", "\u2028", "😀", "~", "\u00a1"],
    ids=ascii,
)
def test_text_that_prints_is_clean(value: str) -> None:
    """This holds in any language."""
    assert is_clean(value)
