"""A cluster's verifier with scripted keys and a scripted API, and a short name for each verdict."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, get_args

from authgate.keys.remote import RefreshRules, RemoteKeySet
from authgate.model import Authenticated, RevocationHandle
from authgate.verify.claims import TimeRules
from authgate.verify.cluster import ClusterRules, ClusterVerifier, ReviewMode
from authgate.verify.cluster_issuers import ClusterIssuers
from authgate.verify.identity import CLUSTER_CLAIMS, cluster_identity
from authgate.verify.jwt import IssuerRules, JWTVerifier
from authgate.verify.token_review import TokenReviewer
from tests.support.in_memory_cluster import InMemoryCluster, reviewed
from tests.support.key_sources import ScriptedSource
from tests.support.tokens import ISSUER, parsed
from tests.support.verifiers import finished

if TYPE_CHECKING:
    from authgate.dev.keys import SigningKey
    from authgate.model import Verdict
    from authgate.verify.revocation import Revocation
    from tests.support.clock import FakeClock

MODES: tuple[ReviewMode, ...] = get_args(ReviewMode)
"""Every `tokenReview.mode`."""

API_SERVER = "https://kubernetes.default.svc"
"""The audience of the API server itself."""

_USER = "system:serviceaccount:prod:web"


class Cluster:
    """A cluster's verifier with its keys and its API. TokenReview authenticates every token."""

    def __init__(
        self,
        key: SigningKey,
        clock: FakeClock,
        mode: ReviewMode = "fallback",
        *,
        audiences: tuple[str, ...] = ("my-audience",),
        legacy: tuple[str, ...] = (),
        revocation: Revocation | None = None,
        name: str = "home",
        issuers: ClusterIssuers | None = None,
        qps: float = 1000,
        burst: int = 1000,
    ) -> None:
        self.key = key
        self.source = ScriptedSource(key)
        self.api = InMemoryCluster(
            otherwise=reviewed(_USER, audiences=(API_SERVER,) if legacy else audiences)
        )
        self.handle = RevocationHandle()
        self.keys = RemoteKeySet(self.source, clock, RefreshRules(cooldown=5))
        rules = IssuerRules(
            name=name,
            audiences=frozenset(audiences),
            algorithms=frozenset({"RS256", "ES256"}),
            types=frozenset({"jwt"}),
            time=TimeRules(60, 60),
        )
        identify = partial(cluster_identity, cluster=name)
        self.local = JWTVerifier(rules, self.keys, identify, clock, identity_claims=CLUSTER_CLAIMS)
        self.reviewer = TokenReviewer(self.api, clock, name=name, qps=qps, burst=burst)
        self.verifier = ClusterVerifier(
            ClusterRules(name=name, audiences=audiences, legacy_audiences=legacy, mode=mode, max_age=30),
            ClusterIssuers([ISSUER], name) if issuers is None else issuers,
            self.local,
            self.reviewer,
            self.handle,
            revocation=revocation,
        )

    async def verdict(self, text: str) -> Verdict:
        """Return the verdict on a JWT of the cluster."""
        return await finished(self.verifier.try_verify(parsed(text)))

    @property
    def reviews(self) -> int:
        """The number of TokenReviews."""
        return len(self.api.reviewed)


def summary(verdict: Verdict) -> str:
    """Return the source of an accepted token, or the reason for a rejection."""
    return verdict.evidence.source if isinstance(verdict, Authenticated) else verdict.reason.value
