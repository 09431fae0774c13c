"""The state of a cluster that matters for authentication, and the tokens that kube-apiserver would issue."""

from __future__ import annotations

import enum
import secrets
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from authgate.dev.compact import Clock, JsonObject, changed
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.objects import Bindable, Node, ObjectStore, Pod, Secret, ServiceAccount

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
SERVICE_ACCOUNTS = "system:serviceaccounts"
MASTERS = "system:masters"
ANONYMOUS = "system:anonymous"
LEGACY_ISSUER = "kubernetes/serviceaccount"
LEGACY_CLAIM = "kubernetes.io/serviceaccount/"
DEFAULT_ISSUER = "https://kubernetes.default.svc"
UNREACHABLE_JWKS_URI = "https://192.0.2.2:6443/openid/v1/jwks"
"""A real server advertises its node's address, which many clients cannot reach; nobody has this one (RFC 5737)."""


class Permission(enum.StrEnum):
    """A permission that a ClusterRoleBinding can grant."""

    DISCOVER = "system:service-account-issuer-discovery"
    REVIEW_TOKENS = "system:auth-delegator"
    REQUEST_TOKENS = "create serviceaccounts/token"


@dataclass(frozen=True, slots=True)
class User:
    """A user of the API server (authentication.k8s.io/v1 UserInfo)."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def with_group(self, group: str) -> User:
        """Return the user with this group added if it is missing."""
        return self if group in self.groups else replace(self, groups=(*self.groups, group))


class KubeState:
    """Accounts, objects, static tokens and role bindings of one cluster; may be changed at any time.

    As in a new cluster, service accounts may read the issuer's documents and `system:masters` has every permission.
    With `public`, anonymous callers may read the documents as well.
    """

    def __init__(
        self,
        key: SigningKey,
        *,
        issuer_url: str = DEFAULT_ISSUER,
        further_issuers: Sequence[str] = (),
        api_audiences: Sequence[str] | None = None,
        jwks_uri: str = UNREACHABLE_JWKS_URI,
        public: bool = False,
        clock: Clock = time.time,
    ) -> None:
        self.issuer = Issuer(issuer_url, key, jwks_uri=jwks_uri, clock=clock)
        self.further_issuers = tuple(further_issuers)
        self.api_audiences = (issuer_url,) if api_audiences is None else tuple(api_audiences)
        self.objects = ObjectStore()
        self._static_tokens: dict[str, User] = {}
        self._bindings: dict[str, frozenset[Permission]] = {}
        self._grants: set[tuple[str, frozenset[tuple[str, str]]]] = set()
        self._unpublished: list[SigningKey] = []
        self.allow(SERVICE_ACCOUNTS, Permission.DISCOVER)
        self.allow(MASTERS, *Permission)
        if public:
            self.allow(UNAUTHENTICATED, Permission.DISCOVER)
            self.allow(AUTHENTICATED, Permission.DISCOVER)

    @property
    def clock(self) -> Clock:
        """The clock for issuing and reviewing tokens."""
        return self.issuer.clock

    @property
    def issuers(self) -> tuple[str, ...]:
        """Every `iss` that the API server accepts in ServiceAccount tokens."""
        return (self.issuer.url, *self.further_issuers)

    @property
    def verification_keys(self) -> tuple[SigningKey, ...]:
        """The keys with which the API server itself verifies tokens."""
        return (*self.issuer.keys, *self._unpublished)

    def accept_unpublished(self, key: SigningKey) -> None:
        """Verify with a key that is not in the JWKS, such as an external signer's that is excluded from discovery."""
        self._unpublished.append(key)

    # Role bindings

    def allow(self, subject: str, *permissions: Permission) -> None:
        """Grant permissions to a user or group by name."""
        self._bindings[subject] = self._bindings.get(subject, frozenset()) | frozenset(permissions)

    def forbid(self, subject: str, *permissions: Permission) -> None:
        """Withdraw permissions from a user or group by name."""
        self._bindings[subject] = self._bindings.get(subject, frozenset()) - frozenset(permissions)

    def is_allowed(self, user: User, permission: Permission) -> bool:
        """Report whether the user or one of its groups has a permission."""
        return any(permission in self._bindings.get(name, ()) for name in (user.username, *user.groups))

    def grant(self, subject: str, **attributes: str) -> None:
        """Allow a user or group SubjectAccessReviews with exactly these attributes."""
        self._grants.add((subject, frozenset(attributes.items())))

    def revoke(self, subject: str, **attributes: str) -> None:
        """Withdraw such a permission."""
        self._grants.discard((subject, frozenset(attributes.items())))

    def is_granted(self, subject: str, attributes: Mapping[str, str]) -> bool:
        """Report whether a user or group was granted exactly these attributes."""
        return (subject, frozenset(attributes.items())) in self._grants

    # Objects

    def service_account(self, name: str, namespace: str = "default") -> ServiceAccount:
        """Create an account; creating it again gives it a new UID, as in a cluster."""
        return self.objects.add(ServiceAccount(namespace, name))

    def pod(self, account: ServiceAccount, name: str, *, node: Node | None = None) -> Pod:
        """Create a pod that runs as the account, optionally on a node."""
        return self.objects.add(Pod(account.namespace, name, account.name, node.name if node else ""))

    def node(self, name: str) -> Node:
        """Create a node."""
        return self.objects.add(Node(name))

    def secret(self, name: str, namespace: str = "default") -> Secret:
        """Create a secret."""
        return self.objects.add(Secret(namespace, name))

    # Tokens

    def static_token(
        self, username: str, *, groups: Sequence[str] = (), uid: str = "", token: str | None = None
    ) -> str:
        """Create an opaque token like a line of `--token-auth-file`; by default a random one."""
        token = secrets.token_urlsafe(24) if token is None else token
        self._static_tokens[token] = User(username, uid, tuple(groups))
        return token

    def remove_static_token(self, token: str) -> None:
        """Invalidate a static token."""
        self._static_tokens.pop(token, None)

    def user_of_static_token(self, token: str) -> User | None:
        """Return the user of a static token, or None."""
        return self._static_tokens.get(token)

    def account_token(
        self,
        account: ServiceAccount,
        audiences: Sequence[str] = ("my-audience",),
        *,
        bound_to: Bindable | None = None,
        lifetime: float = 3600.0,
        claims: Mapping[str, object] | None = None,
        headers: Mapping[str, object] | None = None,
        key: SigningKey | None = None,
    ) -> str:
        """Return a ServiceAccount token with the claims that kube-apiserver issues (pkg/serviceaccount/claims.go).

        `claims` and `headers` replace, add and (with `OMIT`) remove members; `key` need not be published.
        """
        now = int(self.clock())
        usual: JsonObject = {
            "iss": self.issuer.url,
            "sub": account.username,
            "aud": list(audiences),
            "iat": now,
            "nbf": now,
            "exp": int(now + lifetime),
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {
                "namespace": account.namespace,
                "serviceaccount": _reference(account),
                **self._binding(bound_to),
            },
        }
        return (key or self.issuer.key).sign(changed(usual, claims), headers)

    def legacy_token(self, account: ServiceAccount, secret_name: str) -> str:
        """Create a Secret of type kubernetes.io/service-account-token and return its token, without aud and exp."""
        claims: JsonObject = {
            "iss": LEGACY_ISSUER,
            "sub": account.username,
            LEGACY_CLAIM + "namespace": account.namespace,
            LEGACY_CLAIM + "secret.name": secret_name,
            LEGACY_CLAIM + "service-account.name": account.name,
            LEGACY_CLAIM + "service-account.uid": account.uid,
        }
        token = self.issuer.key.sign(claims)
        self.objects.add(Secret(account.namespace, secret_name, token=token))
        return token

    def _binding(self, bound_to: Bindable | None) -> JsonObject:
        match bound_to:
            case None:
                return {}
            case Pod():
                return {"pod": _reference(bound_to), **self._node_of(bound_to)}
            case Node():
                return {"node": _reference(bound_to)}
            case Secret():
                return {"secret": _reference(bound_to)}

    def _node_of(self, pod: Pod) -> JsonObject:
        if not pod.node:
            return {}
        node = self.objects.get(Node, pod.node)
        # The server also names a node whose object was deleted, without a UID.
        return {"node": _reference(node) if node else {"name": pod.node}}


def _reference(item: ServiceAccount | Bindable) -> JsonObject:
    return {"name": item.name, "uid": item.uid}
