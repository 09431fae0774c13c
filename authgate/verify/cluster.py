"""Verification of a cluster's tokens by local keys, and by TokenReview if keys cannot decide or do not suffice."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeGuard

from authgate.cluster.api import NotAuthenticated, ReviewedUser
from authgate.errors import Reason
from authgate.keys.key_set import KeyStatus
from authgate.model import (
    Authenticated,
    BearerToken,
    Evidence,
    Pending,
    Rejected,
    RevocationHandle,
    Unavailable,
    Verdict,
)
from authgate.verify.budget import shape_of
from authgate.verify.identity import reviewed_identity
from authgate.verify.jwt import JWTVerifier, Unresolved
from authgate.verify.revocation import Reference, bound_objects
from authgate.vocabulary import LEGACY_ISSUER, POD_NAME

if TYPE_CHECKING:
    from authgate.keys.key_set import KeySetDetails
    from authgate.model import Identity
    from authgate.verify.cluster_issuers import ClusterIssuers
    from authgate.verify.compact import UnverifiedToken
    from authgate.verify.revocation import Revocation
    from authgate.verify.token_review import Budget, TokenReviewer

ReviewMode = Literal["never", "fallback", "always"]

_PRESSURE = 0.5
"""From this saturation of the opaque tokens' budget on, rejections are cached longer."""
_REMEMBER_UNDER_PRESSURE = 60.0
_NOT_REVIEWED = (
    "tokens without audience are for the API server; cluster.tokenReview.legacyAudiences accepts them, unless its mode"
    " is never"
)
_CHECK_AUDIENCES = (
    "cluster.tokenReview.legacyAudiences must contain the API server's audience: see 'authgate doctor'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRules:
    """Which tokens of a cluster are accepted, and when TokenReview is used.

    `max_age` in seconds limits verdicts in mode always, and those for objects that a watch has not seen.
    """

    name: str
    audiences: tuple[str, ...]
    legacy_audiences: tuple[str, ...]
    mode: ReviewMode
    max_age: float


class ClusterVerifier:
    """Verifies the tokens of one cluster.

    A token that is known to be invalid is never sent to TokenReview: structure, algorithm, signature if the key is in
    memory, times and audience are checked first. With a `revocation`, neither is a token whose objects a watch saw
    deleted, nor (except in mode always) one whose objects all exist.
    """

    def __init__(
        self,
        rules: ClusterRules,
        issuers: ClusterIssuers,
        local: JWTVerifier,
        reviewer: TokenReviewer,
        handle: RevocationHandle,
        *,
        revocation: Revocation | None = None,
    ) -> None:
        self._rules = rules
        self.issuers = issuers
        self._local = local
        self._reviewer = reviewer
        self._handle = handle
        self._revocation = revocation
        self._evidence = Evidence("tokenreview", rules.name)

    @property
    def name(self) -> str:
        """The cluster's configured name."""
        return self._rules.name

    @property
    def kids(self) -> frozenset[str]:
        """The ids of the cluster's keys in memory."""
        return self._local.kids

    def status(self) -> KeyStatus:
        """Return whether the cluster's tokens can be verified now, by keys or else by TokenReview."""
        conflict = self.issuers.conflict()
        if conflict is not None:
            return KeyStatus(usable=False, detail=conflict)
        keys = self._local.status()
        watching, watched = True, ""
        if self._revocation is not None:
            watching, watched = self._revocation.status()
            watched = f"; watch of {watched}"
        if self._rules.mode != "always" and keys.usable and watching:
            return KeyStatus(usable=True, detail=f"keys: {keys.detail}{watched}")
        if self._rules.mode == "never":
            return KeyStatus(usable=False, detail=f"keys: {keys.detail}")
        reviews, detail = self._reviewer.status()
        if reviews and not self.issuers and not self.reviews_legacy:
            reviews = False
            detail = "it answers, but the cluster's issuer is unknown: set cluster.issuers"
        return KeyStatus(usable=reviews, detail=f"keys: {keys.detail}; tokenreview: {detail}{watched}")

    def details(self) -> KeySetDetails:
        """Return the cluster's keys and the times of fetches."""
        return self._local.details()

    def inherit(self, other: ClusterVerifier) -> None:
        """Adopt what another verifier of the same API server knows about reviewed tokens."""
        self._reviewer.inherit(other._reviewer)

    def legacy_status(self) -> KeyStatus | None:
        """Return whether TokenReview can verify static and legacy tokens now; None if they are not accepted."""
        if not self.reviews_legacy or self.issuers.conflict() is not None:
            return None
        reviews, detail = self._reviewer.status()
        return KeyStatus(usable=reviews, detail=f"tokenreview: {detail}")

    def needs_probe(self) -> bool:
        """Return whether a probe is needed to find out whether TokenReview answers again."""
        legacy = self.legacy_status()
        return not self.status().usable or (legacy is not None and not legacy.usable)

    async def probe(self) -> None:
        """Find out whether TokenReview answers, if it is used."""
        if self._rules.mode != "never" and self.issuers.conflict() is None:
            await self._reviewer.probe(self._rules.audiences)

    @property
    def local_verifier(self) -> JWTVerifier | None:
        """The verifier with local keys if their verdict is enough for the tokens that it can decide."""
        return self._local if self._rules.mode != "always" and self._revocation is None else None

    async def close(self) -> None:
        """Cancel the reviews in progress."""
        await self._reviewer.close()

    def try_verify(self, token: UnverifiedToken) -> Verdict | Pending[Verdict]:
        """Return the verdict on a JWT of this cluster's issuer, or a `Pending` if it needs I/O."""
        if not token.registered.audiences or self.accepts_legacy(token.registered.issuer):
            return self._try_verify_legacy(token.text, "issuer", token)
        verdict = self._local.verify_locally(token)
        mode = self._rules.mode
        if isinstance(verdict, Unresolved):
            if mode == "always" and verdict.refused is None:
                return Pending(lambda: self._review(token, "issuer"))
            return Pending(lambda: self._resolve(token, verdict))
        return self._review_if_needed(token, verdict) if isinstance(verdict, Authenticated) else verdict

    def _review_if_needed(self, token: UnverifiedToken, verdict: Authenticated) -> Verdict | Pending[Verdict]:
        """Return the verdict on a token that local keys accept, or a `Pending` if it needs a review as well."""
        always, revocation = self._rules.mode == "always", self._revocation
        if revocation is None:
            return Pending(lambda: self._review(token, "signed")) if always else verdict
        bound = bound_objects(token.claims.members)
        checked = _under_watch(verdict, bound, revocation)
        if isinstance(checked, Authenticated) and (always or not revocation.confirms(bound)):
            return Pending(lambda: self._review(token, "signed"))
        return checked

    def try_verify_opaque(self, token: BearerToken) -> Verdict | Pending[Verdict]:
        """Return the verdict on a token that is not a JWT. Only the cluster's static token file can contain it."""
        return self._try_verify_legacy(token.text, "opaque", None)

    def accepts_legacy(self, issuer: str) -> bool:
        """Return whether an issuer is that of legacy tokens."""
        return issuer == LEGACY_ISSUER

    @property
    def reviews_always(self) -> bool:
        """Whether every token is reviewed, whatever local keys decide."""
        return self._rules.mode == "always"

    @property
    def reviews_legacy(self) -> bool:
        """Whether static and legacy tokens are reviewed."""
        return bool(self._rules.legacy_audiences) and self._rules.mode != "never"

    def _try_verify_legacy(
        self, text: str, budget: Budget, token: UnverifiedToken | None
    ) -> Verdict | Pending[Verdict]:
        """Return the verdict on a token without audience, which is valid for the API server itself."""
        if not self.reviews_legacy:
            if token is None:
                return Rejected(Reason.TOKEN_OPAQUE, "", Evidence("none", self.name), final=False)
            return Rejected(
                Reason.AUDIENCE_MISMATCH,
                "the token has no audience",
                Evidence("none", self.name),
                private=_NOT_REVIEWED,
            )
        if token is not None:
            local = self._local.verify_locally(token, any_audience=True)
            if isinstance(local, Unresolved) and local.refused is not None:
                return Pending(lambda: self._recheck_legacy(token, local, budget))
            if _bad_for_any_audience(local):
                return local
        return Pending(lambda: self._review_legacy(text, budget, token))

    async def _recheck_legacy(self, token: UnverifiedToken, local: Unresolved, budget: Budget) -> Verdict:
        """Return the verdict on a legacy token after a fetch of the keys, because those in memory do not verify it."""
        verdict = await self._local.resolve(token, local)
        if _bad_for_any_audience(verdict) and not _undecided(verdict):
            return verdict
        return await self._review_legacy(token.text, budget, token)

    async def _review_legacy(self, text: str, budget: Budget, token: UnverifiedToken | None) -> Verdict:
        answer = await self._reviewer.review(text, self._rules.legacy_audiences, budget, shape_of(text))
        issuer, expires_at = "", None
        if token is not None:
            issuer, expires_at = token.registered.issuer, self._local.expiry_of(token)
        remember_for = 0.0
        if token is None and self._reviewer.saturation()["opaque"] > _PRESSURE:
            remember_for = _REMEMBER_UNDER_PRESSURE
        verdict = self._verdict(answer, issuer, self._rules.legacy_audiences, expires_at, remember_for)
        if isinstance(verdict, Rejected) and verdict.reason in {
            Reason.REVIEW_REJECTED,
            Reason.AUDIENCE_MISMATCH,
        }:
            private = "; ".join(text for text in (verdict.private, _CHECK_AUDIENCES) if text)
            return replace(verdict, private=private)
        return verdict

    async def _resolve(self, token: UnverifiedToken, unresolved: Unresolved) -> Verdict:
        reviews = self._rules.mode != "never"  # if so, TokenReview decides sooner than a later fetch
        verdict = await self._local.resolve(token, unresolved, patient=not reviews)
        if reviews and _undecided(verdict):
            return await self._review(token, "issuer")
        if not isinstance(verdict, Authenticated):
            return verdict
        checked = self._review_if_needed(token, verdict)
        return await checked.finish() if isinstance(checked, Pending) else checked

    async def _review(self, token: UnverifiedToken, budget: Budget) -> Verdict:
        key = _namespace(token) if budget == "signed" else shape_of(token.text)
        answer = await self._reviewer.review(token.text, self._rules.audiences, budget, key)
        verdict = self._verdict(
            answer, token.registered.issuer, self._rules.audiences, self._local.expiry_of(token)
        )
        if self._revocation is None or not isinstance(verdict, Authenticated):
            return verdict
        return _under_watch(verdict, bound_objects(token.claims.members), self._revocation)

    def _verdict(
        self,
        answer: ReviewedUser | NotAuthenticated | Unavailable,
        issuer: str,
        asked: tuple[str, ...],
        expires_at: float | None,
        remember_for: float = 0.0,
    ) -> Verdict:
        match answer:
            case Unavailable():
                return answer
            case NotAuthenticated(error):
                return Rejected(  # the server's error can name its audiences, which are not for clients
                    Reason.REVIEW_REJECTED,
                    "",
                    self._evidence,
                    handle=self._handle,
                    remember_for=remember_for,
                    private=error,
                )
            case ReviewedUser(username="system:anonymous"):
                # An API server that allows anonymous requests accepts what it does not recognise as a credential.
                return Rejected(
                    Reason.REVIEW_REJECTED,
                    "TokenReview returned system:anonymous",
                    self._evidence,
                    handle=self._handle,
                )
            case ReviewedUser():
                audiences = tuple(sorted(set(asked).intersection(answer.audiences)))
                if not audiences:
                    return Rejected(
                        Reason.AUDIENCE_MISMATCH,
                        "TokenReview returned no accepted audience",
                        self._evidence,
                        handle=self._handle,
                    )
                identity = reviewed_identity(answer, self.name, issuer, audiences)
                aging = self._rules.mode == "always" or self._revocation is not None
                max_age = self._rules.max_age if aging else math.inf
                return Authenticated(identity, expires_at, self._evidence, self._handle, max_age)


_SINGULAR: dict[str, str] = {
    "serviceaccounts": "account",
    "pods": "pod",
    "nodes": "node",
    "secrets": "secret",
}


def _under_watch(
    verdict: Authenticated, bound: tuple[Reference, ...], revocation: Revocation
) -> Authenticated | Rejected:
    """Return the verdict with the handles of the token's objects, or a rejection if one was deleted."""
    deleted = revocation.deleted(bound)
    if deleted is not None:
        detail = _object_of(verdict.identity, deleted)
        return Rejected(Reason.OBJECT_DELETED, detail, verdict.evidence, handle=verdict.handle)
    return Authenticated(
        verdict.identity,
        verdict.expires_at,
        verdict.evidence,
        verdict.handle,
        verdict.max_age,
        revocation.handles(bound),
        verdict.claims,
    )


def _object_of(identity: Identity, reference: Reference) -> str:
    """Return the object that a token is bound to in words, as far as the identity names it."""
    kind = _SINGULAR[reference.resource]
    if reference.resource == "serviceaccounts":
        return f"the {kind} {identity.username}"
    name = identity.extra_value(POD_NAME) if reference.resource == "pods" else ""
    return " ".join(part for part in ("the", kind, name, "of", identity.username) if part)


def _namespace(token: UnverifiedToken) -> str:
    """Return the namespace of a ServiceAccount token, or "". Its tokens share one part of the budget."""
    private = token.claims.members.get("kubernetes.io")
    namespace = private.get("namespace") if isinstance(private, dict) else None
    return namespace if isinstance(namespace, str) else ""


def _bad_for_any_audience(verdict: Verdict | Unresolved) -> TypeGuard[Rejected]:
    """Return whether local keys reject a token for another reason than its audience."""
    return isinstance(verdict, Rejected) and verdict.reason is not Reason.AUDIENCE_MISMATCH


def _undecided(verdict: Verdict) -> bool:
    """Return whether local keys could not decide, so that TokenReview has to."""
    match verdict:
        case Unavailable():
            return True
        case Rejected(reason):
            return reason is Reason.KEY_UNKNOWN
        case Authenticated():
            return False
