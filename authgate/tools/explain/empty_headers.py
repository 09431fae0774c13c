"""Explain why identity headers are empty. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authgate.json_pointer import Missing, claim_pointer
from authgate.tools.explain.values import Fact, KnownPolicy
from authgate.verify.mapped import why_unverified

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from authgate.model import Allow, Identity, JSONValue

_REVIEWED: Final = "tokenreview"
_NO_CLAIMS: Final = "TokenReview verified the token, so its claims are not used"
_NO_ACCOUNT: Final = "only tokens of ServiceAccounts have it"
_CLAIMS: Final = {
    "x-auth-request-email": "email",
    "remote-email": "email",
    "x-auth-request-preferred-username": "preferred_username",
    "remote-name": "preferred_username",
}
_WHY: Final = {
    "x-auth-request-groups": "the identity has no groups",
    "x-remote-group": "the identity has no groups",
    "remote-groups": "the identity has no groups",
    "x-auth-request-uid": "the identity has no uid; claimMappings.uid sets it",
    "x-remote-uid": "the identity has no uid; claimMappings.uid sets it",
    "x-auth-request-issuer": "a token that only TokenReview can verify has no issuer",
    "x-auth-request-cluster": "only tokens of a cluster have it",
    "x-auth-request-namespace": _NO_ACCOUNT,
    "x-auth-request-service-account": _NO_ACCOUNT,
}


def empty_headers(
    allowed: Allow, claims: Mapping[str, JSONValue] | None, policy: KnownPolicy
) -> Iterator[Fact]:
    """Yield each empty header of an allowed identity, with the reason. `claims` are those of the verified token."""
    identity = allowed.identity
    if identity is None:
        return
    members = None if claims is None or allowed.evidence.source == _REVIEWED else claims
    mapped = {name.lower(): claim for name, claim in policy.headers}
    for name, value in allowed.headers:
        if not value:
            yield Fact(f"{name} is empty", (_why(name.lower(), identity, members, mapped),))


def _why(
    name: str, identity: Identity, claims: Mapping[str, JSONValue] | None, mapped: Mapping[str, str]
) -> str:
    if name in mapped:
        claim = mapped[name]
        return _of_claim(claim, claims) if claim else "its expression has no value"
    if name in _CLAIMS:
        account = identity.service_account is not None
        return "tokens of ServiceAccounts do not have it" if account else _of_claim(_CLAIMS[name], claims)
    if name == "x-auth-request-pod":
        return _NO_ACCOUNT if identity.service_account is None else "the token is not bound to a pod"
    return _WHY.get(name, "it has no value")


def _of_claim(claim: str, claims: Mapping[str, JSONValue] | None) -> str:
    if claims is None:
        return _NO_CLAIMS
    pointer = claim_pointer(claim)
    found = pointer.lookup(claims)
    if isinstance(found, Missing):
        return f"claim '{claim}' is missing" + (f": {found.why}" if found.why else "")
    if pointer.member == "email" and (why := why_unverified(claims)):
        return f"claim '{claim}' is not used: {why}"
    if found is None or found in ("", []):
        return f"claim '{claim}' is empty"
    return f"claim '{claim}' is not text that a header can have"
