"""Sending a token to the one verifier that may judge it, by the exact text of its unverified `iss`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from authgate.errors import Reason
from authgate.model import Authenticated, BearerToken, Pending, Rejected, Unavailable, Verdict
from authgate.verify.compact import CompactParser

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from authgate.verify.cluster import ClusterVerifier
    from authgate.verify.compact import UnverifiedToken
    from authgate.verify.jwt import JWTVerifier


_DOTS_OF_A_JWT = (2, 4)  # signed (RFC 7515, section 3.1), encrypted (RFC 7516, section 3.1)


def _looks_like_a_jwt(text: str) -> bool:
    """Tell a JWT, be it cut off, from a static token, which may hold dots (a bootstrap token has one)."""
    return text.count(".") in _DOTS_OF_A_JWT or text.startswith("eyJ")


class Verifier(Protocol):
    """Tells whether a token is good."""

    def begin(self, token: BearerToken) -> Verdict | Pending[Verdict]:
        """Return the verdict, or what to wait for; an error that is nobody's fault is `Unavailable`, no exception."""
        ...

    def recall(self, token: bytes) -> Authenticated | Rejected | None:
        """Return a verdict that is remembered from before and still holds, None where there is none."""
        ...


class IssuerRouter:
    """A verifier that parses a token once and hands it to its issuer's verifier.

    `learn_issuers` is awaited where an issuer is unknown while the cluster has not told its issuer yet.
    """

    def __init__(
        self,
        issuers: Mapping[str, JWTVerifier],
        cluster: ClusterVerifier | None,
        learn_issuers: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._parser = CompactParser()
        self._issuers = dict(issuers)
        self._cluster = cluster
        self._learn_issuers = learn_issuers

    async def verify(self, token: BearerToken) -> Verdict:
        """Return the verdict of the verifier that the token belongs to."""
        verdict = self.begin(token)
        return await verdict.finish() if isinstance(verdict, Pending) else verdict

    def begin(self, token: BearerToken) -> Verdict | Pending[Verdict]:
        """Return the verdict of the verifier that the token belongs to, or what it waits for."""
        cluster = self._cluster
        if cluster is not None and cluster.reviews_legacy and not _looks_like_a_jwt(token.text):
            return cluster.begin_opaque(token)
        parsed = self._parser.parse(token.text)
        if isinstance(parsed, Rejected):
            if parsed.reason is Reason.TOKEN_OPAQUE and cluster is not None:
                return cluster.begin_opaque(token)
            return parsed
        issuer = parsed.registered.issuer
        verifier = self._issuers.get(issuer)
        if verifier is not None:
            return verifier.begin(parsed)
        if cluster is None:
            return Rejected(Reason.ISSUER_UNKNOWN)
        if issuer in cluster.issuers or cluster.accepts_legacy(issuer):
            return cluster.begin(parsed)
        if cluster.issuers.discovered:
            return Rejected(Reason.ISSUER_UNKNOWN)
        return Pending(lambda: self._verify_when_learned(parsed, cluster))

    def recall(self, token: bytes) -> None:
        """Remember nothing."""

    async def _verify_when_learned(self, token: UnverifiedToken, cluster: ClusterVerifier) -> Verdict:
        if self._learn_issuers is not None:
            await self._learn_issuers()
        if token.registered.issuer in cluster.issuers:
            verdict = cluster.begin(token)
            return await verdict.finish() if isinstance(verdict, Pending) else verdict
        if not cluster.issuers.discovered:
            return Unavailable(
                Reason.KEYS_UNAVAILABLE, f"the issuer of cluster '{cluster.name}' is not known yet"
            )
        return Rejected(Reason.ISSUER_UNKNOWN)
