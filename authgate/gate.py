"""The gate: from a credential and a policy's name to one decision. Everything that decides runs through here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from authgate.cluster.api import AccessAnswer
from authgate.credential.bearer import parse_credential
from authgate.errors import Reason
from authgate.model import (
    NO_EVIDENCE,
    Allow,
    Answer,
    Authenticated,
    Decision,
    Deny,
    OriginalRequest,
    Pending,
    Rejected,
    Unavailable,
)
from authgate.policy.access_review import NothingToReview, describe
from authgate.policy.conditions import NO_REQUEST, PolicyInput
from authgate.policy.headers import HeaderFailure
from authgate.policy.shadow import Difference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from authgate.cluster.api import AccessAttributes
    from authgate.model import Verdict
    from authgate.policy.access_review import AccessRule
    from authgate.policy.headers import HeaderMapper
    from authgate.policy.rules import Clause, Policy, Refusal
    from authgate.verify.access_review import AccessReviewers
    from authgate.verify.router import Verifier

_NOT_COMPARED: Final = frozenset({Reason.IDENTITY_UNSENDABLE, Reason.IDENTITY_TOO_LARGE})


class Gate:
    """Decides requests; holds no connection and no clock of its own.

    `reviewers` are needed where a policy has an access review. `now` gives the time in POSIX seconds, for policies that
    look at it; `on_difference` is told where a policy's shadow would have decided otherwise.
    """

    def __init__(
        self,
        verifier: Verifier,
        policies: Mapping[str, Policy],
        headers: HeaderMapper,
        max_token_bytes: int,
        reviewers: AccessReviewers | None = None,
        *,
        now: Callable[[], float] = time.time,
        on_difference: Callable[[Difference], None] = lambda _difference: None,
    ) -> None:
        if reviewers is None and any(policy.reviews_access for policy in policies.values()):
            raise ValueError("a policy asks for access reviews, and no cluster can be asked")
        self._verifier = verifier
        self.digest: Final = verifier.digest
        """What tells by which digest `lookup_cached` knows a token, whatever its bytes."""
        self._policies = dict(policies)
        self._headers = headers
        self._max_token_bytes = max_token_bytes
        self._reviewers = reviewers
        self._now = now
        self._on_difference = on_difference

    @property
    def policies(self) -> Mapping[str, Policy]:
        """The configured policies by name."""
        return self._policies

    def looks_at_request(self, policy_name: str) -> bool:
        """Tell whether a policy's decision may depend on the original request."""
        policy = self._policies.get(policy_name)
        return policy is not None and policy.reads_request

    def reviews_access(self, policy_name: str) -> bool:
        """Tell whether a policy asks the cluster about access, so that some answers cannot be recalled."""
        policy = self._policies.get(policy_name)
        return policy is not None and policy.reviews_access

    async def decide(
        self, authorization: Sequence[bytes], policy_name: str, request: OriginalRequest
    ) -> Decision:
        """Return whether the request may pass under a policy; see `try_decide`."""
        decision = self.try_decide(authorization, policy_name, request)
        return await decision.finish() if isinstance(decision, Pending) else decision

    def try_decide(
        self, authorization: Sequence[bytes], policy_name: str, request: OriginalRequest, digest: bytes = b""
    ) -> Decision | Pending[Decision]:
        """Return whether the request may pass under a policy, or what must be waited for to tell.

        `authorization` holds the raw values of its `Authorization` field lines. A request that presents a credential
        is judged by it, also on an open path, as the kube-apiserver does; only one without any may be anonymous.
        `digest` is that of what follows `Bearer `, where `lookup_cached` was asked just before and had no answer.
        """
        policy = self._policies.get(policy_name)
        if policy is None:
            return Deny(Reason.NO_SUCH_ENDPOINT, "", NO_EVIDENCE)
        token = parse_credential(authorization, self._max_token_bytes)
        if isinstance(token, Rejected):
            if token.reason is Reason.NO_CREDENTIAL and self._admits_anonymous(policy, request):
                return Allow(None, Reason.ANONYMOUS, NO_EVIDENCE, self._headers.anonymous(policy.role))
            return Deny(token.reason, token.detail, token.evidence)
        if len(authorization[0]) == len(token.text) + 7:  # so that this is what was digested
            token.digest = digest
        verdict = self._verifier.try_verify(token)
        if isinstance(verdict, Pending):
            return Pending(lambda: self._finish(verdict, policy, request))
        return self._decide(verdict, policy, request)

    async def _finish(self, pending: Pending[Verdict], policy: Policy, request: OriginalRequest) -> Decision:
        decision = self._decide(await pending.finish(), policy, request)
        return await decision.finish() if isinstance(decision, Pending) else decision

    def _decide(
        self, verdict: Verdict, policy: Policy, request: OriginalRequest
    ) -> Decision | Pending[Decision]:
        if isinstance(verdict, Unavailable):
            return verdict
        if isinstance(verdict, Rejected):
            return _rejection(verdict, policy).decision
        clause, seen = policy.clause_for(request)
        answer = self._answer(verdict, clause, seen)
        decision = answer.decision
        if isinstance(decision, Allow) and answer.head is not None:
            decision = self._named(verdict, clause)  # its headers were given up once they were written
        if policy.shadow is not None:
            self._compare(policy.name, policy.shadow, decision, verdict, request)
        if clause.access is None or isinstance(decision, Deny):
            return decision
        return self._review(decision, policy, clause.access, request)

    def _answer(self, verdict: Authenticated, clause: Clause, seen: OriginalRequest) -> Answer:
        """Return what lists, expressions and headers say; what may differ for the next request is not remembered."""
        answer = verdict.answer_to(clause.key) if clause.cacheable else None
        if answer is not None:
            return answer
        refusal = self._judge(verdict, clause, seen)
        if refusal is None:
            answer = self._allowed(verdict, clause)
        else:
            detail = f"policy '{clause.policy}'"
            answer = Answer(Deny(refusal.reason, detail, verdict.evidence, verdict.identity, refusal.private))
        if clause.cacheable:
            verdict.keep(clause.key, answer)
        return answer

    def _judge(self, verdict: Authenticated, clause: Clause, seen: OriginalRequest) -> Refusal | None:
        claims = verdict.claims if clause.reads_claims else None
        return clause.check(
            PolicyInput(verdict.identity, claims, seen, self._now() if clause.reads_now else None)
        )

    def _allowed(self, verdict: Authenticated, clause: Clause) -> Answer:
        """Return the one answer of a policy to those whom it lets pass, by whichever clause."""
        answer = verdict.answer_to(clause.allowed_key)
        if answer is None:
            answer = Answer(self._named(verdict, clause))
            verdict.keep(clause.allowed_key, answer)
        return answer

    def _named(self, verdict: Authenticated, clause: Clause) -> Allow | Deny:
        """Return that the sender may pass, and who it is; or why headers cannot tell that."""
        identity, evidence, ends = verdict.identity, verdict.evidence, verdict.expires_at
        headers = self._headers.map(identity, clause.policy, ends, verdict.claims, clause.role)
        if isinstance(headers, HeaderFailure):
            detail = "; ".join(text for text in (f"policy '{clause.policy}'", headers.detail) if text)
            return Deny(headers.reason, detail, evidence, identity)
        return Allow(identity, Reason.AUTHENTICATED, evidence, headers, ends)

    def _admits_anonymous(self, policy: Policy, request: OriginalRequest) -> bool:
        admits = policy.admits_anonymous(request)
        if policy.shadow is not None and policy.shadow.admits_anonymous(request) != admits:
            reasons = (Reason.ANONYMOUS, Reason.NO_CREDENTIAL)
            live, shadow = reasons if admits else reversed(reasons)
            self._on_difference(Difference(policy.name, live, shadow))
        return admits

    def _compare(
        self,
        policy: str,
        shadow: Policy,
        live: Allow | Deny,
        verdict: Authenticated,
        request: OriginalRequest,
    ) -> None:
        """Tell where the shadow lets pass what the live policy refuses, or the other way round."""
        if live.reason in _NOT_COMPARED:
            return
        clause, seen = shadow.clause_for(request)
        answer = verdict.answer_to(clause.key) if clause.cacheable else None
        if answer is None:
            refusal = self._judge(verdict, clause, seen)
            if refusal is None:
                answer = Answer(Allow(verdict.identity, Reason.AUTHENTICATED, verdict.evidence, ()))
            else:
                answer = Answer(Deny(refusal.reason, "", verdict.evidence, verdict.identity, refusal.private))
            if clause.cacheable:
                verdict.keep(clause.key, answer)
        other = answer.decision
        if type(other) is not type(live):
            private = other.private if isinstance(other, Deny) else ""
            self._on_difference(Difference(policy, live.reason, other.reason, private, verdict.identity))

    def _review(
        self, decision: Allow, policy: Policy, access: AccessRule, request: OriginalRequest
    ) -> Decision | Pending[Decision]:
        """Return `decision` only where the cluster allows the identity what the policy asks."""
        identity = decision.identity
        if identity is None or self._reviewers is None:
            raise AssertionError("an access review is about somebody, and of a cluster")
        attributes = access.rule.attributes(identity, request)
        if isinstance(attributes, NothingToReview):
            detail = f"policy '{policy.name}'" + (f": {attributes.detail}" if attributes.detail else "")
            return Deny(attributes.reason, detail, decision.evidence, identity)
        answer = self._reviewers.of(identity, access.cluster).try_review(
            identity, attributes, allowed_ttl=access.allowed_ttl, denied_ttl=access.denied_ttl
        )
        if isinstance(answer, AccessAnswer):
            return _concluded(answer, decision, policy, attributes)

        async def finish() -> Decision:
            return _concluded(await answer.finish(), decision, policy, attributes)

        return Pending(finish)

    def lookup_cached(
        self, digest: bytes, policy_name: str, request: OriginalRequest = NO_REQUEST
    ) -> Answer | None:
        """Return the answer to a token whose verdict is remembered, None where `try_decide` has to find it.

        `digest` may be that of any bytes: only what was once a well-formed credential is remembered. Where the cluster
        has to be asked about access it is always None.
        """
        policy = self._policies.get(policy_name)
        if policy is None:
            return None
        clause, seen = policy.clause_for(request)
        if clause.access is not None:
            return None
        verdict = self._verifier.lookup_cached(digest)
        if verdict is None:
            return None
        if isinstance(verdict, Rejected):
            return _rejection(verdict, policy)
        answer = self._answer(verdict, clause, seen)
        if policy.shadow is not None:
            self._compare(policy.name, policy.shadow, answer.decision, verdict, request)
        return answer


def _rejection(verdict: Rejected, policy: Policy) -> Answer:
    answer = verdict.answer_to(policy.name)
    if answer is None:
        answer = Answer(Deny(verdict.reason, verdict.detail, verdict.evidence))
        verdict.keep(policy.name, answer)
    return answer


def _concluded(
    answer: AccessAnswer | Unavailable, allowed: Allow, policy: Policy, attributes: AccessAttributes
) -> Decision:
    if isinstance(answer, Unavailable):
        return Unavailable(answer.reason, answer.detail, answer.retry_after, allowed.evidence)
    if answer.allowed:
        return allowed
    private = describe(attributes) + (f": {answer.reason}" if answer.reason else "")
    return Deny(Reason.ACCESS_DENIED, f"policy '{policy.name}'", allowed.evidence, allowed.identity, private)
