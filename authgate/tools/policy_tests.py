"""Run policy tests: a gate with the configured policies decides each request of a table, without tokens or network.

The gate is the real one. The test states the verdict on the token, the time, and the cluster's access review.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from authgate.cluster.api import AccessAnswer, ApiError, ApiErrorKind
from authgate.compose.claims import claim_rules, identify_of
from authgate.compose.headers import header_mapper
from authgate.compose.policies import policy_of
from authgate.errors import Reason
from authgate.gate import Gate
from authgate.json_pointer import claim_pointer
from authgate.model import (
    Authenticated,
    Deny,
    Evidence,
    Identity,
    OriginalRequest,
    Rejected,
    RevocationHandle,
    ServiceAccount,
    Unavailable,
    VerifiedClaims,
)
from authgate.verify.access_review import AccessReviewer, AccessReviewers
from authgate.verify.identity import cluster_identity
from authgate.verify.mapped import mapped_identity
from authgate.verify.router import Verifier
from authgate.vocabulary import AUTHENTICATED_GROUP, SERVICE_ACCOUNT_PREFIX, SERVICE_ACCOUNTS_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.cluster.api import AccessAttributes
    from authgate.config import AskingIdentity, Config, PolicyTest
    from authgate.model import BearerToken, Decision, JSONValue

_PLENTY = 1000


class StatementError(Exception):
    """A test refers to something that is not configured, which the message describes."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one test: the reason code of the decision, and its details.

    `reason` is None if there was no decision; `detail` is then the reason.
    """

    test: PolicyTest
    reason: Reason | None
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether the decision is as expected."""
        return self.reason is not None and self.test.is_met_by(self.reason.value)


async def run(config: Config, tests: Iterable[PolicyTest]) -> list[Result]:
    """Run the tests in order; raises `CompositionError` if the configuration cannot be used."""
    bench = _Bench(config)
    results = []
    for test in tests:
        try:
            decision = await bench.decide(test)
        except StatementError as error:
            results.append(Result(test, None, str(error)))
        else:
            results.append(Result(test, decision.reason, _seen(decision)))
    return results


def _seen(decision: Decision) -> str:
    match decision:
        case Deny(detail=detail, private=private):
            return "; ".join(text for text in (detail, private) if text)
        case Unavailable(detail=detail):
            return detail
        case _:
            return ""


class _Identify(Protocol):
    def __call__(
        self, claims: VerifiedClaims, issuer: str, audiences: tuple[str, ...]
    ) -> Identity | Rejected: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issuer:
    """A configured issuer or cluster."""

    name: str
    urls: tuple[str, ...]
    audiences: tuple[str, ...]
    cluster: str | None
    identify: _Identify
    audience_claims: tuple[str, ...] = ("aud",)


