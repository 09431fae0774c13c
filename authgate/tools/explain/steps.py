"""Derive the outcome of each pipeline step from a decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authgate.errors import REASONS, Reason, Step
from authgate.model import Allow, Decision, Deny, Unavailable
from authgate.tools.explain.values import KnownIssuer, KnownPolicy, Outcome, StepOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authgate.model import Identity
    from authgate.tools.explain.decode import Decoded

_STEPS: Final = tuple(Step)
_ASKED: Final = {"tokenreview": ("TokenReview", "of cluster"), "introspection": ("introspection", "at")}
"""How a server decided, by the source of the decision."""
_BY_ISSUER: Final = frozenset({Reason.TYPE_NOT_ACCEPTED, Reason.TOKEN_SENDER_CONSTRAINED})
"""Reasons about the token's structure that depend on the issuer's settings."""


def identity_of(decision: Decision) -> Identity | None:
    """Return the identity that a decision is about, or None if verification did not get that far."""
    return None if isinstance(decision, Unavailable) else decision.identity


def _failed(decision: Decision) -> Step | None:
    match decision:
        case Allow():
            return None
        # Without an issuer name, a cluster's issuer is not known yet, so the search for a key has not begun.
        case Unavailable(Reason.KEYS_UNAVAILABLE, evidence=evidence) if not evidence.issuer_name:
            return Step.ISSUER
        case Deny(reason) | Unavailable(reason):
            return REASONS[reason].step


@dataclass(frozen=True, slots=True)
class Steps:
    """Derives the outcome of each step from a decision."""

    decision: Decision
    seen: Decoded
    issuer: KnownIssuer | None
    policy: KnownPolicy

    def outcomes(self) -> Iterator[StepOutcome]:
        """Yield every step in order, with its outcome."""
        failed = _failed(self.decision)
        for step in _STEPS:
            if step is failed:
                yield self._failure(step)
            elif (skipped := self._skipped(step)) is not None:
                yield StepOutcome(step, Outcome.SKIPPED, skipped)
            elif self._passed(step, failed):
                yield StepOutcome(step, Outcome.PASS, self._detail(step))
            else:
                yield StepOutcome(step, Outcome.NOT_REACHED)

    def _failure(self, step: Step) -> StepOutcome:
        outcome = Outcome.UNAVAILABLE if isinstance(self.decision, Unavailable) else Outcome.FAIL
        meaning = REASONS[self.decision.reason].meaning
        detail = detail_of(self.decision)
        return StepOutcome(step, outcome, f"{meaning}: {detail}" if detail else meaning)

    def _passed(self, step: Step, failed: Step | None) -> bool:
        if failed is None:
            return isinstance(self.decision, Allow)
        if step is Step.IDENTITY and identity_of(self.decision) is not None:
            return True  # a policy's own audiences are checked after the identity is known
        if step is Step.ISSUER and self.decision.reason in _BY_ISSUER:
            return True
        return _STEPS.index(step) < _STEPS.index(failed)

    def _skipped(self, step: Step) -> str | None:
        """Return why a step was not needed, or None if it was needed or not reached."""
        evidence = self.decision.evidence
        if self.decision.reason is Reason.ANONYMOUS:
            return None if step is Step.POLICY else "no token is needed"
        if evidence.source in _ASKED:
            if step in (Step.STRUCTURE, Step.ISSUER) and self.seen.refusal is not None:
                return f"not a JWT: only {_ASKED[evidence.source][0]} can decide"
            return self._by_server() if step is Step.KEY and evidence.key is None else None
        if self._counts_as_the_api_servers():
            earlier = step in (Step.KEY, Step.SIGNATURE, Step.TIME)
            return "a token without an audience is denied before any other check" if earlier else None
        if evidence.key is None and _failed(self.decision) in (Step.TIME, Step.AUDIENCE):
            earlier = step in (Step.KEY, Step.SIGNATURE)
            return "checks that need no key come first" if earlier else None
        return None

    def _counts_as_the_api_servers(self) -> bool:
        """Report whether this is a cluster's token without audiences, which counts as one for its API server."""
        return (
            self.decision.reason is Reason.AUDIENCE_MISMATCH
            and self.issuer is not None
            and self.issuer.is_cluster
            and not self.seen.audiences
        )

    def _by_server(self) -> str:
        evidence = self.decision.evidence
        return f"decided by {' '.join(_ASKED[evidence.source])} '{evidence.issuer_name}'"

    def _detail(self, step: Step) -> str:
        evidence, identity = self.decision.evidence, identity_of(self.decision)
        reviewed = evidence.source in _ASKED
        match step:
            case Step.CREDENTIAL:
                return f"one bearer token of {self.seen.size} bytes"
            case Step.STRUCTURE:
                return f"a {self.seen.kind}"
            case Step.ISSUER:
                return f"'{evidence.issuer_name}', {self.seen.claim_text('iss') or ''}"
            case Step.KEY:
                return key_of(self.decision)
            case Step.SIGNATURE:
                return self._by_server() if reviewed else self.seen.header_text("alg") or ""
            case Step.TIME:
                expiry = self.seen.moment("exp")
                if reviewed:
                    return self._by_server()
                return "" if expiry is None else expiry.relation
            case Step.AUDIENCE:
                return ", ".join(identity.audiences if identity else self.seen.audiences)
            case Step.IDENTITY:
                return identity.username if identity else ""
            case Step.POLICY:
                reviewed = self.policy.access_review is not None and identity is not None
                return f"policy '{self.policy.name}'" + (
                    ", allowed by SubjectAccessReview" if reviewed else ""
                )


def detail_of(decision: Decision) -> str:
    """Return the details of a decision, including private ones."""
    match decision:
        case Allow():
            return ""
        case Deny(detail=detail, private=private):
            return "; ".join(text for text in (detail, private) if text)
        case Unavailable(detail=detail):
            return detail


def key_of(decision: Decision) -> str:
    """Describe the key that verified the token, or return "" if none did."""
    key = decision.evidence.key
    if key is None:
        return ""
    return f"{f'kid {key.kid}' if key.kid else 'a key without kid'} ({key.kty}) from {key.origin}"
