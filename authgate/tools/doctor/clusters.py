"""Examining a cluster: its API server, its keys, and what its role bindings let the gate do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from authgate.cluster.access_check import Action
from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.compose.clusters import connect
from authgate.compose.dependencies import CompositionError
from authgate.keys.remote import KeyFetchError
from authgate.keys.sources import CLUSTER_JWKS, ClusterSource
from authgate.tools.doctor.findings import Finding, Level, bad, good, warning
from authgate.tools.doctor.issuers import keys_found, static_keys_found
from authgate.tools.doctor.own_account import bind_command, clock_finding, own_token_findings
from authgate.tools.doctor.watches import watch_findings
from authgate.vocabulary import CLUSTER_ALGORITHMS

if TYPE_CHECKING:
    from authgate.cluster.client import ClusterClient
    from authgate.compose.dependencies import Dependencies
    from authgate.config import ClusterConfig

_REVIEWER: Final = "system:auth-delegator"
_DISCOVERER: Final = "system:service-account-issuer-discovery"
_REVIEW_TOKENS: Final = Action("create", "authentication.k8s.io", "tokenreviews")
_REVIEW_ACCESS: Final = Action("create", "authorization.k8s.io", "subjectaccessreviews")


@dataclass(slots=True)
class _Keys:
    """What came of the cluster's discovery: its issuer, None where it did not tell, and whether there are keys.

    `failure` says why not: subject, sentence and remedy.
    """

    issuer: str | None = None
    usable: bool = False
    findings: list[Finding] = field(default_factory=list)
    failure: tuple[str, str, str] | None = None


async def examine_cluster(
    item: ClusterConfig, deps: Dependencies, owners: dict[str, str], *, reviews_access: bool
) -> list[Finding]:
    """Return what there is to say of a cluster.

    `owners` tells whose an issuer is: "jwt", or a cluster, this one among them; it learns what this cluster says of
    itself. `reviews_access` tells that a policy asks SubjectAccessReview.
    """
    subject = f"cluster {item.name}"
    if item.static_keys is not None:
        return static_keys_found(
            item.static_keys, CLUSTER_ALGORITHMS, f"{subject}: keys", f"cluster '{item.name}': staticKeys"
        )
    try:
        api = await connect(item, deps)
    except CompositionError as error:
        remedy = "mend the kubeconfig, or what the kubelet mounts into the pod; the sentence names which"
        return [bad(f"{subject}: access", str(error), remedy)]
    try:
        return await _Examination(item, api, deps, owners, subject).findings(reviews_access)
    finally:
        await api.close()


class _Examination:
    """One cluster, looked at from the outside in."""

    def __init__(
        self,
        item: ClusterConfig,
        api: ClusterClient,
        deps: Dependencies,
        owners: dict[str, str],
        subject: str,
    ) -> None:
        self._item = item
        self._api = api
        self._clock = deps.clock
        self._owners = owners
        self._subject = subject
        self._mode = item.token_review.mode

    async def findings(self, reviews_access: bool) -> list[Finding]:
        """Return what was found; where the server does not answer, nothing that only it could tell."""
        reached, answers = await self._server()
        own = self._own_token()
        if not answers:
            return [*reached, *own]
        keys = await self._keys()
        reviews, review_findings = await self._reviews(keys)
        if keys.failure is not None:
            decided = reviews and self._mode != "never"
            keys.findings.append(warning(*keys.failure) if decided else bad(*keys.failure))
        found = [*reached, *own, *keys.findings, *self._issuer(keys), *review_findings]
        if reviews_access:
            found.append(await self._access_reviews())
        found += await watch_findings(f"{self._subject}: watch", self._item, self._api)
        return found

    async def _server(self) -> tuple[list[Finding], bool]:
        connection, name = self._api.connection, f"{self._subject}: API server"
        found: list[Finding] = []
        if connection.proxy is not None:
            sentence = f"{connection.server} is reached through {connection.proxy}"
            found.append(good(f"{self._subject}: proxy", sentence))
        before, started = self._clock.now(), self._clock.monotonic()
        try:
            date = await self._api.server_date()
        except ApiError as error:
            return [*found, bad(name, error.detail, _unreached(error, connection.origin))], False
        took = self._clock.monotonic() - started
        secure = connection.server.startswith("https:") and not connection.unsafe_skip_verify
        trust = "; its certificate chains to the configured authority" if secure else ""
        found.append(good(name, f"{connection.server} answers (by {connection.origin}){trust}"))
        if connection.unsafe_skip_verify:
            sentence = (
                "insecure-skip-tls-verify is set: whoever answers at its address can authenticate anybody"
            )
            found.append(warning(f"{self._subject}: CA", sentence, "set certificate-authority in its place"))
        found.append(clock_finding(f"{self._subject}: clock", date, before, took))
        return found, True

    def _own_token(self) -> list[Finding]:
        return own_token_findings(
            f"{self._subject}: own token", self._api, self._clock.now(), needed=self._mode != "never"
        )

    async def _keys(self) -> _Keys:
        keys = _Keys()
        named: list[str] = []
        try:
            document = await ClusterSource(self._api, named.append, self._item.keys.timeout).fetch()
        except KeyFetchError as error:
            keys.issuer = named[0] if named else None
            step = "keys" if named else "discovery"
            keys.failure = (f"{self._subject}: {step}", str(error), self._undiscovered(error))
            return keys
        keys.issuer = named[0]
        keys.findings = keys_found(f"{self._subject}: keys", CLUSTER_JWKS, document, CLUSTER_ALGORITHMS)
        keys.usable = keys.findings[0].level is Level.GOOD
        return keys

    def _undiscovered(self, error: KeyFetchError) -> str:
        cause = error.__cause__
        if isinstance(cause, ApiError) and cause.kind is ApiErrorKind.FORBIDDEN:
            return f"bind the ClusterRole {_DISCOVERER}: {bind_command(_DISCOVERER, self._api.own_token())}"
        return "check what stands between here and the API server; its own 'kubectl get --raw' shows the document"

    def _issuer(self, keys: _Keys) -> list[Finding]:
        name, own, issuer = f"{self._subject}: issuer", self._api.own_issuer(), keys.issuer
        known = dict.fromkeys((*self._item.issuers, *([own] if own else [])))
        if issuer is None:
            if known:
                return [
                    good(name, f"tokens of {', '.join(known)} are the cluster's, as far as is known here")
                ]
            sentence = "no issuer is known: which tokens are the cluster's cannot be told"
            return [bad(name, sentence, "name the cluster's issuer in cluster.issuers")]
        owner = self._owners.setdefault(issuer, f"cluster '{self._item.name}'")
        if owner == "jwt":
            sentence = f"the cluster's issuer {issuer} is configured under jwt, too"
            return [bad(name, sentence, "remove it there: the cluster's keys are then used")]
        if owner != f"cluster '{self._item.name}'":
            sentence = f"discovery names {issuer}, which is that of {owner}, too: its tokens are taken for that one's"
            return [bad(name, sentence, "give each cluster an issuer of its own (--service-account-issuer)")]
        if own is None:
            return [good(name, f"discovery names {issuer}")]
        if own == issuer:
            return [good(name, f"discovery and the gate's own token name {issuer}")]
        sentence = f"discovery names {issuer}, the gate's own token {own}"
        if own in self._item.issuers:
            return [good(name, f"{sentence}, which cluster.issuers allows for")]
        remedy = f"while the cluster moves from one to the other, name {own} in cluster.issuers"
        return [warning(name, sentence, remedy)]

    async def _reviews(self, keys: _Keys) -> tuple[bool, list[Finding]]:
        if self._mode == "never":
            return False, []
        name = f"{self._subject}: TokenReview"
        allowed, sentence, remedy = await self._may(_REVIEW_TOKENS)
        if allowed:
            return True, [good(name, sentence)]
        if self._mode == "always" or self._item.token_review.legacy_audiences or not keys.usable:
            return False, [bad(name, sentence, remedy)]
        local = "; local keys decide meanwhile, so only tokens that they cannot decide are answered 503"
        return False, [warning(name, sentence + local, f"{remedy}; or set tokenReview.mode to never")]

    async def _access_reviews(self) -> Finding:
        name = f"{self._subject}: SubjectAccessReview"
        allowed, sentence, remedy = await self._may(_REVIEW_ACCESS)
        return good(name, sentence) if allowed else bad(name, sentence, remedy)

    async def _may(self, action: Action) -> tuple[bool, str, str]:
        """Tell whether the gate may do something, in words, and what to do where it may not."""
        asked = f"{action.verb} {action.resource}"
        try:
            if await self._api.may(action):
                return True, f"the gate may {asked}", ""
        except ApiError as error:
            sentence = f"whether the gate may {asked} cannot be told: {error.detail}"
            return False, sentence, f"try again; 'kubectl auth can-i {asked}' asks the same"
        command = bind_command(_REVIEWER, self._api.own_token())
        return False, f"the gate may not {asked}", f"bind the ClusterRole {_REVIEWER}: {command}"


def _unreached(error: ApiError, origin: str) -> str:
    if error.kind is ApiErrorKind.UNAUTHORIZED:
        return f"renew the credential of {origin}: it has expired, was revoked, or is for other audiences"
    return (
        f"check that the API server runs, the address and the certificate authority of {origin},"
        " and the network policy from here to there"
    )
