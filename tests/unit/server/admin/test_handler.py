"""The admin port's answers, and how often metrics and the page are rendered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from authgate.server.admin import AdminHandler, Check, Readiness
from authgate.server.admin.access import AdminRequest, Admission
from authgate.server.admin.status import GateStatus
from tests.support.clock import FakeClock
from tests.unit.server.admin.statuses import READY, status_with

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

DOCUMENT = "/.well-known/openid-configuration"


class Counting:
    """Metrics that change each time they are rendered."""

    def __init__(self) -> None:
        self.times = 0

    def render(self) -> bytes:
        self.times += 1
        return b"rendered %d\n" % self.times


async def no_page(_named: bool) -> GateStatus | None:
    """Return that the page is off."""
    return None


class Guarded:
    """A guard that allows requests with a certain header, or everybody without a policy."""

    def __init__(self, policy: str | None = None) -> None:
        self.policy = policy
        self.asked: list[AdminRequest] = []

    async def admit(self, request: AdminRequest) -> Admission:
        """Return whether the request has the header."""
        self.asked.append(request)
        if (b"Authorization", b"good") in request.headers:
            return Admission(status=200, named=True)
        if (b"Authorization", b"anonymous") in request.headers:
            return Admission(status=200)
        return Admission(status=401, headers=(("WWW-Authenticate", "Bearer"),), text="401 no_credential\n")


def handler_of(
    figures: Counting,
    clock: FakeClock,
    status: Callable[[bool], Awaitable[GateStatus | None]] = no_page,
    *,
    guard: Guarded | None = None,
    readiness: Readiness = READY,
) -> AdminHandler:
    """Return the handler of a gate that is ready and signs tokens."""
    return AdminHandler(
        figures,
        readiness=lambda: readiness,
        status=status,
        guard=guard or Guarded(),
        documents=lambda: {DOCUMENT: b"{}"},
        monotonic=clock.monotonic,
    )


async def asked(
    handler: AdminHandler,
    path: str,
    method: str = "GET",
    *,
    authorization: str | None = None,
    host: str | None = None,
) -> web.Response:
    """Return the answer to a request."""
    given = {"Authorization": authorization, "Host": host}
    headers = {name: text for name, text in given.items() if text is not None}
    return await handler(make_mocked_request(method, path, headers=headers))


async def test_metrics_are_rendered_at_most_once_a_second(clock: FakeClock) -> None:
    """All clients get the same bytes until a second has passed."""
    figures = Counting()
    handler = handler_of(figures, clock)
    bodies = [(await asked(handler, "/metrics")).body for _ in range(100)]
    assert bodies == [b"rendered 1\n"] * 100
    clock.advance(0.9)
    assert (await asked(handler, "/metrics")).body == b"rendered 1\n"
    clock.advance(0.1)
    assert (await asked(handler, "/metrics")).body == b"rendered 2\n"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/readyz?verbose", 200),
        ("HEAD", "/readyz", 200),
        ("GET", "/status", 200),
        ("GET", "/metrics", 200),
        ("GET", DOCUMENT, 200),
        ("GET", "/", 404),
        ("GET", "/reasons", 404),
        ("GET", "/verify", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/%6detrics", 404),
        ("POST", "/livez", 405),
        ("DELETE", "/metrics", 405),
        ("OPTIONS", "/status", 405),
    ],
)
async def test_each_path_has_its_answer(clock: FakeClock, method: str, path: str, status: int) -> None:
    """Unknown paths get 404, like a page that is off. Methods other than GET and HEAD get 405."""
    assert (await asked(handler_of(Counting(), clock), path, method)).status == status


@pytest.mark.parametrize("path", ["/", "/reasons"])
async def test_a_page_is_html_that_loads_nothing(clock: FakeClock, path: str) -> None:
    """No other site can embed it, no cache keeps it, and its security policy allows one style and nothing else."""

    async def status(_named: bool) -> GateStatus | None:
        return status_with()

    answer = await asked(handler_of(Counting(), clock, status), path)
    assert (answer.status, answer.content_type, answer.charset) == (200, "text/html", "utf-8")
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert [part.split()[0] for part in policy] == [
        "default-src",
        "style-src",
        "img-src",
        "base-uri",
        "form-action",
        "frame-ancestors",
    ]
    assert policy[0] == "default-src 'none'"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"


async def test_the_page_is_rendered_at_most_once_a_second(clock: FakeClock) -> None:
    """Workers are asked only then, also if many clients open the page at the same time."""
    times = 0

    async def status(_named: bool) -> GateStatus | None:
        nonlocal times
        times += 1
        await asyncio.sleep(0)
        return status_with()

    handler = handler_of(Counting(), clock, status)
    await asyncio.gather(*(asked(handler, "/") for _ in range(50)))
    clock.advance(0.9)
    await asked(handler, "/")
    assert times == 1
    clock.advance(0.1)
    await asked(handler, "/")
    assert times == 2


@pytest.mark.parametrize("path", ["/", "/reasons", "/status", "/metrics", DOCUMENT, "/other"])
async def test_with_a_policy_everything_but_probes_needs_a_token(clock: FakeClock, path: str) -> None:
    """Not even the existence of a path is shown without one."""
    figures, guard = Counting(), Guarded("metrics")
    handler = handler_of(figures, clock, guard=guard)
    answer = await asked(handler, path)
    assert (answer.status, answer.text) == (401, "401 no_credential\n")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert figures.times == 0
    assert (await asked(handler, path, authorization="good")).status != 401


@pytest.mark.parametrize("path", ["/livez", "/healthz", "/readyz"])
async def test_probes_need_no_token(clock: FakeClock, path: str) -> None:
    """They work while no token can be checked."""
    guard = Guarded("metrics")
    answer = await asked(handler_of(Counting(), clock, guard=guard), path)
    assert (answer.status, answer.text) == (200, "ok")
    assert guard.asked == []


@pytest.mark.parametrize("ready", [True, False], ids=["ready", "not ready"])
async def test_the_reasons_of_a_probe_need_a_token(clock: FakeClock, ready: bool) -> None:
    """The status of the answer is the same."""
    readiness = Readiness(ready, (Check("issuer/corp", ready, "no route to 10.0.0.1"),))
    handler = handler_of(Counting(), clock, guard=Guarded("metrics"), readiness=readiness)
    for path in ("/readyz", "/readyz?verbose"):
        answer = await asked(handler, path)
        assert answer.status == (200 if ready else 503)
        assert answer.text == ("ok" if ready else "readyz check failed\n")
    assert "issuer/corp" in ((await asked(handler, "/readyz?verbose", authorization="good")).text or "")


async def test_the_guard_sees_the_request(clock: FakeClock) -> None:
    """The method and the target are those of the client's request, with the query, and as they were sent."""
    guard = Guarded("metrics")
    await asked(handler_of(Counting(), clock, guard=guard), "/%6detrics?a=b", "HEAD")
    [request] = guard.asked
    assert (request.method, request.target, request.host) == ("HEAD", "/%6detrics?a=b", None)