class _Bench:
    """Builds a gate per test from one configuration."""

    def __init__(self, config: Config) -> None:
        self._policies = {name: policy_of(name, item) for name, item in config.policies.items()}
        self._headers = header_mapper(config.headers, None)
        self._max_token_bytes = config.limits.max_token_bytes
        self._issuers = [
            *(
                _Issuer(
                    name=item.name,
                    urls=item.issuers,
                    audiences=item.audiences,
                    cluster=item.name,
                    identify=partial(cluster_identity, cluster=item.name),
                )
                for item in config.clusters
            ),
            *(
                _Issuer(
                    name=item.name,
                    urls=item.issuer_names,
                    audiences=item.issuer.audiences,
                    cluster=None,
                    identify=identify_of(item),
                    audience_claims=item.gate.audience_claims,
                )
                for item in config.jwt
            ),
            *(
                _Issuer(
                    name=server.name,
                    urls=(server.issuer or server.name,),
                    audiences=server.audiences,
                    cluster=None,
                    identify=partial(mapped_identity, rules=claim_rules(server), issuer_name=server.name),
                )
                for server in config.introspection
            ),
        ]

    async def decide(self, test: PolicyTest) -> Decision:
        """Return the decision for a test; raises `StatementError`."""
        if test.policy not in self._policies:
            raise StatementError(
                f"no policy '{test.policy}' is configured; choose one of {', '.join(self._policies)}"
            )
        if test.request.path is not None and not test.request.path.startswith("/"):
            raise StatementError(f"request.path must begin with a slash, but is {test.request.path!r}")
        stated = _Stated(self._verdict(test), test)
        reviewer = AccessReviewer(stated, stated, qps=_PLENTY, burst=_PLENTY)
        clusters = [issuer.name for issuer in self._issuers if issuer.cluster is not None]
        gate = Gate(
            stated,
            self._policies,
            self._headers,
            self._max_token_bytes,
            AccessReviewers(dict.fromkeys(clusters, reviewer)),
            now=stated.now,
        )
        path, _, query = (test.request.path or "").partition("?")
        request = OriginalRequest(test.request.method, path or None, test.request.host, query)
        token = () if test.identity is None and test.claims is None else (b"Bearer stated",)
        return await gate.decide(token, test.policy, request)

    def _verdict(self, test: PolicyTest) -> Authenticated | Rejected:
        evidence = Evidence("jwks")
        if test.identity is not None:
            return Authenticated(self._identity(test.identity), None, evidence, RevocationHandle())
        if test.claims is None:
            return Rejected(Reason.NO_CREDENTIAL)
        claims: dict[str, JSONValue] = test.claims
        issuer = self._issuer_of(claims)
        pointers = map(claim_pointer, issuer.audience_claims)
        named = (value for pointer in pointers if (value := pointer.find(claims)) is not None)
        every: JSONValue = [*issuer.audiences]
        audiences = _accepted(issuer, next(named, every))
        if not audiences:
            return Rejected(Reason.AUDIENCE_MISMATCH, evidence=evidence)
        verified = VerifiedClaims(claims)
        identity = issuer.identify(verified, str(claims.get("iss", "")), audiences)
        if isinstance(identity, Rejected):
            return identity
        return Authenticated(identity, None, evidence, RevocationHandle(), claims=verified)

    def _issuer_of(self, claims: dict[str, JSONValue]) -> _Issuer:
        url = claims.get("iss")
        found = next((issuer for issuer in self._issuers if url in issuer.urls), None)
        # Without a network, a cluster's issuer may be unknown; its tokens are recognized by their claims.
        if found is None and "kubernetes.io" in claims:
            found = next((issuer for issuer in self._issuers if issuer.cluster is not None), None)
        if found is None:
            known = [url for issuer in self._issuers for url in issuer.urls]
            raise StatementError(
                f"claims.iss must be a configured issuer: {', '.join(known) or 'none is configured'}"
            )
        return found

    def _identity(self, asking: AskingIdentity) -> Identity:
        issuers = [
            item for item in self._issuers if asking.service_account is None or item.cluster is not None
        ]
        if asking.issuer is not None:
            issuers = [item for item in issuers if item.name == asking.issuer]
        if not issuers:
            named = "" if asking.issuer is None else f" named '{asking.issuer}'"
            what = "issuer or cluster" if asking.service_account is None else "cluster"
            raise StatementError(f"identity: no {what}{named} is configured")
        issuer, account, groups = issuers[0], None, asking.groups
        user = asking.user or ""
        if asking.service_account is not None:
            account = ServiceAccount(*asking.service_account.split("/"))
            user = f"{SERVICE_ACCOUNT_PREFIX}{account.namespace}:{account.name}"
            own = (SERVICE_ACCOUNTS_GROUP, f"{SERVICE_ACCOUNTS_GROUP}:{account.namespace}")
            groups = (*own, *groups, AUTHENTICATED_GROUP)
        audiences = issuer.audiences if asking.audiences is None else asking.audiences
        return Identity(
            user,
            groups=tuple(dict.fromkeys(groups)),
            issuer_name=issuer.name,
            cluster=issuer.cluster,
            service_account=account,
            audiences=_accepted(issuer, list(audiences)),
        )


def _accepted(issuer: _Issuer, named: JSONValue) -> tuple[str, ...]:
    audiences = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    return tuple(sorted(name for name in audiences if isinstance(name, str) and name in issuer.audiences))


class _Stated(Verifier):
    """A verifier, a clock and an API server that return what one test states."""

    def __init__(self, verdict: Authenticated | Rejected, test: PolicyTest) -> None:
        self._verdict = verdict
        self._at = test.at()
        self._access = test.access_review

    def try_verify(self, token: BearerToken) -> Authenticated | Rejected:
        """Return the verdict."""
        return self._verdict

    def now(self) -> float:
        """Return the time that the test states, or the current time."""
        return time.time() if self._at is None else self._at

    def monotonic(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()

    async def review_access(
        self,
        identity: Identity,
        attributes: AccessAttributes,
    ) -> AccessAnswer:
        """Return the cluster's answer that the test states."""
        if self._access is None:
            detail = "the decision needs a SubjectAccessReview: add accessReview, its result, to the test"
            raise ApiError(ApiErrorKind.UNREACHABLE, detail)
        return AccessAnswer(self._access == "allow")
