"""The gate: from a credential and a policy's name to one decision. Every decision is made here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from authgate.cluster.api import AccessAnswer
from authgate.credential.bearer import parse_credential
from authgate.errors import Reason
from authgate.model import (
    NO_EVIDENCE,
    Allow,
    Authenticated,
    Decision,
    Deny,
    OriginalRequest,
    Pending,
    Rejected,
    RenderedAnswer,
    SenderVerdict,
    Unavailable,
)
from authgate.policy.access_review import NothingToReview, describe
from authgate.policy.conditions import NO_REQUEST, PolicyInput
from authgate.policy.headers import HeaderFailure
from authgate.policy.rules import Difference
from authgate.verify.claims import GROUPS_OMITTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from authgate.cluster.api import AccessAttributes
    from authgate.model import Identity, Moment, Verdict
    from authgate.policy.access_review import AccessRule
    from authgate.policy.headers import HeaderMapper
    from authgate.policy.rules import Clause, Policy, Refusal
    from authgate.verify.access_review import AccessReviewers
    from authgate.verify.cache import VerdictCache
    from authgate.verify.router import Verifier

    OnDifference: TypeAlias = Callable[[Difference], None]
    """Reports that the shadow of a policy decides a request differently."""
    Render: TypeAlias = Callable[[Allow | Deny, str], RenderedAnswer]
    """Renders a decision of the named policy; the result can be sent any number of times."""

_NOT_COMPARED: Final = frozenset({Reason.IDENTITY_UNSENDABLE, Reason.IDENTITY_TOO_LARGE})


class Gate:
    """Decides requests. It holds no connections and has no clock of its own.

    `reviewers` are required if a policy has an access review. `cache` is the one that `verifier` fills; without it
    `answer_known` finds nothing. `now` returns the time in POSIX seconds, for policies that read it.

    Its methods call `on_difference` if the shadow of a policy would have decided a request differently.
    """

    def __init__(
        self,
        verifier: Verifier,
        policies: Mapping[str, Policy],
        headers: HeaderMapper,
        max_token_bytes: int,
        reviewers: AccessReviewers | None = None,
        *,
        cache: VerdictCache | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        if reviewers is None and any(policy.reviews_access for policy in policies.values()):
            raise ValueError("a policy has an access review, but no cluster is configured")
        self._verifier = verifier
        self.cache: Final = cache
        self.policies: Final[Mapping[str, Policy]] = dict(policies)
        """The configured policies by name."""
        self._headers = headers
        self._max_token_bytes = max_token_bytes
        self._reviewers = reviewers
        self._now = now

    def looks_at_request(self, policy_name: str) -> bool:
        """Return whether a policy's decision may depend on the original request."""
        policy = self.policies.get(policy_name)
        return policy is not None and policy.reads_request

    def reviews_access(self, policy_name: str) -> bool:
        """Return whether a policy sends access reviews, so that some of its decisions are not cached here."""
        policy = self.policies.get(policy_name)
        return policy is not None and policy.reviews_access

    async def decide(
        self,
        authorization: Sequence[bytes],
        policy_name: str,
        request: OriginalRequest,
        *,
        on_difference: OnDifference | None = None,
    ) -> Decision:
        """Return the decision of a policy on a request; see `try_decide`."""
        decision = self.try_decide(authorization, policy_name, request, on_difference=on_difference)
        return await decision.finish() if isinstance(decision, Pending) else decision

    def try_decide(
        self,
        authorization: Sequence[bytes],
        policy_name: str,
        request: OriginalRequest,
        digest: bytes = b"",
        *,
        on_difference: OnDifference | None = None,
    ) -> Decision | Pending[Decision]:
        """Return the decision of a policy on a request, or a `Pending` if it needs I/O.

        `authorization` holds the raw values of the request's `Authorization` fields. A request with a credential is
        decided by that credential, also on an open path, as in the kube-apiserver; only a request without one can be
        anonymous. `digest` is the cache key of what follows `Bearer ` if `answer_known` just returned None for it.
        """
        policy = self.policies.get(policy_name)
        if policy is None:
            return Deny(Reason.NO_SUCH_ENDPOINT, "", NO_EVIDENCE)
        token = parse_credential(authorization, self._max_token_bytes)
        if isinstance(token, Rejected):
            if token.reason is Reason.NO_CREDENTIAL and self._admits_anonymous(
                policy, request, on_difference
            ):
                rule = policy.clause_for(request)[0].rule
                headers = self._headers.anonymous(policy.role)
                return Allow(None, Reason.ANONYMOUS, NO_EVIDENCE, headers, rule=rule)
            return Deny(token.reason, token.detail, token.evidence)
        if len(authorization[0]) == len(token.text) + 7:  # otherwise the digest is not that of this token
            token.digest = digest
        verdict = self._verifier.try_verify(token)
        if isinstance(verdict, Pending):
            return Pending(lambda: self._finish(verdict, policy, request, on_difference))
        return self._decide(verdict, policy, request, on_difference)

    async def _finish(
        self,
        pending: Pending[Verdict],
        policy: Policy,
        request: OriginalRequest,
        on_difference: OnDifference | None,
    ) -> Decision:
        decision = self._decide(await pending.finish(), policy, request, on_difference)
        return await decision.finish() if isinstance(decision, Pending) else decision

    def _decide(
        self,
        verdict: Verdict,
        policy: Policy,
        request: OriginalRequest,
        on_difference: OnDifference | None,
    ) -> Decision | Pending[Decision]:
        if isinstance(verdict, Unavailable):
            return verdict
        if isinstance(verdict, Rejected):
            return _rejection(verdict)
        clause, seen = policy.clause_for(request)
        decision = self._decision(verdict, clause, seen)
        if policy.shadow is not None and on_difference is not None:
            self._compare(policy, decision.reason, verdict, request, on_difference)
        if clause.access is None or isinstance(decision, Deny):
            return decision
        return self._review(decision, policy, clause.access, request)

    def _decision(self, verdict: Authenticated, clause: Clause, seen: OriginalRequest) -> Allow | Deny:
        """Return the decision of a clause, without access review; keep it if it is the same for every request.

        If a server keeps its response instead of the decision, the decision is made again.
        """
        kept = verdict.answer(clause.key) if clause.cacheable else None
        if isinstance(kept, Allow | Deny):
            return kept
        if isinstance(kept, RenderedAnswer) and kept.reason is Reason.AUTHENTICATED:
            return _of_clause(self._named(verdict, clause), clause)
        refusal = self._judge(verdict, clause, seen)
        if refusal is None:
            decision = _of_clause(self._allowed(verdict, clause), clause)
        else:
            decision = _denial(verdict, clause, refusal)
        if kept is None and clause.cacheable:
            verdict.keep_answer(clause.key, decision)
        return decision

    def _allowed(self, verdict: Authenticated, clause: Clause) -> Allow | Deny:
        """Return the decision that all clauses of a policy share for an identity that they allow."""
        kept = verdict.answer(clause.allowed_key)
        if isinstance(kept, Allow | Deny):
            return kept
        decision = self._named(verdict, clause)
        if kept is None:
            verdict.keep_answer(clause.allowed_key, decision)
        return decision

    def _response(
        self, verdict: Authenticated, clause: Clause, seen: OriginalRequest, render: Render
    ) -> RenderedAnswer:
        """Return what `render` made of a clause's decision; keep it if it is the same for every request."""
        if isinstance(verdict, SenderVerdict) and clause.same_for_sender and self._headers.same_for_sender:
            common = verdict.sender.answer(clause.key)
            if not isinstance(common, RenderedAnswer):
                common = self._common(verdict, clause, render)
            if common.shareable:
                return common
        kept = verdict.answer(clause.key) if clause.cacheable else None
        if isinstance(kept, RenderedAnswer):
            return kept
        refusal = self._judge(verdict, clause, seen)
        if refusal is not None:
            response = render(_denial(verdict, clause, refusal), clause.policy)
        else:
            shared = verdict.answer(clause.allowed_key)
            if isinstance(shared, RenderedAnswer):
                response = shared.under(clause.rule)
            else:
                response = render(_of_clause(self._named(verdict, clause), clause), clause.policy)
                verdict.keep_answer(clause.allowed_key, response)
        if clause.cacheable:
            verdict.keep_answer(clause.key, response)
        return response

    def _common(self, verdict: SenderVerdict, clause: Clause, render: Render) -> RenderedAnswer:
        """Return and keep the response that all tokens of a sender share.

        It is not `shareable` if each token needs a response of its own.
        Only an allow that the audit log does not record is shared, because a record shows the token's evidence.
        """
        sender = verdict.sender
        identity = sender.marked()
        response = RenderedAnswer(Reason.NOT_ALLOWED)
        if clause.check(PolicyInput(identity)) is None:
            headers = self._headers.map(identity, clause.policy)
            if not isinstance(headers, HeaderFailure):
                allowed = Allow(identity, Reason.AUTHENTICATED, verdict.evidence, headers, rule=clause.rule)
                response = render(allowed, clause.policy)
        sender.keep_answer(clause.key, response)
        return response

    def _judge(self, verdict: Authenticated, clause: Clause, seen: OriginalRequest) -> Refusal | None:
        claims = verdict.claims if clause.reads_claims else None
        return clause.check(
            PolicyInput(verdict.identity, claims, seen, self._now() if clause.reads_now else None)
        )

    def _named(self, verdict: Authenticated, clause: Clause) -> Allow | Deny:
        """Return an `Allow` with identity headers, or a `Deny` if headers cannot express the identity."""
        identity, evidence, ends = verdict.identity, verdict.evidence, verdict.expires_at
        headers = self._headers.map(identity, clause.policy, ends, verdict.claims, clause.role)
        if isinstance(headers, HeaderFailure):
            detail = "; ".join(text for text in (f"policy '{clause.policy}'", headers.detail) if text)
            return Deny(headers.reason, detail, evidence, identity)
        return Allow(identity, Reason.AUTHENTICATED, evidence, headers, ends)

    @staticmethod
    def _admits_anonymous(
        policy: Policy, request: OriginalRequest, on_difference: OnDifference | None
    ) -> bool:
        admits = policy.admits_anonymous(request)
        if policy.shadow is None or on_difference is None:
            return admits
        if policy.shadow.admits_anonymous(request) != admits:
            reasons = (Reason.ANONYMOUS, Reason.NO_CREDENTIAL)
            live, shadow = reasons if admits else reversed(reasons)
            on_difference(Difference(policy.name, live, shadow))
        return admits

    def _compare(
        self,
        policy: Policy,
        live: Reason,
        verdict: Authenticated,
        request: OriginalRequest,
        on_difference: OnDifference,
    ) -> None:
        """Report that the shadow denies what the live policy allows, or allows what it denies."""
        shadow = policy.shadow
        if shadow is None or live in _NOT_COMPARED:
            return
        clause, seen = shadow.clause_for(request)
        other = verdict.answer(clause.key) if clause.cacheable else None
        if other is None:
            refusal = self._judge(verdict, clause, seen)
            if refusal is None:
                other = Allow(verdict.identity, Reason.AUTHENTICATED, verdict.evidence, ())
            else:
                other = _denial(verdict, clause, refusal)
            if clause.cacheable:
                verdict.keep_answer(clause.key, other)
        if (other.reason is Reason.AUTHENTICATED) != (live is Reason.AUTHENTICATED):
            private = other.private if isinstance(other, Deny) else ""
            on_difference(Difference(policy.name, live, other.reason, private, verdict.identity))

    def _review(
        self, decision: Allow, policy: Policy, access: AccessRule, request: OriginalRequest
    ) -> Decision | Pending[Decision]:
        """Return `decision` if the cluster allows the identity what the policy requires."""
        identity = decision.identity
        if identity is None or self._reviewers is None:
            raise AssertionError("an access review needs an identity and a cluster")
        attributes = access.rule.attributes(identity, request)
        if isinstance(attributes, NothingToReview):
            detail = f"policy '{policy.name}'" + (f": {attributes.detail}" if attributes.detail else "")
            return Deny(attributes.reason, detail, decision.evidence, identity, rule=decision.rule)
        answer = self._reviewers.of(identity, access.cluster).try_review(
            identity, attributes, allowed_ttl=access.allowed_ttl, denied_ttl=access.denied_ttl
        )
        if isinstance(answer, AccessAnswer):
            return _concluded(answer, decision, policy, attributes)

        async def finish() -> Decision:
            return _concluded(await answer.finish(), decision, policy, attributes)

        return Pending(finish)

    def answer_known(
        self,
        token: bytes,
        digest: bytes,
        policy: Policy,
        request: OriginalRequest,
        render: Render,
        *,
        at: Moment,
        on_difference: OnDifference | None = None,
    ) -> tuple[RenderedAnswer, Authenticated | Rejected] | None:
        """Return the response to a token whose verdict is cached or whose sender is known, and the verdict.

        The result is None if `try_decide` must be called, as for requests that need an access review. `token` can be
        any bytes, and `digest` is the cache's digest of them: only well-formed credentials are ever cached or known.
        `render` is called if neither the verdict nor its sender keeps a response yet. `at` is the present time.
        """
        if self.cache is None:
            return None
        seen = NO_REQUEST
        clause = policy.only
        if clause is None:
            clause, seen = policy.clause_for(request)
        if clause.access is not None:
            return None
        verdict = self.cache.lookup_at(digest, at)
        if verdict is None:
            if len(token) > self._max_token_bytes:
                return None
            verdict = self._verifier.recognize(token, digest, at)
            if verdict is None:
                return None
        if isinstance(verdict, Rejected):
            kept = verdict.answer(policy.own.key)
            if isinstance(kept, RenderedAnswer):
                return kept, verdict
            response = render(_rejection(verdict), policy.name)
            verdict.keep_answer(policy.own.key, response)
            return response, verdict
        response = self._response(verdict, clause, seen, render)
        if policy.shadow is not None and on_difference is not None:
            self._compare(policy, response.reason, verdict, request, on_difference)
        return response, verdict


