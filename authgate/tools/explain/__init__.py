"""From a decision back to the steps that led there: which passed, which failed, and what would have to change. Pure.

The decision is the gate's own and nothing is decided again; what the token says of itself is used for words only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from authgate.errors import REASONS, Reason
from authgate.tools.explain.decode import decode
from authgate.tools.explain.facts import facts_of, issuer_of
from authgate.tools.explain.steps import Steps, detail_of
from authgate.tools.explain.values import Fact, KnownIssuer, KnownPolicy, Outcome, StepOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.model import Decision

__all__ = ["Explanation", "Fact", "KnownIssuer", "KnownPolicy", "Outcome", "StepOutcome", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision in words. `remedy` is what would have to change, empty where the request may pass."""

    decision: Decision
    steps: tuple[StepOutcome, ...]
    facts: tuple[Fact, ...]
    status: int
    meaning: str
    detail: str
    remedy: str

    @property
    def reason(self) -> Reason:
        """The decision's reason, as `/verify` gives it in `X-Auth-Reason`."""
        return self.decision.reason


def explain(
    decision: Decision, token: str, now: float, issuers: Iterable[KnownIssuer], policy: KnownPolicy
) -> Explanation:
    """Return how the gate came to `decision` about `token` at `now` under a policy.

    The caller bounds the length of `token`. Names and values from the token stand in the result as they are.
    """
    seen = decode(token, now)
    known = tuple(issuers)
    info = REASONS[decision.reason]
    steps = tuple(Steps(decision, seen, issuer_of(decision, known), policy).outcomes())
    facts = tuple(facts_of(decision, seen, now, known, policy))
    detail = detail_of(decision)
    return Explanation(decision, steps, facts, info.status, info.meaning, detail, info.remedy)
