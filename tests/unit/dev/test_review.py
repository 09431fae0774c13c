from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from authgate.dev.compact import OMIT, JsonObject, compact, json_bytes
from authgate.dev.kube import DEFAULT_ISSUER, KubeState, User
from authgate.dev.objects import Bindable, Secret, ServiceAccount
from authgate.dev.review import Authenticated, Refused, authenticate, review
from tests.support.clock import START, FakeClock
from tests.support.key_pool import KeyPool

MINE = ("my-audience",)
NOW = int(START)
EXTRA = "authentication.kubernetes.io/"


@pytest.fixture
def account(state: KubeState) -> ServiceAccount:
    """The account of the tokens."""
    return state.service_account("demo")


def reviewed_user(state: KubeState, token: str) -> User:
    """Return the user that a review for `MINE` gives for this token."""
    verdict = review(state, token, MINE)
    assert isinstance(verdict, Authenticated)
    return verdict.user


def test_an_account_token_gives_the_identity_of_its_account(
    state: KubeState, account: ServiceAccount
) -> None:
    """Username, UID, groups and credential id are those of a real server."""
    assert review(state, state.account_token(account, claims={"jti": "7"}), MINE) == Authenticated(
        User(
            "system:serviceaccount:default:demo",
            account.uid,
            ("system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"),
            {EXTRA + "credential-id": ("JTI=7",)},
        ),
        MINE,
    )


def test_a_pods_token_gives_pod_and_node(state: KubeState, account: ServiceAccount) -> None:
    """The extra of a pod's token names the pod and the node by name and UID."""
    node = state.node("n1")
    pod = state.pod(account, "p1", node=node)
    extra = reviewed_user(state, state.account_token(account, bound_to=pod, claims={"jti": OMIT})).extra
    assert extra == {
        EXTRA + "pod-name": ("p1",),
        EXTRA + "pod-uid": (pod.uid,),
        EXTRA + "node-name": ("n1",),
        EXTRA + "node-uid": (node.uid,),
    }


def test_a_secrets_token_has_no_extra_of_the_secret(state: KubeState, account: ServiceAccount) -> None:
    """The extra of a token bound to a secret has only its credential id."""
    user = reviewed_user(state, state.account_token(account, bound_to=state.secret("s")))
    assert set(user.extra) == {EXTRA + "credential-id"}


def test_the_username_does_not_come_from_sub(state: KubeState, account: ServiceAccount) -> None:
    """The account is the one in `kubernetes.io`, for any `sub`."""
    token = state.account_token(account, claims={"sub": "system:serviceaccount:kube-system:root"})
    assert reviewed_user(state, token).username == account.username


# Times


@pytest.mark.parametrize(
    ("claims", "accepted"),
    [
        ({"exp": NOW - 60}, True),
        ({"exp": NOW - 61}, False),
        ({"exp": OMIT}, True),
        ({"exp": None}, True),
        ({"exp": NOW + 60.5}, True),
        ({"exp": 1e300}, False),
        ({"exp": str(NOW + 60)}, False),
        ({"exp": True}, False),
        ({"exp": float("nan")}, False),
        ({"nbf": NOW + 60}, True),
        ({"nbf": NOW + 61}, False),
        ({"iat": NOW + 60}, True),
        ({"iat": NOW + 61}, False),
    ],
    ids=str,
)
def test_times_have_a_minute_of_leeway(
    state: KubeState, account: ServiceAccount, claims: JsonObject, *, accepted: bool
) -> None:
    """exp, nbf and iat may be off by a minute; exp may be missing but is a number."""
    verdict = review(state, state.account_token(account, claims=claims), MINE)
    assert isinstance(verdict, Authenticated) is accepted


def test_a_token_expires_with_time(state: KubeState, account: ServiceAccount, clock: FakeClock) -> None:
    """After its expiry a valid token is rejected with the server's message."""
    token = state.account_token(account, lifetime=600)
    clock.advance(661)
    assert review(state, token, MINE) == Refused("[invalid bearer token, service account token has expired]")


# Audiences


@pytest.mark.parametrize(
    ("token_audience", "asked", "answered"),
    [
        (["my-audience", "b"], ("b", "c"), ("b",)),
        (["my-audience", "b"], ("b", "my-audience"), ("b", "my-audience")),
        ("my-audience", MINE, MINE),
        ([DEFAULT_ISSUER], (), (DEFAULT_ISSUER,)),
        (OMIT, (DEFAULT_ISSUER,), (DEFAULT_ISSUER,)),
        ([], (DEFAULT_ISSUER,), (DEFAULT_ISSUER,)),
        (["my-audience"], ("other",), None),
        (["my-audience"], (), None),
        (OMIT, MINE, None),
        ([1], MINE, None),
        ({"a": 1}, MINE, None),
    ],
    ids=[
        "some", "all", "string", "servers-own", "none-is-the-servers", "empty-is-the-servers",
        "other", "not-the-servers", "none-is-not-mine", "number", "object",
    ],
)  # fmt: skip
def test_the_audiences_of_token_and_review_intersect(
    state: KubeState,
    account: ServiceAccount,
    token_audience: object,
    asked: tuple[str, ...],
    answered: tuple[str, ...] | None,
) -> None:
    """The answer has the audiences of both. A token without a common audience is rejected."""
    verdict = review(state, state.account_token(account, claims={"aud": token_audience}), asked)
    assert (verdict.audiences if isinstance(verdict, Authenticated) else None) == answered


