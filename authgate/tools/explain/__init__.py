"""Explain a decision: which steps passed, which failed, and what would change the decision. Pure.

The decision is the gate's own. The unverified content of the token is only displayed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authgate.errors import REASONS, Reason, Step
from authgate.model import Allow, Deny, Unavailable
from authgate.tools.explain.decode import decode
from authgate.tools.explain.facts import facts_of, issuer_of
from authgate.tools.explain.remedies import remedy_for
from authgate.tools.explain.steps import Steps, detail_of, identity_of
from authgate.tools.explain.values import Fact, KnownIssuer, KnownPolicy, Outcome, StepOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.model import Decision
    from authgate.tools.explain.decode import Decoded

__all__ = ["Explanation", "Fact", "KnownIssuer", "KnownPolicy", "Outcome", "StepOutcome", "explain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision in words. `remedy` is what would change it; empty if the request is allowed.

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
    remedy = remedy_for(decision, seen, known, policy)
    return Explanation(
        decision=decision,
        steps=steps,
        facts=facts,
        status=info.status,
        meaning=info.meaning,
        detail=detail,
        remedy=remedy,
        summary=_summary(decision, seen, policy, facts, remedy),
    )


def _summary(
    decision: Decision, seen: Decoded, policy: KnownPolicy, facts: tuple[Fact, ...], remedy: str
) -> str:
    """Return the explanation as one sentence, without the token."""
    info = REASONS[decision.reason]
    done = {Allow: "allows", Deny: "denies", Unavailable: "cannot decide about"}[type(decision)]
    caller = _caller_of(decision, seen)
    sentence = f"authgate {done} {caller} under policy '{policy.name}': {info.status} {decision.reason}"
    if isinstance(decision, Allow):
        return f"{sentence}."
    # The sentence already names the policy.
    why = "" if info.step is Step.POLICY else decision.detail or _compared(facts)
    because = info.meaning + (f" ({_limited(why)})" if why else "")
    to_change = f"; to change this, {remedy}" if remedy else ""
    return f"{sentence}, {because}{to_change}."


def _compared(facts: tuple[Fact, ...]) -> str:
    """Return the token's values and the accepted ones, if the decision has no detail that names them."""
    return "; ".join(
        f"{fact.name}: {', '.join(fact.values[:_MAX_VALUES])}{', …' if len(fact.values) > _MAX_VALUES else ''}"
        for fact in facts
        if fact.name.startswith(_COMPARED)
    )


def _verified(decision: Decision) -> bool:
    """Return whether a key has verified the signature of a token that was denied later."""
    return decision.evidence.key is not None and REASONS[decision.reason].step in _AFTER_SIGNATURE


def _caller_of(decision: Decision, seen: Decoded) -> str:
    """Return the verified user, or else the token's own claims, marked as not verified and limited in length."""
    identity = identity_of(decision)
    if decision.reason is Reason.ANONYMOUS:
        return "a request without a token"
    if identity is not None:
        issuer = f" of issuer '{identity.issuer_name}'" if identity.issuer_name else ""
        return f"{_limited(identity.username)}{issuer}"
    claims = [f"{name} {_limited(text)}" for name in ("iss", "sub") if (text := seen.claim_text(name))]
    if not claims:
        return "a token without readable claims"
    return f"a token with {' and '.join(claims)}{'' if _verified(decision) else ' (not verified)'}"


def _limited(text: str) -> str:
    return text if len(text) <= _MAX_NAME else f"{text[:_MAX_NAME]}…"


_MAX_NAME: Final = 200
_MAX_VALUES: Final = 5
_COMPARED: Final = (
    "the token's aud",
    "the token's client_id",
    "the token's signer",
    "the token's kid",
    "accepted",
)
_AFTER_SIGNATURE: Final = (Step.TIME, Step.AUDIENCE, Step.IDENTITY, Step.POLICY)
