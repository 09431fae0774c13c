"""Record decisions: count each in the metrics, and write it to the audit log if configured."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Final, TypeAlias

from authgate.errors import REASONS, Reason, Step
from authgate.model import Allow, Decision, Deny, Unavailable
from authgate.observability.audit import SHADOW_DIFFERS
from authgate.observability.log import masked
from authgate.policy.paths import plain_host
from authgate.server.recent import RecentDecision
from authgate.server.request_facts import (
    INSTEAD_OF_TOKEN,
    RequestFacts,
    claims_of,
    placeholder_of,
    shortened,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.observability.audit import Audit
    from authgate.observability.metrics import AnswerCells, Metrics
    from authgate.observability.tracing import DecisionSpan
    from authgate.policy.rules import Difference
    from authgate.server.recent import RecentDecisions

_OUTCOMES = {Allow: "allow", Deny: "deny", Unavailable: "unavailable"}


About: TypeAlias = "Callable[[], RequestFacts]"
"""Returns the facts of one request. It is called only if the decision gets an audit line."""


def _decision_attributes(decision: Decision, policy: str) -> dict[str, str | None]:
    """Return the attributes that audit lines and spans have of a decision."""
    return {
        "authgate.decision": _OUTCOMES[type(decision)],
        "authgate.reason": decision.reason.value,
        "authgate.policy": policy,
        "authgate.rule": None if decision.rule is None else f"rules[{decision.rule}]",
        "authgate.source": decision.evidence.source,
        "authgate.issuer": decision.evidence.issuer_name,
    }


def describe(span: DecisionSpan, decision: Decision, policy: str) -> None:
    """Describe a decision in its span."""
    error = decision.reason.value if isinstance(decision, Unavailable) else None
    span.describe(_decision_attributes(decision, policy), error)


class Recorder:
    """Record decisions of all protocols, with and without the fast lane, in the same way."""

    def __init__(self, metrics: Metrics, audit: Audit, now: Callable[[], float] = time.time) -> None:
        self._metrics = metrics
        self._audit = audit
        self._now = now
        self.recent: RecentDecisions | None = None
        """Keeps the latest decisions, if it is set. Set it together with a new generation, whose cache is empty."""

    def record(self, decision: Decision, policy: str, seconds: float, about: About) -> None:
        """Count a decision and its duration, and write its audit line. `policy` is "" if the request had no policy."""
        outcome, reason = _OUTCOMES[type(decision)], decision.reason
        self._metrics.answer_cell(outcome, reason, decision.evidence.source, policy, decision.rule).add(
            seconds
        )
        if isinstance(decision, Unavailable):
            self._metrics.unavailable[reason] += 1
        self.write(decision, policy, seconds, about)

    def write(self, decision: Decision, policy: str, seconds: float, about: About) -> None:
        """Write the audit line of a decision that is already counted."""
        outcome, reason = _OUTCOMES[type(decision)], decision.reason
        written = self._audit.wants(allowed=outcome == "allow") and not self._audit.suppresses(policy, reason)
        if not written and self.recent is None:
            return
        facts = about()
        if self.recent is not None:
            self.recent.add(self._recent_decision(decision, outcome, policy, facts))
        if written:
            self._write(decision, policy, facts, seconds)

    def audit(self, decision: Decision, policy: str, about: About) -> None:
        """Write the audit line of a decision about a token exchange. Only an unavailable one is counted."""
        outcome = _OUTCOMES[type(decision)]
        if isinstance(decision, Unavailable):
            self._metrics.unavailable[decision.reason] += 1
        if self._audit.wants(allowed=outcome == "allow"):
            self._write(decision, policy, about())

    def difference(self, found: Difference, about: About) -> None:
        """Count that a policy's shadow decides differently, and write an audit line if denials are written."""
        live, shadow = found.live.value, found.shadow.value
        self._metrics.shadow_differences[found.policy, live, shadow] += 1
        kind = f"{live} or {shadow}"
        if not self._audit.wants(allowed=False) or self._audit.suppresses(found.policy, kind):
            return
        attributes: dict[str, object] = {
            "authgate.policy": found.policy,
            "authgate.reason": live,
            "authgate.shadow": shadow,
            "authgate.detail": found.private,
        }
        if found.identity is not None:
            attributes["user.name"] = found.identity.username
        facts = about()
        known = {**attributes, **_known(self._of_request(facts))}
        self._audit.record(found.policy, kind, known, SHADOW_DIFFERS, trace=facts.trace)

    def cells_of(self, decision: Decision, policy: str) -> AnswerCells:
        """Return the counters of such decisions."""
        outcome = _OUTCOMES[type(decision)]
        return self._metrics.answer_cells(outcome, decision.reason.value, policy, decision.rule)

    def only_counts(self, decision: Decision) -> bool:
        """Return whether `write` does nothing for such decisions."""
        return self.recent is None and not self._audit.wants(allowed=isinstance(decision, Allow))

    def _write(
        self,
        decision: Decision,
        policy: str,
        facts: RequestFacts,
        seconds: float | None = None,
    ) -> None:
        attributes: dict[str, object] = {
            **_decision_attributes(decision, policy),
            "authgate.detail": _detail(decision, facts),
            "authgate.duration": None if seconds is None else round(seconds, 6),
            **self._of_token(decision, facts),
            **self._of_request(facts),
        }
        self._audit.record(policy, decision.reason.value, _known(attributes), trace=facts.trace)

    def _recent_decision(
        self, decision: Decision, outcome: str, policy: str, facts: RequestFacts
    ) -> RecentDecision:
        identity = None if isinstance(decision, Unavailable) else decision.identity
        # As in the log, no text contains a token: a client can put one into its path.
        request = {
            name: masked(str(text)) for name, text in self._of_request(facts).items() if text is not None
        }
        return RecentDecision(
            self._now(),
            outcome,
            decision.reason.value,
            policy,
            decision.rule,
            username="" if identity is None else shortened(identity.username),
            issuer=decision.evidence.issuer_name,
            method=request.get("http.request.method", ""),
            host=request.get("server.address", ""),
            path=request.get("url.path", "") or request.get("http.route", ""),
            client=request.get("client.address", ""),
            request_id=request.get("http.request.id", ""),
        )

    def _of_token(self, decision: Decision, facts: RequestFacts) -> dict[str, object]:
        """Return attributes of the token: verified ones if the decision names an identity, else the token's claims."""
        identity = None if isinstance(decision, Unavailable) else decision.identity
        if REASONS[decision.reason].step is Step.CREDENTIAL or decision.reason is Reason.ANONYMOUS:
            return {}  # there is no token, or not one that can be read
        claims = claims_of(facts.credentials)
        token_id = self._token_id(claims.token_id)
        if identity is None:
            return {
                "authgate.unverified.issuer": claims.issuer,
                "authgate.unverified.audiences": list(claims.audiences) or None,
                "authgate.unverified.token.id": token_id,
            }
        audiences = list(identity.audiences) if decision.reason is Reason.AUDIENCE_MISMATCH else None
        return {
            "user.name": identity.username,
            "authgate.audiences": audiences,
            "authgate.token.id": token_id,
        }

    def _token_id(self, jti: str | None) -> str | None:
        match self._audit.fields.token_id:
            case "hash" if jti is not None:
                data = jti.encode("utf-8", "surrogatepass")  # JSON can escape half of a surrogate pair
                return f"sha256:{hashlib.sha256(data).hexdigest()[:_HASH_DIGITS]}"
            case "value":
                return jti
            case _:
                return None

    def _of_request(self, facts: RequestFacts) -> dict[str, object]:
        original, fields = facts.original, self._audit.fields
        host = original.host
        return {
            "http.request.id": facts.request_id,
            "client.address": facts.client,
            "http.request.method": None
            if original.method is None
            else shortened(original.method, _MAX_METHOD),
            "server.address": None if host is None else plain_host(host) or shortened(host),
            "url.path": shortened(original.path, _MAX_PATH)
            if fields.path == "full" and original.path
            else None,
            "http.route": facts.pattern if fields.path == "template" else None,
        }


def _known(attributes: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in attributes.items() if value is not None}


def _detail(decision: Decision, facts: RequestFacts) -> str | None:
    if isinstance(decision, Allow):
        return None
    if isinstance(decision, Unavailable):
        return decision.detail
    word = placeholder_of(facts.credentials) if decision.identity is None else None
    sent = "" if word is None else f"the client sent the word {word!r} {INSTEAD_OF_TOKEN}"
    return "; ".join(text for text in (sent, decision.detail, decision.private) if text)


_MAX_METHOD: Final = 32
_MAX_PATH: Final = 1024
_HASH_DIGITS: Final = 32