def test_an_audience_mismatch_has_the_servers_message(state: KubeState, account: ServiceAccount) -> None:
    """The error names the token's audiences and the requested ones."""
    assert review(state, state.account_token(account), ("zz",)) == Refused(
        '[invalid bearer token, token audiences ["my-audience"] is invalid for the target audiences ["zz"]]'
    )


# Issuers and keys


def test_a_foreign_issuer_is_refused(state: KubeState, account: ServiceAccount) -> None:
    """A token with another issuer's name is not verified, even if this server's key signed it."""
    token = state.account_token(account, claims={"iss": "https://elsewhere.example"})
    assert review(state, token, MINE) == Refused("invalid bearer token")


def test_a_further_issuer_is_accepted(pool: KeyPool) -> None:
    """During a migration tokens of every issuer of the cluster are accepted."""
    state = KubeState(pool.key("ES256"), further_issuers=["https://old.example"])
    token = state.account_token(state.service_account("demo"), claims={"iss": "https://old.example"})
    assert isinstance(review(state, token, MINE), Authenticated)


@pytest.mark.parametrize("kid", [OMIT, ""], ids=["missing", "empty"])
def test_a_token_without_kid_is_tried_with_every_key(
    state: KubeState, account: ServiceAccount, pool: KeyPool, kid: object
) -> None:
    """Without a kid an older key can verify the token, too."""
    token = state.account_token(account, headers={"kid": kid})
    state.issuer.rotate(pool.key("RS256"))
    assert isinstance(review(state, token, MINE), Authenticated)


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"kid": "unknown"}, "invalid signature, no keys found"),
        ({"kid": 7}, "go-jose/go-jose: error in cryptographic primitive"),
        ({"crit": ["b"], "b": 1}, "go-jose/go-jose: error in cryptographic primitive"),
        ({"alg": "RS256"}, "go-jose/go-jose: error in cryptographic primitive"),
    ],
    ids=["unknown-kid", "number-kid", "crit", "other-alg"],
)
def test_bad_headers_are_refused(
    state: KubeState, account: ServiceAccount, headers: JsonObject, error: str
) -> None:
    """A header with an unknown key, or with unknown parameters that are critical, causes a rejection."""
    token = state.account_token(account, headers=headers)
    assert review(state, token, MINE) == Refused(f"[invalid bearer token, {error}]")


def test_a_forged_signature_is_refused(state: KubeState, account: ServiceAccount, pool: KeyPool) -> None:
    """A signature of another key with the server's kid is invalid."""
    token = state.account_token(account, key=pool.key("ES256", 1, kid=state.issuer.key.kid))
    assert isinstance(review(state, token, MINE), Refused)


def test_a_key_outside_the_jwks_can_be_known_to_the_server(
    state: KubeState, account: ServiceAccount, pool: KeyPool
) -> None:
    """A review decides a token whose key is not in the JWKS."""
    hidden = pool.key("ES256", 1)
    state.accept_unpublished(hidden)
    assert hidden not in state.issuer.keys
    assert isinstance(review(state, state.account_token(account, key=hidden), MINE), Authenticated)


@pytest.mark.parametrize(
    "token",
    [
        "opaque",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        compact(b"{}", b"[]", b""),
        compact(b"{}", b'{"iss":["x"]}', b""),
        compact(b"{}", b"[" * 100_000, b""),
        compact(b"{}", b'{"iss":"' + DEFAULT_ISSUER.encode() + b'","exp":NaN}', b""),
        compact(b"{}", b'{"iss":"' + DEFAULT_ISSUER.encode() + b'"}', b"")
        .replace(".", "=.", 1)
        .replace("=.", ".=", 1),
        "Bearer x",
    ],
    ids=["opaque", "two", "three", "four", "list", "iss-list", "deep", "nan", "padded", "scheme"],
)
def test_a_text_that_is_not_a_token_is_rejected(state: KubeState, token: str) -> None:
    """Anything without an issuer of the server gets the general error."""
    assert review(state, token, MINE) == Refused("invalid bearer token")