def test_a_request_does_not_show_its_headers() -> None:
    """They contain the token."""
    request = AdminRequest(headers=((b"Authorization", b"Bearer x"),), method="GET", target="/", host=None)
    assert "Bearer" not in repr(request)


async def identities(clock: FakeClock, guard: Guarded, **request: str) -> bool:
    """Return whether the page for a request may contain identities."""
    asked_for: list[bool] = []

    async def status(named: bool) -> GateStatus | None:
        asked_for.append(named)
        return status_with()

    await asked(handler_of(Counting(), clock, status, guard=guard), "/", **request)
    [named] = asked_for
    return named


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("localhost:9090", True),
        ("127.0.0.1:9090", True),
        ("[::1]:9090", True),
        ("LOCALHOST", True),
        ("rebound.example:9090", False),
        ("127.0.0.1.example", False),
        ("10.0.0.1:9090", False),
        ("", False),
        ("a b", False),
    ],
)
async def test_without_a_policy_only_a_name_of_this_machine_shows_identities(
    clock: FakeClock, host: str, named: bool
) -> None:
    """A page of another site whose name leads to loopback sends its own name."""
    assert await identities(clock, Guarded(), host=host) is named


async def test_with_a_policy_an_identity_shows_identities(clock: FakeClock) -> None:
    """The host does not matter. A request that is allowed without an identity sees none."""
    assert await identities(clock, Guarded("metrics"), authorization="good")
    assert not await identities(clock, Guarded("metrics"), authorization="anonymous", host="localhost")


async def test_pages_with_and_without_identities_are_kept_apart(clock: FakeClock) -> None:
    """Both are rendered at most once a second."""

    async def status(named: bool) -> GateStatus | None:
        return status_with(recent=() if named else None)

    handler = handler_of(Counting(), clock, status)
    for host, shown in (("localhost", True), ("gate", False), ("localhost", True)):
        answer = await asked(handler, "/", host=host)
        assert ("Recent decisions" in (answer.text or "")) is shown
