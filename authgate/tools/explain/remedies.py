"""What would change a decision, where the usual remedy of its reason does not fit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from authgate.errors import REASONS, Reason
from authgate.json_pointer import Missing, claim_pointer
from authgate.server.request_facts import INSTEAD_OF_TOKEN
from authgate.tools.explain.facts import issuer_of, similar_issuer
from authgate.tools.explain.steps import detail_of
from authgate.verify.claims import AUDIENCE_SUBSTITUTES, GROUPS_OMITTED, trust_domain_of
from authgate.verify.compact import FOR_MICROSOFT_GRAPH
from authgate.vocabulary import LEGACY_ISSUER

if TYPE_CHECKING:
    from authgate.model import Decision
    from authgate.tools.explain.decode import Decoded
    from authgate.tools.explain.values import KnownIssuer, KnownPolicy

_DOCTOR: Final = "run 'authgate doctor' with the same configuration: it shows what fails and why"
REMEDIES: Final = {
    Reason.KEYS_UNAVAILABLE: _DOCTOR,
    Reason.KEY_PENDING: "run this command again in a few seconds: the issuer is rotating keys, or the token is forged",
    Reason.REVIEW_UNAVAILABLE: _DOCTOR,
    Reason.INTROSPECTION_UNAVAILABLE: _DOCTOR,
    Reason.ACCESS_REVIEW_UNAVAILABLE: _DOCTOR,
    Reason.ACCESS_DENIED: "bind a Role or ClusterRole that grants this access to the user or one of its groups",
    Reason.EXPRESSION_FAILED: "use has() or .? for fields that may be missing",
    Reason.REQUEST_UNKNOWN: (
        "give --path, --method and --host; for a running gate, configure the proxy to send them in the headers of"
        " server.proxy"
    ),
}
"""Remedies that apply to this command; the usual ones refer to a running gate and its log."""


REMEDIES_BY_DETAIL: Final = {
    FOR_MICROSOFT_GRAPH: (
        "request a token for your own API, for example with the scope api://CLIENT-ID/.default; only Microsoft Graph"
        " can verify this one"
    ),
    "'tid' is not the tenant in 'iss'": "request a new token: its 'tid' must be the tenant in its 'iss'",
    GROUPS_OMITTED: (
        "map app roles instead (claimMappings.groups.claim: roles), or let the issuer send only the groups that are"
        " assigned to the application"
    ),
    INSTEAD_OF_TOKEN: "let the client send a token: its variable for the token is not set",
}
"""Remedies for tokens that would be denied again if they were requested in the same way, and for a missing token."""


IN_RULE: Final = {
    Reason.NOT_ALLOWED: "add the identity to the allow list that applies to this request",
    Reason.DENIED: "remove the identity from the deny list that applies to this request",
}
"""Remedies if a rule of the policy matches the request."""


_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_SIGNATURES: Final = {"ES256": 64, "ES384": 96, "ES512": 132, "EdDSA": 64, "Ed25519": 64}
_SMALLEST_RSA: Final = 256
_GROUPS: Final = "claimMappings.groups.claim"
_ENTRA_V1: Final = "https://sts.windows.net/"
_INTERNAL: Final = re.compile(r"\A[^.]*\Z|\.(?:svc|local|internal)\Z")


def remedy_for(
    decision: Decision, seen: Decoded, issuers: tuple[KnownIssuer, ...], policy: KnownPolicy
) -> str:
    """Return what would change a decision about a token."""
    reason, detail, issuer = decision.reason, detail_of(decision), issuer_of(decision, issuers)
    for known, remedy in REMEDIES_BY_DETAIL.items():
        if known in detail:
            if known == GROUPS_OMITTED and _group_claim(issuer) != "groups":
                return _without_group_claim(seen, issuer) or remedy
            return remedy
    match reason:
        case Reason.AUDIENCE_MISMATCH | Reason.CLAIM_RULE_FAILED if kind := _other_kind(seen):
            return f"send the access token: this is {kind}"
        case Reason.AUDIENCE_MISMATCH if remedy := _of_audience(seen, issuer):
            return remedy
        case Reason.IDENTITY_INVALID if "'kubernetes.io'" in detail:
            return "request a ServiceAccount token, with a projected volume or 'authgate token'"
        case Reason.ISSUER_UNKNOWN:
            return _of_issuer(seen, issuers)
        case Reason.CLAIM_MALFORMED if seen.claims is not None and "iss" not in seen.claims:
            return _without_issuer(seen)
        case Reason.ALGORITHM_NOT_ALLOWED if (seen.header_text("alg") or "").startswith("HS"):
            return (
                "let the issuer sign with a key pair, such as RS256: HMAC is never allowed; if this is a refresh token,"
                " send the access token"
            )
        case Reason.SIGNATURE_INVALID if expected := _size_if_cut_off(seen):
            return (
                f"copy the whole token: its signature has {seen.signature_size} bytes, but one of"
                f" {seen.header_text('alg')} has {expected}"
            )
        case Reason.TOKEN_OPAQUE if not any(issuer.is_cluster for issuer in issuers):
            return "send a JWT, or configure introspection for such tokens"
        case Reason.NOT_ALLOWED if policy.allow is None:
            return "request a token that meets the policy's conditions, or change them"
        case Reason.NOT_ALLOWED if any('"groups"' in entry for entry in policy.allow or ()) and (
            remedy := _without_group_claim(seen, issuer)
        ):
            return remedy
        case Reason.NOT_ALLOWED | Reason.DENIED if policy.rule is not None:
            return IN_RULE[reason]
        case Reason.NOT_ALLOWED if any('"groups"' in entry for entry in policy.allow or ()):
            return "give the user a group that the policy's allow list names, or add the identity to the list"
    return REMEDIES.get(reason, REASONS[reason].remedy)


def _size_if_cut_off(seen: Decoded) -> str:
    """Return the size of a complete signature in bytes, or "" if that of the token may be complete."""
    alg = seen.header_text("alg") or ""
    if alg[:2] in ("RS", "PS"):
        return f"at least {_SMALLEST_RSA}" if seen.signature_size < _SMALLEST_RSA else ""
    size = _SIGNATURES.get(alg)
    return "" if size in (None, seen.signature_size) else str(size)


def _other_kind(seen: Decoded) -> str:
    """Return what a token is that should have been an access token, or "". Cognito and Keycloak mark their tokens."""
    if seen.claim_text("token_use") == "id" or seen.claim_text("typ") == "ID":
        return "an ID token"
    return "a refresh token" if seen.claim_text("typ") in ("Refresh", "Offline") else ""


def _of_audience(seen: Decoded, issuer: KnownIssuer | None) -> str:
    """Return the remedy for a token that names its audience in an unusual place, or ""."""
    if issuer is not None and issuer.by_load_balancer:
        if seen.header_text("signer") is None:
            return "send X-Amzn-Oidc-Data: only this header has a token that the load balancer signs"
        return "if this load balancer is yours, list its ARN ('signer') in issuer.audiences"
    claim = _substitute(seen, issuer)
    if claim is None:
        return ""
    return (
        "request a token for one of the accepted audiences; if the issuer never writes aud, set"
        f" gate.audienceClaims: [{claim}] and list the client in issuer.audiences"
    )


def _substitute(seen: Decoded, issuer: KnownIssuer | None) -> str | None:
    """Return the claim of a token of a `jwt` issuer that can replace a missing audience."""
    members = seen.claims or {}
    if (
        issuer is None
        or issuer.is_cluster
        or issuer.by_load_balancer
        or any(claim in members for claim in issuer.audience_claims)
    ):
        return None
    return next((claim for claim in AUDIENCE_SUBSTITUTES if claim in members), None)


def _group_claim(issuer: KnownIssuer | None) -> str | None:
    return None if issuer is None else dict(issuer.claims).get(_GROUPS)


def _without_group_claim(seen: Decoded, issuer: KnownIssuer | None) -> str:
    """Return the remedy for a token that lacks the claim with the groups, or ""."""
    claim = _group_claim(issuer)
    if claim is None or not isinstance(claim_pointer(claim).lookup(seen.claims or {}), Missing):
        return ""
    return (
        f"let the issuer write the claim '{claim}' into the token (a role or group of the user, a scope or a mapper may"
        " be missing), or map the groups from another claim"
    )


def _of_issuer(seen: Decoded, issuers: tuple[KnownIssuer, ...]) -> str:
    """Return the remedy for a token of an issuer that is not configured."""
    claimed = seen.claim_text("iss")
    urls = [url for issuer in issuers for url in issuer.urls]
    if claimed is None:
        return _without_issuer(seen)
    if claimed == LEGACY_ISSUER:
        return (
            "send a token of a projected volume: only the API server can verify the token of a Secret"
            " (tokenReview.legacyAudiences)"
        )
    if claimed.startswith(_ENTRA_V1) and any(url.endswith("/v2.0") for url in urls):
        return (
            "request a token for your own API, and set requestedAccessTokenVersion to 2 in its registration; or add an"
            f" entry under jwt for version 1 ({_ENTRA_V1}{{tenantid}}/ with gate.tenants)"
        )
    if _UUID.search(claimed) and _UUID.sub("", claimed) in {_UUID.sub("", url) for url in urls}:
        return "request a token of a configured tenant; if you trust this one, add its id to gate.tenants"
    if any(_is_internal_address(claimed, url) for url in urls):
        return (
            "set the provider's public address, so that every token has the configured issuer in 'iss' (Keycloak:"
            " KC_HOSTNAME); if this is another provider that you trust, add an entry for it under jwt"
        )
    if similar_issuer(seen, urls):
        return REASONS[Reason.ISSUER_UNKNOWN].remedy
    return "request the token from a configured issuer; if you trust this one, add an entry for it under jwt"


def _without_issuer(seen: Decoded) -> str:
    """Return the remedy for a token without `iss`."""
    if trust_domain_of(seen.claim_text("sub")) is not None:
        return "add an entry under jwt with gate.spiffe for the trust domain in the token's 'sub', if you trust it"
    return REASONS[Reason.CLAIM_MALFORMED].remedy


def _is_internal_address(claimed: str, configured: str) -> bool:
    """Return whether an issuer seems to be a configured one under an address inside the cluster or the network."""
    try:
        one, other = urlsplit(claimed), urlsplit(configured)
    except ValueError:
        return False
    internal = one.scheme == "http" or _INTERNAL.search(one.hostname or "") is not None
    return internal and one.hostname != other.hostname and one.path == other.path


def remedy_for_record(reason: Reason, detail: str) -> str:
    """Return the remedy for a decision of a running gate, whose audit line was given."""
    for known, remedy in REMEDIES_BY_DETAIL.items():
        if known in detail:
            return remedy
    from_line = reason in (
        Reason.ACCESS_DENIED,
        Reason.EXPRESSION_FAILED,
    )  # the usual remedies refer to the log
    return REMEDIES[reason] if from_line else REASONS[reason].remedy