@pytest.mark.parametrize("token", [" ", " opaque"], ids=["blank", "leading-space"])
def test_a_token_after_a_space_is_anonymous(state: KubeState, token: str) -> None:
    """A real server reads such a review as a request without a credential, and answers `authenticated: true`."""
    assert review(state, token, MINE) == Authenticated(
        User("system:anonymous", groups=("system:unauthenticated",)), MINE
    )


# Objects that tokens name


def without(name: str) -> Callable[[KubeState, ServiceAccount], str]:
    """A token with one part of `kubernetes.io` replaced by an object that does not exist."""

    def make(state: KubeState, account: ServiceAccount) -> str:
        bound: JsonObject = {
            "namespace": "default",
            "serviceaccount": {"name": "demo", "uid": account.uid},
            name: {"name": "missing", "uid": "x"},
        }
        return state.account_token(account, claims={"kubernetes.io": bound})

    return make


def other_uid(state: KubeState, account: ServiceAccount) -> str:
    """A token of a pod that has been created again since."""
    token = state.account_token(account, bound_to=state.pod(account, "p1"))
    state.pod(account, "p1")
    return token


def recreated(state: KubeState, account: ServiceAccount) -> str:
    """A token of an account that has been created again since."""
    token = state.account_token(account)
    state.service_account("demo")
    return token


def unbound(state: KubeState, account: ServiceAccount) -> str:
    """A token without `kubernetes.io`."""
    return state.account_token(account, claims={"kubernetes.io": OMIT})


def mistyped(claims: JsonObject) -> Callable[[KubeState, ServiceAccount], str]:
    """A token with claims of the wrong type."""
    return lambda state, account: state.account_token(account, claims=claims)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (without("serviceaccount"), r'serviceaccounts "missing" not found'),
        (without("pod"), "service account token has been invalidated"),
        (without("secret"), "service account token has been invalidated"),
        (without("node"), "service account token has been invalidated"),
        (other_uid, r"pod UID \(.*\) does not match service account pod ref claim \(.*\)"),
        (recreated, r"service account UID \(.*\) does not match claim \(.*\)"),
        (unbound, "resource name may not be empty"),
        (mistyped({"jti": 5}), "json: cannot unmarshal jti into Go value of type string"),
        (mistyped({"sub": 5}), "json: cannot unmarshal sub into Go value of type string"),
        (
            mistyped({"kubernetes.io": "x"}),
            r"json: cannot unmarshal kubernetes.io into Go value of type struct",
        ),
    ],
    ids=["account", "pod", "secret", "node", "pod-uid", "account-uid", "unbound", "jti", "sub", "binding"],
)
def test_the_objects_that_a_token_names_must_exist(
    state: KubeState,
    account: ServiceAccount,
    make: Callable[[KubeState, ServiceAccount], str],
    error: str,
) -> None:
    """Account and bound object must exist with the UID in the token."""
    verdict = review(state, make(state, account), MINE)
    assert isinstance(verdict, Refused)
    assert re.fullmatch(rf"\[invalid bearer token, {error}\]", verdict.error)


def test_tokens_of_a_deleted_account_are_rejected(state: KubeState, account: ServiceAccount) -> None:
    """As in a real server, the account must exist."""
    token = state.account_token(account)
    state.objects.remove(account)
    assert isinstance(review(state, token, MINE), Refused)


@pytest.mark.parametrize(("age", "accepted"), [(-30, True), (60, True), (61, False)])
@pytest.mark.parametrize("kind", ["pod", "node", "secret", "account"])
def test_an_object_counts_until_a_minute_after_its_deletion_time(
    state: KubeState, account: ServiceAccount, clock: FakeClock, kind: str, age: float, *, accepted: bool
) -> None:
    """A terminating pod's token is valid until a minute after the deletion time. So are those of other objects."""
    bindable: dict[str, Bindable] = {
        "pod": state.pod(account, "x"),
        "node": state.node("x"),
        "secret": state.secret("x"),
    }
    token = state.account_token(account, bound_to=bindable.get(kind))
    state.objects.terminate(bindable.get(kind, account), clock.now() - age)
    assert isinstance(review(state, token, MINE), Authenticated) is accepted


def test_a_pods_token_is_valid_after_its_node_is_deleted(state: KubeState, account: ServiceAccount) -> None:
    """The node counts only if the token is bound to it."""
    node = state.node("n1")
    token = state.account_token(account, bound_to=state.pod(account, "p1", node=node))
    state.objects.remove(node)
    assert isinstance(review(state, token, MINE), Authenticated)


# Static and legacy tokens


