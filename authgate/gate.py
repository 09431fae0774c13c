"""The gate: from a credential and a policy's name to one decision. Everything that decides runs through here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authgate.cluster.api import AccessAnswer
from authgate.credential import parse_credential
from authgate.errors import Reason
from authgate.model import (
    NO_EVIDENCE,
    Allow,
    Answer,
    Authenticated,
    CannotTell,
    Decision,
    Deny,
    Identity,
    OriginalRequest,
    Pending,
    Rejected,
    Unavailable,
)
from authgate.policy.access_review import Unaskable, told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from authgate.cluster.api import AccessAttributes
    from authgate.model import Evidence, Verdict
    from authgate.policy.access_review import AccessRule
    from authgate.policy.headers import HeaderMapper
    from authgate.policy.rules import Policy
    from authgate.verify.access_review import AccessReviewers
    from authgate.verify.router import Verifier


class Gate:
    """Decides requests; holds no connection and no clock of its own.

    `reviewers` are needed where a policy has an access review.
    """

    def __init__(
        self,
        verifier: Verifier,
        policies: Mapping[str, Policy],
        headers: HeaderMapper,
        max_token_bytes: int,
        reviewers: AccessReviewers | None = None,
    ) -> None:
        if reviewers is None and any(policy.access is not None for policy in policies.values()):
            raise ValueError("a policy asks for access reviews, and no cluster can be asked")
        self._verifier = verifier
        self._policies = dict(policies)
        self._headers = headers
        self._max_token_bytes = max_token_bytes
        self._reviewers = reviewers

    @property
    def policies(self) -> Mapping[str, Policy]:
        """The configured policies by name."""
        return self._policies

    def looks_at_request(self, policy_name: str) -> bool:
        """Tell whether a policy's decision may depend on the original request."""
        policy = self._policies.get(policy_name)
        if policy is None:
            return False
        return bool(policy.open_paths) or (policy.access is not None and policy.access.rule.reads_request)

    def reviews_access(self, policy_name: str) -> bool:
        """Tell whether a policy asks the cluster about access, so that no token's answer can be recalled."""
        policy = self._policies.get(policy_name)
        return policy is not None and policy.access is not None

    async def decide(
        self, authorization: Sequence[bytes], policy_name: str, request: OriginalRequest
    ) -> Decision:
        """Return whether the request may pass under a policy; see `begin`."""
        decision = self.begin(authorization, policy_name, request)
        return await decision.finish() if isinstance(decision, Pending) else decision

    def begin(
        self, authorization: Sequence[bytes], policy_name: str, request: OriginalRequest
    ) -> Decision | Pending[Decision]:
        """Return whether the request may pass under a policy, or what must be waited for to tell.

        `authorization` holds the raw values of its `Authorization` field lines. A request that presents a credential
        is judged by it, also on an open path, as the kube-apiserver does; only one without any may be anonymous.
        """
        policy = self._policies.get(policy_name)
        if policy is None:
            return Deny(Reason.NO_SUCH_ENDPOINT, "", NO_EVIDENCE)
        token = parse_credential(authorization, self._max_token_bytes)
        if isinstance(token, Rejected):
            if token.reason is Reason.NO_CREDENTIAL and policy.open_paths.contain(request.path):
                return Allow(None, Reason.ANONYMOUS, NO_EVIDENCE, self._headers.anonymous)
            return Deny(token.reason, token.detail, token.evidence)
        verdict = self._verifier.begin(token)
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
            return CannotTell(verdict.reason, verdict.detail, verdict.retry_after, verdict.evidence)
        decision = self._answer(verdict, policy).decision
        if policy.access is None or isinstance(decision, Deny):
            return decision
        return self._review(decision, policy, policy.access, request)

    def _answer(self, verdict: Authenticated | Rejected, policy: Policy) -> Answer:
        """Return what lists and headers say; an `Allow` that an access review may still refuse is not remembered."""
        answer = verdict.answers.get(policy.name)
        if answer is None:
            match verdict:
                case Authenticated(identity, _, evidence):
                    answer = Answer(self._authorize(policy, identity, evidence))
                case Rejected(reason, detail, evidence):
                    answer = Answer(Deny(reason, detail, evidence))
            if policy.access is None or isinstance(answer.decision, Deny):
                verdict.answers[policy.name] = answer
        return answer

    def _review(
        self, decision: Allow, policy: Policy, access: AccessRule, request: OriginalRequest
    ) -> Decision | Pending[Decision]:
        """Return `decision` only where the cluster allows the identity what the policy asks."""
        identity = decision.identity
        if identity is None or self._reviewers is None:
            raise AssertionError("an access review is about somebody, and of a cluster")
        attributes = access.rule.attributes(identity, request)
        if isinstance(attributes, Unaskable):
            detail = f"policy '{policy.name}'" + (f": {attributes.detail}" if attributes.detail else "")
            return Deny(attributes.reason, detail, decision.evidence, identity)
        answer = self._reviewers.of(identity).begin(
            identity, attributes, allowed_ttl=access.allowed_ttl, denied_ttl=access.denied_ttl
        )
        if isinstance(answer, AccessAnswer):
            return _concluded(answer, decision, policy, attributes)

        async def finish() -> Decision:
            return _concluded(await answer.finish(), decision, policy, attributes)

        return Pending(finish)

    def recall(self, token: bytes, policy_name: str) -> Answer | None:
        """Return the answer to a token whose verdict is remembered, None where `begin` has to find it.

        `token` may be any bytes: only what was once a well-formed credential is remembered. Under a policy with an
        access review it is always None.
        """
        policy = self._policies.get(policy_name)
        if policy is None or policy.access is not None:
            return None
        verdict = self._verifier.recall(token)
        if verdict is None:
            return None
        return verdict.answers.get(policy_name) or self._answer(verdict, policy)

    def _authorize(self, policy: Policy, identity: Identity, evidence: Evidence) -> Allow | Deny:
        refusal = policy.refuses(identity)
        if refusal is None:
            headers = self._headers.map(identity)
            if not isinstance(headers, Reason):
                return Allow(identity, Reason.AUTHENTICATED, evidence, headers)
            refusal = headers
        return Deny(refusal, f"policy '{policy.name}'", evidence, identity)


def _concluded(
    answer: AccessAnswer | Unavailable, allowed: Allow, policy: Policy, attributes: AccessAttributes
) -> Decision:
    if isinstance(answer, Unavailable):
        return CannotTell(answer.reason, answer.detail, answer.retry_after, allowed.evidence)
    if answer.allowed:
        return allowed
    private = told(attributes) + (f": {answer.reason}" if answer.reason else "")
    return Deny(Reason.ACCESS_DENIED, f"policy '{policy.name}'", allowed.evidence, allowed.identity, private)
