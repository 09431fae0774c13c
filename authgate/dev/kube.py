"""A cluster's state as far as authentication sees it, and the tokens a kube-apiserver would issue for it."""

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
"""A real server advertises its node's address, which many clients cannot reach; this one is nobody's (RFC 5737)."""


class Permission(enum.StrEnum):
    """What a caller of the API can be allowed by a ClusterRoleBinding."""

    DISCOVER = "system:service-account-issuer-discovery"
    REVIEW_TOKENS = "system:auth-delegator"
    REQUEST_TOKENS = "create serviceaccounts/token"


@dataclass(frozen=True, slots=True)
class User:
    """Who somebody is to the API server (authentication.k8s.io/v1 UserInfo)."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def with_group(self, group: str) -> User:
        """The same user, once in this group."""
        return self if group in self.groups else replace(self, groups=(*self.groups, group))


class KubeState:
    """Accounts, objects, static tokens and role bindings of one cluster; change it at any time.

    As in a fresh cluster, service accounts may read the issuer's documents, and `system:masters` may do everything;
    `public` lets everybody read the documents.
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
        """The clock that tokens are minted and judged by."""
        return self.issuer.clock

    @property
    def issuers(self) -> tuple[str, ...]:
        """Every `iss` that the API server accepts of its ServiceAccounts."""
        return (self.issuer.url, *self.further_issuers)

    @property
    def verification_keys(self) -> tuple[SigningKey, ...]:
        """The keys that the API server itself verifies with."""
        return (*self.issuer.keys, *self._unpublished)

    def accept_unpublished(self, key: SigningKey) -> None:
        """Verifies with a key that the JWKS does not show, as one of an external signer excluded from discovery."""
        self._unpublished.append(key)

    # Role bindings

    def allow(self, subject: str, *permissions: Permission) -> None:
        """Binds permissions to a user's or a group's name."""
        self._bindings[subject] = self._bindings.get(subject, frozenset()) | frozenset(permissions)

    def forbid(self, subject: str, *permissions: Permission) -> None:
        """Takes permissions from a user's or a group's name again."""
        self._bindings[subject] = self._bindings.get(subject, frozenset()) - frozenset(permissions)

    def is_allowed(self, user: User, permission: Permission) -> bool:
        """Whether a binding for the user or one of its groups has the permission."""
        return any(permission in self._bindings.get(name, ()) for name in (user.username, *user.groups))

    def grant(self, subject: str, **attributes: str) -> None:
        """Lets a user or a group, by name, do what SubjectAccessReview asks with exactly these attributes."""
        self._grants.add((subject, frozenset(attributes.items())))

    def revoke(self, subject: str, **attributes: str) -> None:
        """Takes such a permission away again."""
        self._grants.discard((subject, frozenset(attributes.items())))

    def is_granted(self, subject: str, attributes: Mapping[str, str]) -> bool:
        """Whether a user or a group, by name, may do what these attributes say."""
        return (subject, frozenset(attributes.items())) in self._grants

    # Objects

    def service_account(self, name: str, namespace: str = "default") -> ServiceAccount:
        """Creates an account; creating it again gives it another UID, as in a cluster."""
        return self.objects.add(ServiceAccount(namespace, name))

    def pod(self, account: ServiceAccount, name: str, *, node: Node | None = None) -> Pod:
        """Creates a pod that runs as the account, on the node if one is given."""
        return self.objects.add(Pod(account.namespace, name, account.name, node.name if node else ""))

    def node(self, name: str) -> Node:
        """Creates a node."""
        return self.objects.add(Node(name))

    def secret(self, name: str, namespace: str = "default") -> Secret:
        """Creates a secret."""
        return self.objects.add(Secret(namespace, name))

    # Tokens

    def static_token(
        self, username: str, *, groups: Sequence[str] = (), uid: str = "", token: str | None = None
    ) -> str:
        """An opaque token as a line of `--token-auth-file` makes one; random unless given."""
        token = secrets.token_urlsafe(24) if token is None else token
        self._static_tokens[token] = User(username, uid, tuple(groups))
        return token

    def remove_static_token(self, token: str) -> None:
        """Makes a static token worthless."""
        self._static_tokens.pop(token, None)

    def user_of_static_token(self, token: str) -> User | None:
        """Whose static token this is, if it is one."""
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
        """A ServiceAccount token, claim for claim as a kube-apiserver issues it (pkg/serviceaccount/claims.go).

        `claims` and `headers` replace, add and (by `OMIT`) leave out members; `key` may be one never published.
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
        """The token of a Secret of type kubernetes.io/service-account-token, without audience or end."""
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
        # The server still names a node whose object is gone, without a UID.
        return {"node": _reference(node) if node else {"name": pod.node}}


def _reference(item: ServiceAccount | Bindable) -> JsonObject:
    return {"name": item.name, "uid": item.uid}