def _rejection(verdict: Rejected) -> Deny:
    return Deny(verdict.reason, verdict.detail, verdict.evidence, private=verdict.private)


def _denial(verdict: Authenticated, clause: Clause, refusal: Refusal) -> Deny:
    detail, private = f"policy '{clause.policy}'", refusal.private
    if refusal.reason is Reason.NOT_ALLOWED:
        private = _with_omitted_groups(private, verdict.identity)
    return Deny(refusal.reason, detail, verdict.evidence, verdict.identity, private, clause.rule)


def _of_clause(decision: Allow | Deny, clause: Clause) -> Allow | Deny:
    """Return the decision that clauses share, with the rule of this clause if it allows."""
    return decision.under(clause.rule) if isinstance(decision, Allow) else decision


def _with_omitted_groups(private: str, identity: Identity | None) -> str:
    if identity is None or not identity.omits_groups:
        return private
    return f"{private}; {GROUPS_OMITTED}" if private else GROUPS_OMITTED


def _concluded(
    answer: AccessAnswer | Unavailable, allowed: Allow, policy: Policy, attributes: AccessAttributes
) -> Decision:
    if isinstance(answer, Unavailable):
        return Unavailable(answer.reason, answer.detail, answer.retry_after, allowed.evidence, allowed.rule)
    if answer.allowed:
        return allowed
    private = describe(attributes) + (f": {answer.reason}" if answer.reason else "")
    private = _with_omitted_groups(private, allowed.identity)
    detail = f"policy '{policy.name}'"
    return Deny(Reason.ACCESS_DENIED, detail, allowed.evidence, allowed.identity, private, allowed.rule)
