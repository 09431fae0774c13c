"""Who may read the admin port: with a policy, its requests are decided as those of the verify port are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from authgate.errors import REASONS, Reason
from authgate.model import Allow, Unavailable
from authgate.server.decider import Decider
from authgate.server.http.request import request_of, text_of
from authgate.server.http.response import render
from authgate.server.record import Recorder
from authgate.server.request_facts import Subrequest, address_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.model import Clock, Decision, Headers
    from authgate.observability.audit import Audit
    from authgate.observability.metrics import Metrics
    from authgate.observability.tracing import Tracing
    from authgate.server.decider import Serving
    from authgate.server.http import web
    from authgate.server.record import About


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminRequest:
    """A request to the admin port, as a policy and the credential sources read it."""

    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)  # they contain the token
    method: str
    target: str
    host: str | None
    client: str | None = None

    @classmethod
    def of(cls, request: web.BaseRequest) -> AdminRequest:
        """Return a request of the HTTP server."""
        host = request.headers.get("Host")
        return cls(
            headers=tuple(request.raw_headers),
            method=request.method,
            target=request.raw_path,
            host=None if host is None else text_of(host.encode("latin-1", "replace")),
            client=None if request.remote is None else address_of(request.remote),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The result for one request: allowed if `status` is 200, else the status, headers and text of the answer.

    `named` is True if a verified identity was allowed, so that the answer may contain identities.
    """

    status: int
    headers: Headers = ()
    text: str = ""
    named: bool = False


class Guard(Protocol):
    """Decides who may read the admin port."""

    @property
    def policy(self) -> str | None:
        """The policy that requests must pass; None if everybody may read."""
        ...

    async def admit(self, request: AdminRequest) -> Admission:
        """Return whether a request passes the policy."""
        ...


class AuditOnly(Recorder):
    """Records decisions in the audit log. The metrics of the verify port do not count them."""

    def record(self, decision: Decision, policy: str, seconds: float, about: About) -> None:
        """Write the audit line of a decision."""
        self.audit(decision, policy, about)


class GateGuard:
    """A `Guard` with the gate of this process. `serving` and `policy` are called for each request."""

    def __init__(
        self,
        serving: Callable[[], Serving],
        policy: Callable[[], str | None],
        *,
        metrics: Metrics,
        audit: Audit,
        clock: Clock,
        tracing: Tracing | None = None,
    ) -> None:
        self._policy = policy
        self._decider = Decider(
            serving, metrics=metrics, recorder=AuditOnly(metrics, audit), clock=clock, tracing=tracing
        )

    @property
    def policy(self) -> str | None:
        """The policy that requests must pass; None if everybody may read."""
        return self._policy()

    async def admit(self, request: AdminRequest) -> Admission:
        """Return whether a request passes the policy.

        Without a policy the answer is 503: during a reload, a worker can be a moment ahead of its supervisor.
        """
        policy = self.policy
        if policy is None:
            return refused(Unavailable(Reason.KEYS_UNAVAILABLE))

        decision, _ = await self._decider.decide(
            Subrequest(
                policy,
                request.headers,
                original=lambda _proxy: request_of(request.method, request.target, request.host),
                client=lambda _proxy: request.client,
            )
        )
        if isinstance(decision, Allow):
            return Admission(status=200, named=decision.identity is not None)
        return refused(decision, reads_basic=self._decider.reads_basic)


def refused(decision: Decision, *, reads_basic: bool = False) -> Admission:
    """Return the answer to a request that is denied or cannot be decided."""
    status, headers = render(decision, reads_basic=reads_basic)
    reason = decision.reason
    return Admission(
        status=status,
        headers=tuple((name, value) for name, value in headers if name != "Content-Length"),
        text=f"{status} {reason.value}: {REASONS[reason].meaning}\n",
    )
