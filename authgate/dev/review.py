"""Bearer token authentication as in kube-apiserver 1.36, for TokenReview and for the API's own callers."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

import jwt
from jwt.api_jws import PyJWS

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
_INT64: Final = float(2**63)
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


Claims: TypeAlias = Mapping[str, object]


class InvalidTokenError(Exception):
    """The token breaks a rule; the message is the API server's."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The user, and the requested audiences that the token is for."""

    user: User
    audiences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The token is invalid; `error` is the text of `status.error`."""

    error: str


Outcome: TypeAlias = Authenticated | Refused


def review(state: KubeState, token: str, audiences: Sequence[str] = ()) -> Outcome:
    """Return the verdict of a TokenReview (Kubernetes pkg/registry/authentication/tokenreview/storage.go).

    The server authenticates a synthetic request with this bearer token. A token that begins with a space is therefore
    no credential, and the verdict is an authenticated `system:anonymous`.
    """
    return authenticate(state, f"Bearer {token}", audiences)


def authenticate(state: KubeState, authorization: str, audiences: Sequence[str] = ()) -> Outcome:
    """Authenticate a request by its Authorization header ("" for none); `audiences` default to the server's own."""
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
        audience = _audience_of(claims) or state.api_audiences
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
    """Return the header's token as apiserver pkg/authentication/request/bearertoken splits it, or ""."""
    scheme, *rest = authorization.strip().split(" ", 2)
    return rest[0] if rest and scheme.lower() == "bearer" else ""


def _unverified_issuer(token: str) -> object:
    """Return the unverified `iss` of a JWT, or None."""
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
    raise ValueError(f"{name} is not JSON")


def _verified(state: KubeState, token: str) -> Claims:
    """Return the claims if a key of the server verifies them: the key that kid names, or any key without a kid."""
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
        claims: Claims = json.loads(payload)  # an object: its iss was read earlier
        return claims
    raise InvalidTokenError(_BAD_SIGNATURE)


def _algorithms(key: SigningKey) -> tuple[str, ...]:
    """Return the accepted algorithms; for RSA keys, a real server ignores the algorithm in the JWK."""
    return _RSA if key.algorithm in _RSA else (key.algorithm,)


def _intersection(audience: Sequence[str], requested: Sequence[str]) -> tuple[str, ...]:
    return tuple(one for one in requested if one in audience)


def _quoted(audiences: Sequence[str]) -> str:
    return "[" + " ".join(json.dumps(one) for one in audiences) + "]"


def _check_times(claims: Claims, now: float) -> None:
    """Check nbf, exp and iat; a token without exp never expires (go-jose jwt/validation.go)."""
    begins, ends, issued = (_seconds_of(claims, name) for name in ("nbf", "exp", "iat"))
    if begins is not None and now + CLUSTER_LEEWAY < begins:
        raise InvalidTokenError("service account token is not valid yet")
    if ends is not None and now - CLUSTER_LEEWAY > ends:
        raise InvalidTokenError("service account token has expired")
    if issued is not None and now + CLUSTER_LEEWAY < issued:
        raise InvalidTokenError("service account token is issued in the future")


def _alive(item: KubeObject, now: float) -> bool:
    return item.deletion is None or item.deletion >= now - CLUSTER_LEEWAY


def _check_reference(item: Pod | Secret | Node | None, uid: str, now: float) -> None:
    """Check that the bound object exists, has the same UID, and was not deleted more than a minute ago."""
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
    """Return the user of a bound token (Kubernetes pkg/serviceaccount/claims.go), from `kubernetes.io` and not sub."""
    now = state.clock()
    _text_of(claims, "sub")  # only its type is checked
    token_id = _text_of(claims, "jti")
    bound = _members_of(claims, "kubernetes.io") or {}
    namespace = _text_of(bound, "namespace")
    name, uid = _reference_of(bound, "serviceaccount") or ("", "")
    pod, node, secret = (_reference_of(bound, kind) for kind in ("pod", "node", "secret"))
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
        if not pod:  # a pod's token stays valid after its node is deleted
            _check_reference(state.objects.get(Node, node[0]), node[1], now)
        extra |= {"node-name": node[0], "node-uid": node[1]}
    return _user(account, extra)


def _legacy_user(state: KubeState, token: str, claims: Claims) -> User:
    """Return the user of a Secret's token (Kubernetes pkg/serviceaccount/legacy.go); its times are ignored."""
    namespace = _text_of(claims, LEGACY_CLAIM + "namespace")
    name = _text_of(claims, LEGACY_CLAIM + "service-account.name")
    if not namespace or not name:
        raise InvalidTokenError(
            "namespace claim is missing" if not namespace else "serviceAccountName claim is missing"
        )
    if claims.get("sub") != f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}":
        raise InvalidTokenError("sub claim is invalid")
    secret = state.objects.get(Secret, _text_of(claims, LEGACY_CLAIM + "secret.name"), namespace)
    if secret is None or secret.deletion is not None:
        raise InvalidTokenError("Token has been invalidated")
    if secret.token != token:
        raise InvalidTokenError("Token does not match server's copy")
    account = _account(state, namespace, name, _text_of(claims, LEGACY_CLAIM + "service-account.uid"))
    if account.deletion is not None:
        raise InvalidTokenError(f"ServiceAccount {namespace}/{name} has been deleted")
    return _user(account, {})


# A claim of the wrong type raises InvalidTokenError, as decoding it into a Go struct would fail.


def _audience_of(claims: Claims) -> tuple[str, ...]:
    """Return the audiences, empty if aud is missing or null; a string is one audience."""
    match claims.get("aud"):
        case None:
            return ()
        case str(one):
            return (one,)
        case list(several) if all(isinstance(one, str) for one in several):
            return tuple(several)
        case _:
            raise InvalidTokenError(
                "go-jose/go-jose/jwt: expected string or array value to unmarshal to Audience"
            )


def _seconds_of(claims: Claims, name: str) -> float | None:
    """Return a time in seconds since the epoch, or None if it is missing or null."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTokenError("go-jose/go-jose/jwt: expected number value to unmarshal NumericDate")
    # Beyond 64 bits, Go's conversion yields the earliest possible time.
    return value if abs(value) < _INT64 else -_INT64


def _text_of(claims: Claims, name: str) -> str:
    """Return a string, empty if it is missing or null."""
    match claims.get(name):
        case None:
            return ""
        case str(text):
            return text
        case _:
            raise InvalidTokenError(f"json: cannot unmarshal {name} into Go value of type string")


def _members_of(claims: Claims, name: str) -> Claims | None:
    """Return an object, or None if it is missing or null."""
    match claims.get(name):
        case None:
            return None
        case dict(members):
            return members
        case _:
            raise InvalidTokenError(f"json: cannot unmarshal {name} into Go value of type struct")


def _reference_of(claims: Claims, name: str) -> tuple[str, str] | None:
    """Return the name and UID of an object that the token is bound to, or None."""
    named = _members_of(claims, name)
    return None if named is None else (_text_of(named, "name"), _text_of(named, "uid"))
