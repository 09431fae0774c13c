"""Compare what the token contains with what the configuration expects."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from authgate.errors import REASONS, Reason, Step
from authgate.json_pointer import Missing, claim_pointer
from authgate.model import Allow
from authgate.timestamps import date
from authgate.tools.explain.empty_headers import empty_headers
from authgate.tools.explain.steps import detail_of, identity_of, key_of
from authgate.tools.explain.values import Fact, KnownIssuer, KnownPolicy
from authgate.verify.claims import AUDIENCE_SUBSTITUTES, audiences_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from authgate.model import Decision
    from authgate.tools.explain.decode import Decoded


def issuer_of(decision: Decision, known: Iterable[KnownIssuer]) -> KnownIssuer | None:
    """Return the configured issuer that a decision is about."""
    return next((issuer for issuer in known if issuer.name == decision.evidence.issuer_name), None)


def facts_of(
    decision: Decision,
    seen: Decoded,
    now: float,
    known: tuple[KnownIssuer, ...],
    policy: KnownPolicy,
) -> Iterator[Fact]:
    """Yield what to compare if the token was denied, or the identity and its empty headers if it was verified."""
    yield from _of_reason(decision, seen, now, known, policy)
    if isinstance(decision, Allow):
        yield from empty_headers(decision, seen.claims, policy)
    if policy.rule is not None and REASONS[decision.reason].step in (None, Step.POLICY):
        yield Fact("the request's rule", (policy.rule,))


def _of_reason(
    decision: Decision,
    seen: Decoded,
    now: float,
    known: tuple[KnownIssuer, ...],
    policy: KnownPolicy,
) -> Iterator[Fact]:
    issuer = issuer_of(decision, known)
    match decision.reason:
        case Reason.ISSUER_UNKNOWN:
            yield from _issuer_facts(seen, known)
        case Reason.TYPE_NOT_ACCEPTED if issuer is not None:
            yield _fact("the token's typ", seen.header_text("typ"))
            yield from (Fact("accepted types", issuer.types),) if issuer.types else ()
        case Reason.ALGORITHM_NOT_ALLOWED if issuer is not None:
            yield _fact("the token's alg", seen.header_text("alg"))
            yield from (Fact("allowed algorithms", issuer.algorithms),) if issuer.algorithms else ()
        case Reason.KEY_UNKNOWN | Reason.KEY_PENDING | Reason.KEYS_UNAVAILABLE:
            yield _fact("the token's kid", seen.header_text("kid"))
            if issuer is not None and issuer.kids:
                yield Fact("published kids", issuer.kids)
        case Reason.SIGNATURE_INVALID:
            yield Fact("tried", (key_of(decision),))
        case Reason.TOKEN_EXPIRED | Reason.TOKEN_NOT_YET_VALID | Reason.TOKEN_LIFETIME_TOO_LONG:
            for moment in seen.moments:
                yield Fact(f"the token's {moment.claim}", (f"{moment.date}, {moment.relation}",))
            yield Fact("now", (date(now),))
        case Reason.AUDIENCE_MISMATCH:
            yield from _audience_facts(seen, issuer)
            of_policy = identity_of(decision) is not None and policy.audiences is not None
            accepted = policy.audiences if of_policy else issuer.audiences if issuer else ()
            yield Fact(f"accepted by policy '{policy.name}'" if of_policy else "accepted", accepted or ())
        case Reason.CLAIM_RULE_FAILED | Reason.USER_RULE_FAILED | Reason.IDENTITY_INVALID if (
            issuer is not None
        ):
            yield from _refusing_rule(decision, issuer)
            yield from _missing_claims(seen, issuer)
        case Reason.DENIED:
            yield from (
                *_identity_facts(decision),
                *_missing_claims(seen, issuer),
                Fact(f"deny of '{policy.name}'", policy.deny),
            )
        case Reason.NOT_ALLOWED:
            yield from (
                *_identity_facts(decision),
                *_missing_claims(seen, issuer),
                *(() if policy.allow is None else (Fact(f"allow of '{policy.name}'", policy.allow),)),
            )
        case Reason.ACCESS_DENIED | Reason.REQUEST_UNKNOWN | Reason.PATH_AMBIGUOUS:
            yield from _identity_facts(decision)
            if policy.access_review is not None:
                yield Fact(f"access review of '{policy.name}'", (policy.access_review,))
        case _:
            yield from _identity_facts(decision)


def _refusing_rule(decision: Decision, issuer: KnownIssuer) -> Iterator[Fact]:
    detail = detail_of(decision)
    for place, text in issuer.expressions:
        if detail.startswith((f"{place}: ", f"{place} ")):
            yield Fact(place, (text,))
            return
    if decision.reason is Reason.CLAIM_RULE_FAILED and issuer.claim_rules:
        yield Fact("required claims", issuer.claim_rules)


def _missing_claims(seen: Decoded, issuer: KnownIssuer | None) -> Iterator[Fact]:
    """Yield mapped claims that the token does not have, with the reason."""
    for place, claim in () if issuer is None else issuer.claims:
        found = claim_pointer(claim).lookup(seen.claims or {})
        if isinstance(found, Missing):
            yield Fact(place, (f"claim '{claim}' is missing" + (f": {found.why}" if found.why else ""),))


def _audience_facts(seen: Decoded, issuer: KnownIssuer | None) -> Iterator[Fact]:
    if issuer is not None and issuer.by_load_balancer:
        yield _fact("the token's signer", seen.header_text("signer"))
        return
    if seen.claims is None:
        return  # an opaque token; the detail has what the server's answer named
    members = seen.claims
    read = ("aud",) if issuer is None else issuer.audience_claims
    others = [claim for claim in AUDIENCE_SUBSTITUTES if claim in members and claim not in read]
    for claim in (*read, *(() if audiences_in(members, read) else others[:1])):
        named = seen.audiences if claim == "aud" else audiences_in(members, (claim,))
        yield Fact(f"the token's {claim}", named or ("(none)",))


def _issuer_facts(seen: Decoded, known: tuple[KnownIssuer, ...]) -> Iterator[Fact]:
    claimed = seen.claim_text("iss")
    urls = [url for issuer in known for url in issuer.urls]
    undiscovered = [f"the issuer of cluster '{issuer.name}'" for issuer in known if issuer.is_cluster]
    yield _fact("the token's iss", claimed)
    yield Fact("configured issuers", (*urls, *undiscovered))
    if close := similar_issuer(seen, urls):
        yield Fact("the most similar", (close,))


def similar_issuer(seen: Decoded, urls: Iterable[str]) -> str | None:
    """Return the configured issuer that is most similar to the token's `iss`, or None if none is similar."""
    close = difflib.get_close_matches((seen.claim_text("iss") or "")[:512], tuple(urls), n=1, cutoff=0.8)
    return close[0] if close else None


def _identity_facts(decision: Decision) -> Iterator[Fact]:
    identity = identity_of(decision)
    if identity is None:
        return
    yield Fact("issuer", (identity.issuer_name,))
    yield Fact("user", (identity.username,))
    yield Fact("groups", identity.groups)
    account = identity.service_account
    if account is not None:
        yield Fact("service account", (f"{account.namespace}/{account.name}",))


def _fact(name: str, value: str | None) -> Fact:
    return Fact(name, ("(none)" if value is None else value,))
