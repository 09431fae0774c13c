"""How a kube-apiserver 1.36 tells whose a bearer token is: for TokenReview and for its own callers alike."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

import jwt
from jwt.api_jws import PyJWS

from authgate.dev.claims import (
    Claims,
    InvalidTokenError,
    audience_of,
    members_of,
    reference_of,
    seconds_of,
    text_of,
)
from authgate.dev.keys import SigningKey
from authgate.dev.kube import (
    ANONYMOUS,
    AUTHENTICATED,
    LEGACY_CLAIM,
    LEGACY_ISSUER,
    SERVICE_ACCOUNTS,
    UNAUTHENTICATED,
    KubeState,
    User,
)
from authgate.dev.objects import SERVICE_ACCOUNT_PREFIX, KubeObject, Node, Pod, Secret, ServiceAccount
from authgate.vocabulary import CLUSTER_LEEWAY

_EXTRA: Final = "authentication.kubernetes.io/"
_INVALID: Final = "invalid bearer token"
_BAD_SIGNATURE: Final = "go-jose/go-jose: error in cryptographic primitive"
_INVALIDATED: Final = "service account token has been invalidated"
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The user, and those of the requested audiences that the token is for."""

    user: User
    audiences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """No valid token, with the words of `status.error`."""

    error: str


Outcome: TypeAlias = Authenticated | Refused


def review(state: KubeState, token: str, audiences: Sequence[str] = ()) -> Outcome:
    """The verdict of a TokenReview (Kubernetes pkg/registry/authentication/tokenreview/storage.go).

    The server judges a made-up request with the token as its bearer, so a token that begins with a space is no
    credential at all, and the verdict is `system:anonymous`, authenticated.
    """
    return authenticate(state, f"Bearer {token}", audiences)


def authenticate(state: KubeState, authorization: str, audiences: Sequence[str] = ()) -> Outcome:
    """Whose request this is by its Authorization header ("" for none), for the server's own audiences unless given."""
    requested = tuple(audiences) or state.api_audiences
    token = _bearer(authorization)
    if not token:
        return Authenticated(User(ANONYMOUS, groups=(UNAUTHENTICATED,)), requested)
    if (static := state.user_of_static_token(token)) is not None:
        matching = _intersection(state.api_audiences, requested)
        return Authenticated(static.with_group(AUTHENTICATED), matching) if matching else Refused(_INVALID)
    issuer = _unverified_issuer(token)
    if issuer != LEGACY_ISSUER and issuer not in state.issuers:
        return Refused(_INVALID)
    try:
        claims = _verified(state, token)
        audience = audience_of(claims) or state.api_audiences
        matching = _intersection(audience, requested)
        if not matching:
            raise InvalidTokenError(
                f"token audiences {_quoted(audience)} is invalid for the target audiences {_quoted(requested)}"
            )
        user = _legacy_user(state, token, claims) if issuer == LEGACY_ISSUER else _bound_user(state, claims)
    except InvalidTokenError as invalid:
        return Refused(f"[{_INVALID}, {invalid}]")
    return Authenticated(user.with_group(AUTHENTICATED), matching)


def _bearer(authorization: str) -> str:
    """The token of the header as apiserver pkg/authentication/request/bearertoken splits it; "" if there is none."""
    scheme, *rest = authorization.strip().split(" ", 2)
    return rest[0] if rest and scheme.lower() == "bearer" else ""


