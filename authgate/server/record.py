"""Record decisions: count each in the metrics, and write it to the audit log if configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from authgate.model import Allow, Decision, Deny, Unavailable, value

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.observability.audit import Audit
    from authgate.observability.metrics import AnswerCell, Metrics
    from authgate.policy.rules import Difference

_OUTCOMES = {Allow: "allow", Deny: "deny", Unavailable: "unavailable"}


@value
class RequestFacts:
    """What an audit line shows of a request besides the decision."""

    request_id: str | None = None


About: TypeAlias = "Callable[[], RequestFacts]"
"""Returns the facts of one request. It is called only if the decision gets an audit line."""


class Recorder:
    """Record decisions of all protocols, with and without the fast lane, in the same way."""

    def __init__(self, metrics: Metrics, audit: Audit) -> None:
        self._metrics = metrics
        self._audit = audit

    def record(self, decision: Decision, policy: str, seconds: float, about: About) -> None:
        """Count a decision and its duration, and write its audit line. `policy` is "" if the request had no policy."""
        outcome, reason = _OUTCOMES[type(decision)], decision.reason
        self._metrics.answer_cell(outcome, reason, decision.evidence.source, policy).add(seconds)
        if isinstance(decision, Unavailable):
            self._metrics.unavailable[reason] += 1
        if self._audit.wants(allowed=outcome == "allow") and not self._audit.suppresses(policy, reason):
            self._write(decision, outcome, reason, policy, about())

    def audit(self, decision: Decision, policy: str, about: About) -> None:
        """Write the audit line of a decision that is not an answer of the verify port."""
        outcome = _OUTCOMES[type(decision)]
        if self._audit.wants(allowed=outcome == "allow"):
            self._write(decision, outcome, decision.reason.value, policy, about())

    def difference(self, found: Difference) -> None:
        """Count that a policy's shadow decides differently, and write an audit line if denials are written."""
        live, shadow = found.live.value, found.shadow.value
        self._metrics.shadow_differences[found.policy, live, shadow] += 1
        if not self._audit.wants(allowed=False):
            return
        attributes: dict[str, object] = {
            "authgate.policy": found.policy,
            "authgate.reason": live,
            "authgate.shadow": shadow,
            "authgate.detail": found.private,
        }
        if found.identity is not None:
            attributes["user.name"] = found.identity.username
        self._audit.record(found.policy, f"{live} or {shadow}", attributes, "the shadow decides differently")

    def cell_of(self, decision: Decision, policy: str) -> AnswerCell | None:
        """Return the counter of such decisions, or None if an audit line must be written, too."""
        outcome = _OUTCOMES[type(decision)]
        if self._audit.wants(allowed=outcome == "allow"):
            return None
        return self._metrics.answer_cell(outcome, decision.reason.value, decision.evidence.source, policy)

    def _write(self, decision: Decision, outcome: str, reason: str, policy: str, facts: RequestFacts) -> None:
        attributes: dict[str, object] = {
            "authgate.decision": outcome,
            "authgate.reason": reason,
            "authgate.policy": policy,
            "authgate.source": decision.evidence.source,
            "authgate.issuer": decision.evidence.issuer_name,
        }
        if decision.rule is not None:
            attributes["authgate.rule"] = f"rules[{decision.rule}]"
        if not isinstance(decision, Allow):
            private = decision.private if isinstance(decision, Deny) else ""
            attributes["authgate.detail"] = "; ".join(text for text in (decision.detail, private) if text)
        identity = None if isinstance(decision, Unavailable) else decision.identity
        if identity is not None:
            attributes["user.name"] = identity.username
        if facts.request_id is not None:
            attributes["http.request.id"] = facts.request_id
        self._audit.record(policy, reason, attributes)
