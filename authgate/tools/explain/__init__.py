"""Explain a decision: which steps passed, which failed, and what would change the decision. Pure.

The decision is the gate's own. The unverified content of the token is only displayed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authgate.errors import REASONS, Reason
from authgate.model import Allow, Deny, Unavailable
from authgate.tools.explain.decode import decode
from authgate.tools.explain.facts import facts_of, issuer_of
from authgate.tools.explain.remedies import IN_RULE, REMEDIES, REMEDIES_BY_DETAIL
from authgate.tools.explain.steps import Steps, detail_of, identity_of
from authgate.tools.explain.values import Fact, KnownIssuer, KnownPolicy, Outcome, StepOutcome
from authgate.verify.claims import AUDIENCE_SUBSTITUTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.model import Decision
    from authgate.tools.explain.decode import Decoded

__all__ = ["Explanation", "Fact", "KnownIssuer", "KnownPolicy", "Outcome", "StepOutcome", "explain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision in words. `remedy` says what would change it; empty if the request is allowed.

    `summary` is one sentence for a ticket: the decision, the user, the reason and the remedy.
    """

    decision: Decision
    steps: tuple[StepOutcome, ...]
    facts: tuple[Fact, ...]
    status: int
    meaning: str
    detail: str
    remedy: str
    summary: str

    @property
    def reason(self) -> Reason:
        """The decision's reason, as `/verify` returns it in `X-Auth-Reason`."""
        return self.decision.reason


def explain(
    decision: Decision, token: str, now: float, issuers: Iterable[KnownIssuer], policy: KnownPolicy
) -> Explanation:
    """Explain the gate's `decision` about `token` at `now` under a policy.

    The caller limits the length of `token`. The result contains names and values from the token unchanged.
    """
    seen = decode(token, now)
    known = tuple(issuers)
    info = REASONS[decision.reason]
    steps = tuple(Steps(decision, seen, issuer_of(decision, known), policy).outcomes())
    facts = tuple(facts_of(decision, seen, now, known, policy))
    detail = detail_of(decision)
    remedy = _remedy(decision, seen, known, policy)
    return Explanation(
        decision=decision,
        steps=steps,
        facts=facts,
        status=info.status,
        meaning=info.meaning,
        detail=detail,
        remedy=remedy,
        summary=_summary(decision, seen, policy, remedy),
    )


def _summary(decision: Decision, seen: Decoded, policy: KnownPolicy, remedy: str) -> str:
    """Return the explanation as one sentence, without the token."""
    info = REASONS[decision.reason]
    done = {Allow: "allows", Deny: "denies", Unavailable: "cannot decide about"}[type(decision)]
    sentence = f"authgate {done} {_whom(decision, seen)} under policy '{policy.name}': {info.status} {decision.reason}"
    if isinstance(decision, Allow):
        return f"{sentence}."
    to_change = f"; to change this, {remedy}" if remedy else ""
    return f"{sentence}, {info.meaning}{to_change}."


def _whom(decision: Decision, seen: Decoded) -> str:
    """Return the verified user, or else the token's own claims, marked as not verified and limited in length."""
    identity = identity_of(decision)
    if decision.reason is Reason.ANONYMOUS:
        return "a request without a token"
    if identity is not None:
        issuer = f" of issuer '{identity.issuer_name}'" if identity.issuer_name else ""
        return f"{_limited(identity.username)}{issuer}"
    claims = [f"{name} {_limited(text)}" for name in ("iss", "sub") if (text := seen.claim_text(name))]
    return (
        f"a token with {' and '.join(claims)} (not verified)" if claims else "a token without readable claims"
    )


def _limited(text: str) -> str:
    return text if len(text) <= _MAX_NAME else f"{text[:_MAX_NAME]}…"


_MAX_NAME: Final = 200


def _substitute(decision: Decision, seen: Decoded, issuers: tuple[KnownIssuer, ...]) -> str | None:
    """Return the claim of a token of a `jwt` issuer that can replace a missing audience."""
    issuer, members = issuer_of(decision, issuers), seen.claims or {}
    if (
        issuer is None
        or issuer.is_cluster
        or issuer.by_load_balancer
        or any(claim in members for claim in issuer.audience_claims)
    ):
        return None
    return next((claim for claim in AUDIENCE_SUBSTITUTES if claim in members), None)


def _remedy(decision: Decision, seen: Decoded, issuers: tuple[KnownIssuer, ...], policy: KnownPolicy) -> str:
    reason = decision.reason
    detail = detail_of(decision)
    for known, remedy in REMEDIES_BY_DETAIL.items():
        if known in detail:
            return remedy
    match reason:
        case Reason.AUDIENCE_MISMATCH if (claim := _substitute(decision, seen, issuers)) is not None:
            return (
                "request a token for one of the accepted audiences; if the issuer never writes aud, set"
                f" gate.audienceClaims: [{claim}] and list the client in issuer.audiences"
            )
        case Reason.TOKEN_OPAQUE if not any(issuer.is_cluster for issuer in issuers):
            return "send a JWT, or configure introspection for such tokens"
        case Reason.NOT_ALLOWED if policy.allow is None:
            return "request a token that meets the policy's conditions, or change them"
        case Reason.NOT_ALLOWED | Reason.DENIED if policy.rule is not None:
            return IN_RULE[reason]
    return REMEDIES.get(reason, REASONS[reason].remedy)