def _unverified_issuer(token: str) -> object:
    """What the token says its issuer is; None if it is no JWT."""
    parts = token.split(".")
    if len(parts) != 3 or not set(parts[1]).isdisjoint("=+/"):
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        decoded = base64.b64decode(padded, altchars=b"-_", validate=True)
        payload = json.loads(decoded, parse_constant=_no_constant)
    except (binascii.Error, ValueError, RecursionError):
        return None
    return payload.get("iss") if isinstance(payload, dict) else None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _verified(state: KubeState, token: str) -> Claims:
    """The claims, once a key of the server's has verified them: the one that kid names, without a kid any of them."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except jwt.PyJWTError:
        raise InvalidTokenError(_BAD_SIGNATURE) from None
    keys = [key for key in state.verification_keys if not kid or key.kid == kid]
    if not keys:
        raise InvalidTokenError("invalid signature, no keys found")
    for key in keys:
        try:
            payload = PyJWS().decode(token, key.public, algorithms=_algorithms(key))
        except jwt.PyJWTError:
            continue
        claims: Claims = json.loads(payload)  # an object: its iss has been read before
        return claims
    raise InvalidTokenError(_BAD_SIGNATURE)


def _algorithms(key: SigningKey) -> tuple[str, ...]:
    """A real server does not hold an RSA key to the algorithm that its JWK names."""
    return _RSA if key.algorithm in _RSA else (key.algorithm,)


def _intersection(audience: Sequence[str], requested: Sequence[str]) -> tuple[str, ...]:
    return tuple(one for one in requested if one in audience)


def _quoted(audiences: Sequence[str]) -> str:
    return "[" + " ".join(json.dumps(one) for one in audiences) + "]"


def _check_times(claims: Claims, now: float) -> None:
    """Holds the token to its times; one without exp never ends (go-jose jwt/validation.go)."""
    begins, ends, issued = (seconds_of(claims, name) for name in ("nbf", "exp", "iat"))
    if begins is not None and now + CLUSTER_LEEWAY < begins:
        raise InvalidTokenError("service account token is not valid yet")
    if ends is not None and now - CLUSTER_LEEWAY > ends:
        raise InvalidTokenError("service account token has expired")
    if issued is not None and now + CLUSTER_LEEWAY < issued:
        raise InvalidTokenError("service account token is issued in the future")


def _alive(item: KubeObject, now: float) -> bool:
    return item.deletion is None or item.deletion >= now - CLUSTER_LEEWAY


def _check_reference(item: Pod | Secret | Node | None, uid: str, now: float) -> None:
    """Holds a token to the object it is bound to: there, the same one, and not deleted for more than a minute."""
    if item is None:
        raise InvalidTokenError(_INVALIDATED)
    if item.uid != uid:
        kind = item.resource.removesuffix("s")
        raise InvalidTokenError(
            f"{kind} UID ({item.uid}) does not match service account {kind} ref claim ({uid})"
        )
    if not _alive(item, now):
        raise InvalidTokenError(_INVALIDATED)


def _account(state: KubeState, namespace: str, name: str, uid: str) -> ServiceAccount:
    if not name:
        raise InvalidTokenError("resource name may not be empty")
    account = state.objects.get(ServiceAccount, name, namespace)
    if account is None:
        raise InvalidTokenError(f'serviceaccounts "{name}" not found')
    if account.uid != uid:
        raise InvalidTokenError(f"service account UID ({account.uid}) does not match claim ({uid})")
    return account


def _user(account: ServiceAccount, extra: Mapping[str, str]) -> User:
    return User(
        account.username,
        account.uid,
        (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{account.namespace}"),
        {_EXTRA + name: (value,) for name, value in extra.items() if value},
    )


def _bound_user(state: KubeState, claims: Claims) -> User:
    """Whose bound token this is (Kubernetes pkg/serviceaccount/claims.go): named by `kubernetes.io`, not by sub."""
    now = state.clock()
    text_of(claims, "sub")  # must be a string, and counts for nothing
    token_id = text_of(claims, "jti")
    bound = members_of(claims, "kubernetes.io") or {}
    namespace = text_of(bound, "namespace")
    name, uid = reference_of(bound, "serviceaccount") or ("", "")
    pod, node, secret = (reference_of(bound, kind) for kind in ("pod", "node", "secret"))
    _check_times(claims, now)
    account = _account(state, namespace, name, uid)
    if not _alive(account, now):
        raise InvalidTokenError(f"service account {namespace}/{name} has been deleted")
    extra = {"credential-id": f"JTI={token_id}" if token_id else ""}
    if secret:
        _check_reference(state.objects.get(Secret, secret[0], namespace), secret[1], now)
    if pod:
        _check_reference(state.objects.get(Pod, pod[0], namespace), pod[1], now)
        extra |= {"pod-name": pod[0], "pod-uid": pod[1]}
    if node:
        if not pod:  # a pod's token outlives its node
            _check_reference(state.objects.get(Node, node[0]), node[1], now)
        extra |= {"node-name": node[0], "node-uid": node[1]}
    return _user(account, extra)


def _legacy_user(state: KubeState, token: str, claims: Claims) -> User:
    """Whose Secret's token this is (Kubernetes pkg/serviceaccount/legacy.go); its times are not looked at."""
    namespace = text_of(claims, LEGACY_CLAIM + "namespace")
    name = text_of(claims, LEGACY_CLAIM + "service-account.name")
    if not namespace or not name:
        raise InvalidTokenError(
            "namespace claim is missing" if not namespace else "serviceAccountName claim is missing"
        )
    if claims.get("sub") != f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}":
        raise InvalidTokenError("sub claim is invalid")
    secret = state.objects.get(Secret, text_of(claims, LEGACY_CLAIM + "secret.name"), namespace)
    if secret is None or secret.deletion is not None:
        raise InvalidTokenError("Token has been invalidated")
    if secret.token != token:
        raise InvalidTokenError("Token does not match server's copy")
    account = _account(state, namespace, name, text_of(claims, LEGACY_CLAIM + "service-account.uid"))
    if account.deletion is not None:
        raise InvalidTokenError(f"ServiceAccount {namespace}/{name} has been deleted")
    return _user(account, {})