def test_a_static_token_has_only_the_servers_audience(state: KubeState) -> None:
    """If a review has several audiences, a static token is valid for the server's own."""
    token = state.static_token("weak", groups=["g1"], uid="u2")
    assert review(state, token, ("my-audience", DEFAULT_ISSUER)) == Authenticated(
        User("weak", "u2", ("g1", "system:authenticated")), (DEFAULT_ISSUER,)
    )


def test_a_static_token_is_refused_for_another_audience(state: KubeState) -> None:
    """A review for an app's audience rejects static tokens."""
    assert review(state, state.static_token("weak"), MINE) == Refused("invalid bearer token")


def test_a_removed_static_token_is_refused(state: KubeState) -> None:
    """A static token is accepted until it is removed."""
    token = state.static_token("weak")
    state.remove_static_token(token)
    assert isinstance(review(state, token), Refused)


def test_system_authenticated_is_added_once(state: KubeState) -> None:
    """A user who is already in the group is in it once."""
    verdict = review(state, state.static_token("weak", groups=["system:authenticated"]))
    assert isinstance(verdict, Authenticated)
    assert verdict.user.groups == ("system:authenticated",)


def test_a_legacy_token_has_the_servers_audience_and_no_extra(
    state: KubeState, account: ServiceAccount
) -> None:
    """A Secret's token is valid only for the server's own audience."""
    verdict = review(state, state.legacy_token(account, "old"))
    assert isinstance(verdict, Authenticated)
    assert (verdict.user.username, dict(verdict.user.extra), verdict.audiences) == (
        account.username,
        {},
        (DEFAULT_ISSUER,),
    )


def test_a_legacy_token_is_refused_for_another_audience(state: KubeState, account: ServiceAccount) -> None:
    """A review for an app's audience rejects a Secret's token."""
    assert isinstance(review(state, state.legacy_token(account, "old"), MINE), Refused)


def legacy_deleted(state: KubeState, account: ServiceAccount, token: str) -> None:
    """Delete the token's secret."""
    state.objects.remove(Secret("default", "old"))


def legacy_replaced(state: KubeState, account: ServiceAccount, token: str) -> None:
    """Replace the token in the secret."""
    state.objects.add(Secret("default", "old", token="other"))


def legacy_terminating(state: KubeState, account: ServiceAccount, token: str) -> None:
    """Mark the secret as deleted. A legacy token has no leeway."""
    state.objects.terminate(Secret("default", "old", token=token), state.clock())


def account_terminating(state: KubeState, account: ServiceAccount, token: str) -> None:
    """Mark the account as deleted."""
    state.objects.terminate(account, state.clock())


@pytest.mark.parametrize(
    "spoil",
    [legacy_deleted, legacy_replaced, legacy_terminating, account_terminating],
    ids=lambda f: f.__name__,
)
def test_a_legacy_token_is_accepted_while_its_secret_has_it(
    state: KubeState, account: ServiceAccount, spoil: Callable[[KubeState, ServiceAccount, str], None]
) -> None:
    """The secret must exist with exactly this token. Neither it nor the account may be marked as deleted."""
    token = state.legacy_token(account, "old")
    spoil(state, account, token)
    assert isinstance(review(state, token), Refused)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"kubernetes.io/serviceaccount/namespace": "default"},
        {
            "kubernetes.io/serviceaccount/namespace": "default",
            "kubernetes.io/serviceaccount/service-account.name": "demo",
            "sub": "system:serviceaccount:default:other",
        },
    ],
    ids=["no-namespace", "no-name", "other-sub"],
)
def test_a_legacy_token_must_be_complete(state: KubeState, claims: JsonObject) -> None:
    """A legacy token without its claims, or with another subject, is refused."""
    token = state.issuer.key.sign_raw(
        json_bytes({"alg": "ES256"}), json_bytes({"iss": "kubernetes/serviceaccount", **claims})
    )
    assert isinstance(review(state, token), Refused)


# Callers


@pytest.mark.parametrize(
    ("authorization", "username"),
    [
        ("", "system:anonymous"),
        ("Basic abc", "system:anonymous"),
        ("Bearer", "system:anonymous"),
        ("Bearer known", "admin"),
        ("bEARER known", "admin"),
        ("  Bearer known more ", "admin"),
    ],
    ids=["none", "basic", "bare", "bearer", "case", "spaces"],
)
def test_callers_are_identified_by_their_header(state: KubeState, authorization: str, username: str) -> None:
    """The header is split as by a real server. Without a bearer token the caller is anonymous."""
    state.static_token("admin", token="known")
    verdict = authenticate(state, authorization)
    assert isinstance(verdict, Authenticated)
    assert verdict.user.username == username


def test_a_caller_with_an_apps_token_is_refused(state: KubeState, account: ServiceAccount) -> None:
    """A token for an app's audience is not valid for the API."""
    assert isinstance(authenticate(state, f"Bearer {state.account_token(account)}"), Refused)
