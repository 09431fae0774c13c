"""Check a cluster: its API server, its keys, and what its role bindings allow the gate."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from authgate.cluster.api import ApiError, ApiErrorKind, ResourceAttributes
from authgate.compose.clusters import connect, published_keys
from authgate.compose.dependencies import CompositionError
from authgate.compose.revocation import scopes
from authgate.config import format_duration
from authgate.keys.fetch import UntrustedCertificateError
from authgate.keys.remote import KeyFetchError
from authgate.keys.sources import CLUSTER_JWKS, ClusterSource
from authgate.tools.doctor.findings import (
    REWRITE_CERTIFICATE,
    Finding,
    Level,
    bad,
    good,
    keys_found,
    static_keys_found,
    warning,
)
from authgate.tools.doctor.own_account import bind_command, clock_finding, own_token_findings
from authgate.vocabulary import CLUSTER_ALGORITHMS

if TYPE_CHECKING:
    from authgate.cluster.client import ClusterClient
    from authgate.cluster.watch import Scope
    from authgate.compose.dependencies import Dependencies
    from authgate.config import ClusterConfig

_REVIEWER: Final = "system:auth-delegator"
_DISCOVERER: Final = "system:service-account-issuer-discovery"
_REVIEW_TOKENS: Final = ResourceAttributes("create", "tokenreviews", "authentication.k8s.io")
_REVIEW_ACCESS: Final = ResourceAttributes("create", "subjectaccessreviews", "authorization.k8s.io")


@dataclass(slots=True)
class _Keys:
    """The result of the cluster's discovery: its issuer, None if unknown, and whether there are usable keys.

    `failure` is the subject, sentence and remedy of a failed fetch.
    """

    issuer: str | None = None
    usable: bool = False
    findings: list[Finding] = field(default_factory=list)
    failure: tuple[str, str, str] | None = None


async def examine_cluster(
    item: ClusterConfig, deps: Dependencies, owners: dict[str, str], *, reviews_access: bool
) -> list[Finding]:
    """Return the findings about a cluster.

    `owners` maps each issuer to "jwt" or to its cluster; the issuer that this cluster's discovery returns is added.
    `reviews_access` means that a policy uses SubjectAccessReview.
    """
    subject = f"cluster {item.name}"
    if item.static_keys is not None:
        return static_keys_found(
            item.static_keys, CLUSTER_ALGORITHMS, f"{subject}: keys", f"cluster '{item.name}': staticKeys"
        )
    if item.keys_from == "issuer":
        return await _published_keys(item, deps, subject)
    try:
        api = await connect(item, deps)
    except CompositionError as error:
        remedy = "fix the named file: the kubeconfig, or the files that the kubelet mounts into the pod"
        return [bad(f"{subject}: access", str(error), remedy)]
    try:
        return await _Examination(item, api, deps, owners, subject).findings(reviews_access)
    finally:
        await api.close()


async def _published_keys(item: ClusterConfig, deps: Dependencies, subject: str) -> list[Finding]:
    origin = item.jwks_url or item.issuers[0]
    try:
        document = await published_keys(item, deps.environ).fetch()
    except CompositionError as error:
        return [bad(f"{subject}: certificate", str(error), REWRITE_CERTIFICATE)]
    except UntrustedCertificateError as error:
        remedy = "set cluster.certificateAuthority to the PEM of the certificate authority that signed it"
        return [bad(f"{subject}: certificate", str(error), remedy)]
    except KeyFetchError as error:
        remedy = (
            "check that the cluster's issuer is public, the URL, the proxy, and network policies between here and it;"
            " if only its keys are at another address, set cluster.jwksURL"
        )
        return [bad(f"{subject}: keys", str(error), remedy)]
    return keys_found(f"{subject}: keys", document.origin or origin, document, CLUSTER_ALGORITHMS)


class _Examination:
    """The checks of one cluster."""

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
        """Run all checks; without a response from the API server, only those that do not need it."""
        reached, responds = await self._server()
        own = self._own_token()
        if not responds:
            return [*reached, *own]
        keys = await self._keys()
        reviews, review_findings = await self._reviews(keys)
        if keys.failure is not None:
            decided = reviews and self._mode != "never"
            keys.findings.append(warning(*keys.failure) if decided else bad(*keys.failure))
        found = [*reached, *own, *keys.findings, *self._issuer(keys), *review_findings, *self._legacy()]
        if reviews_access:
            found.append(await self._access_reviews())
        return [*found, *await self._watches()]

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
        found.append(good(name, f"{connection.server} responds (configured by {connection.origin}){trust}"))
        if connection.unsafe_skip_verify:
            sentence = (
                "insecure-skip-tls-verify is set: any server at this address can authenticate any token"
            )
            found.append(warning(f"{self._subject}: CA", sentence, "set certificate-authority instead"))
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
        return "check the network between here and the API server; 'kubectl get --raw' shows the document"

    def _issuer(self, keys: _Keys) -> list[Finding]:
        name, own, issuer = f"{self._subject}: issuer", self._api.own_issuer(), keys.issuer
        known = dict.fromkeys((*self._item.issuers, *([own] if own else [])))
        if issuer is None:
            if known:
                return [
                    good(name, f"tokens of {', '.join(known)} are assigned to the cluster; discovery failed")
                ]
            sentence = "the cluster's issuer is unknown, so no token can be assigned to the cluster"
            return [bad(name, sentence, "set cluster.issuers to the cluster's issuer")]
        owner = self._owners.setdefault(issuer, f"cluster '{self._item.name}'")
        if owner == "jwt":
            sentence = f"the cluster's issuer {issuer} is also configured under jwt"
            return [bad(name, sentence, "remove the jwt entry; the cluster's keys are then used")]
        if owner != f"cluster '{self._item.name}'":
            sentence = f"discovery names {issuer}, which is also the issuer of {owner}: tokens are assigned to that one"
            return [bad(name, sentence, "give each cluster its own issuer (--service-account-issuer)")]
        if own is None:
            return [good(name, f"discovery names {issuer}")]
        if own == issuer:
            return [good(name, f"discovery and the gate's own token name {issuer}")]
        sentence = f"discovery names {issuer}, but the gate's own token {own}"
        if own in self._item.issuers:
            return [good(name, f"{sentence}, which is in cluster.issuers")]
        remedy = f"add {own} to cluster.issuers while the cluster changes its issuer"
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
        local = "; local keys still decide, so only tokens that need a review get 503"
        return False, [warning(name, sentence + local, f"{remedy}; or set tokenReview.mode to never")]

    def _legacy(self) -> list[Finding]:
        """Compare `legacyAudiences` with the audiences of the gate's own token, which the API server accepts."""
        configured, own = self._item.token_review.legacy_audiences, self._api.own_token()
        if not configured or self._mode == "never":
            return []
        name, known = f"{self._subject}: legacyAudiences", own.audiences if own is not None else ()
        if not known:
            sentence = "cannot compare legacyAudiences with the API server's audience: no token here names it"
            return [good(name, f"{sentence}; 'authgate doctor' in a pod can")]
        if set(configured) & set(known):
            return [good(name, f"the API server's audience is {', '.join(known)}, as configured")]
        sentence = (
            f"the API server's audience is {', '.join(known)}, but legacyAudiences is {', '.join(configured)}"
        )
        remedy = f"set cluster.tokenReview.legacyAudiences to {list(known)}"
        return [bad(name, f"{sentence}: all static and legacy tokens are rejected", remedy)]

    async def _access_reviews(self) -> Finding:
        name = f"{self._subject}: SubjectAccessReview"
        allowed, sentence, remedy = await self._may(_REVIEW_ACCESS)
        return good(name, sentence) if allowed else bad(name, sentence, remedy)

    async def _watches(self) -> list[Finding]:
        if self._item.revocation != "watch":
            return []
        name, scopes_ = f"{self._subject}: watch", list(scopes(self._item))
        allowed = await asyncio.gather(*map(self._may_watch, scopes_))
        watched = [str(scope) for scope, may in zip(scopes_, allowed, strict=True) if may]
        blind = [scope for scope, may in zip(scopes_, allowed, strict=True) if not may]
        found = [good(name, f"the gate may list and watch {', '.join(watched)}")] if watched else []
        if blind:
            age = format_duration(self._item.token_review.max_age)
            kind = (
                "Role and RoleBinding"
                if self._item.watch.namespaces
                else "ClusterRole and ClusterRoleBinding"
            )
            resources = ", ".join(dict.fromkeys(scope.resource for scope in blind))
            sentence = (
                f"the gate may not list and watch {', '.join(map(str, blind))}: tokens bound to them are reviewed every"
                f" {age}"
            )
            rule = f'apiGroups [""], resources [{resources}], verbs [list, watch]'
            found.append(warning(name, sentence, f"give its account a {kind} with {rule}"))
        return found

    async def _may_watch(self, scope: Scope) -> bool:
        wanted = (
            ResourceAttributes(verb, scope.resource, namespace=scope.namespace or "")
            for verb in ("list", "watch")
        )
        try:
            return all([(await self._api.review_own_access(attributes)).allowed for attributes in wanted])
        except ApiError:
            return False

    async def _may(self, action: ResourceAttributes) -> tuple[bool, str, str]:
        """Return whether the gate may do something, a sentence, and the remedy if it may not."""
        asked = f"{action.verb} {action.resource}"
        try:
            if (await self._api.review_own_access(action)).allowed:
                return True, f"the gate may {asked}", ""
        except ApiError as error:
            sentence = f"cannot check whether the gate may {asked}: {error.detail}"
            return False, sentence, f"try again; 'kubectl auth can-i {asked}' makes the same check"
        command = bind_command(_REVIEWER, self._api.own_token())
        return False, f"the gate may not {asked}", f"bind the ClusterRole {_REVIEWER}: {command}"


def _unreached(error: ApiError, origin: str) -> str:
    if error.kind is ApiErrorKind.UNAUTHORIZED:
        return f"renew the credential in {origin}: it has expired, was revoked, or has other audiences"
    return (
        f"check that the API server is running, the address and the certificate authority in {origin},"
        " and network policies between here and the server"
    )
