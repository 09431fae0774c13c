"""Selecting the one verifier for a token by the exact text of its unverified `iss`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from authgate.errors import Reason
from authgate.model import Authenticated, BearerToken, Moment, Pending, Rejected, Unavailable, Verdict
from authgate.verify.compact import CompactParser, holds_json_object, why_unverifiable
from authgate.verify.jwt import JWTVerifier
from authgate.verify.recognition import Recognizer
from authgate.vocabulary import LEGACY_ISSUER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from authgate.verify.cluster import ClusterVerifier
    from authgate.verify.compact import UnverifiedToken
    from authgate.verify.introspection import IntrospectionVerifier

_MAX_NAME_CHARS: Final = 128
_SEGMENT: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~+/"
"""The characters of a credential, without the dot between the segments of a JWT."""


class Verifier(Protocol):
    """Verifies bearer tokens of any issuer."""

    def try_verify(self, token: BearerToken) -> Verdict | Pending[Verdict]:
        """Return the verdict, or a `Pending` if it needs I/O. An outage is `Unavailable`, not an exception."""
        ...

    def recognize(self, token: bytes, digest: bytes, at: Moment) -> Authenticated | Rejected | None:
        """Return what `try_verify` returns for a token of a known sender, or None if that must be called.

        `token` can be any bytes. `digest` is its key in the verdict cache, and `at` is the present time. By default, no
        sender is known.
        """
        return None


class IssuerVerifier(Protocol):
    """Verifies the JWTs of one issuer."""

    def try_verify(self, token: UnverifiedToken) -> Verdict | Pending[Verdict]:
        """Return the verdict, or a `Pending` if it needs I/O."""
        ...


class IssuerRouter:
    """Parses a token once and passes it to the verifier of its issuer, and to no other.

    An opaque token is passed to the `introspection` server with the longest prefix that it begins with, or else to the
    cluster that reviews such tokens. Static and legacy tokens do not name their cluster, so at most one cluster may
    review them. A static token can contain any number of dots; a text with a JSON object is never one. If an issuer is
    unknown while the issuer of a cluster is not known yet, `learn_issuers` is awaited.
    """

    def __init__(
        self,
        issuers: Mapping[str, IssuerVerifier],
        clusters: Iterable[ClusterVerifier] = (),
        learn_issuers: Callable[[], Awaitable[None]] | None = None,
        *,
        trust_domains: frozenset[str] = frozenset(),
        introspection: Iterable[IntrospectionVerifier] = (),
    ) -> None:
        self._parser = CompactParser(trust_domains)
        self._recognizer = Recognizer()
        self._issuers = dict(issuers)
        self._clusters = tuple(clusters)
        self._learn_issuers = learn_issuers
        self._introspection = sorted(introspection, key=lambda server: -len(server.prefix))
        reviewing = [cluster for cluster in self._clusters if cluster.reviews_legacy]
        if len(reviewing) > 1:
            raise ValueError("several clusters review static and legacy tokens")
        # If no cluster reviews such tokens, the first one rejects them, as every other would.
        self._legacy = next(iter((*reviewing, *self._clusters)), None)
        self._one_segment: Rejected | None = None
        """The verdict on every text with one segment, or None if they are reviewed or introspected."""
        if not reviewing and not self._introspection:
            verdict = self.try_verify(BearerToken("opaque"))
            self._one_segment = verdict if isinstance(verdict, Rejected) else None

    def try_verify(self, token: BearerToken) -> Verdict | Pending[Verdict]:
        """Return the verdict of the issuer's verifier, or a `Pending` if it needs I/O."""
        legacy, text = self._legacy, token.text
        reviewing = legacy if legacy is not None and legacy.reviews_legacy else None
        if (self._introspection or reviewing) and not holds_json_object(text):
            for server in self._introspection:
                if text.startswith(server.prefix):
                    return server.try_verify_opaque(token)
            if reviewing is not None:
                return reviewing.try_verify_opaque(token)
        parsed = self._parser.parse(text, padded=token.padded)
        if isinstance(parsed, Rejected):
            if parsed.reason is Reason.TOKEN_OPAQUE and legacy is not None:
                return legacy.try_verify_opaque(token)
            return parsed
        issuer = parsed.registered.issuer
        verifier = self._issuers.get(issuer) or self._cluster_of(issuer)
        if verifier is not None:
            verdict = verifier.try_verify(parsed)
            if isinstance(verdict, Authenticated):
                self._learn(parsed, verdict)
            return verdict
        if self._undiscovered() is None:
            return _unknown_issuer(parsed)
        return Pending(lambda: self._verify_when_learned(parsed))

    def recognize(self, token: bytes, _digest: bytes, at: Moment) -> Authenticated | Rejected | None:
        """Return the verdict of the issuer's keys on a token of a known sender, or None.

        A text with one segment is rejected here, too, unless it is reviewed or introspected.
        """
        if b"." not in token:
            return self._one_segment if token and not token.translate(None, _SEGMENT) else None
        found = self._recognizer.find(token)
        local = None if found is None else self._local_verifier(found.sender.issuer)
        if found is None or local is None or local.identity_claims is not found.claims:
            return None
        return local.verify_recognized(found, at)

    def _learn(self, token: UnverifiedToken, verdict: Authenticated) -> None:
        local = self._local_verifier(token.registered.issuer)
        if local is not None and local.identity_claims is not None and not why_unverifiable(token):
            self._recognizer.learn(token, verdict, local.identity_claims)

    def _local_verifier(self, issuer: str) -> JWTVerifier | None:
        """Return the verifier whose keys alone decide about tokens of an issuer, or None if more is needed."""
        verifier = self._issuers.get(issuer)
        if verifier is None:
            cluster = self._cluster_of(issuer)
            return None if cluster is None else cluster.local_verifier
        return verifier if isinstance(verifier, JWTVerifier) else None

    def _cluster_of(self, issuer: str) -> ClusterVerifier | None:
        for cluster in self._clusters:
            if issuer in cluster.issuers:
                return cluster
        return self._legacy if issuer == LEGACY_ISSUER else None

    def _undiscovered(self) -> ClusterVerifier | None:
        """Return a cluster whose issuer is not known yet."""
        return next((cluster for cluster in self._clusters if not cluster.issuers.discovered), None)

    async def _verify_when_learned(self, token: UnverifiedToken) -> Verdict:
        if self._learn_issuers is not None:
            await self._learn_issuers()
        cluster = self._cluster_of(token.registered.issuer)
        if cluster is not None:
            verdict = cluster.try_verify(token)
            return await verdict.finish() if isinstance(verdict, Pending) else verdict
        undiscovered = self._undiscovered()
        if undiscovered is None:
            return _unknown_issuer(token)
        return Unavailable(
            Reason.KEYS_UNAVAILABLE, f"the issuer of cluster '{undiscovered.name}' is not known yet"
        )


def _unknown_issuer(token: UnverifiedToken) -> Rejected:
    """Return the rejection. The token's issuer is in the private detail, so that an operator can find the sender."""
    name = "".join(char if char.isprintable() else "?" for char in token.registered.issuer[:_MAX_NAME_CHARS])
    return Rejected(Reason.ISSUER_UNKNOWN, why_unverifiable(token), private=f"'iss' is '{name}'")
