"""The admin port's answers, and how often metrics are rendered."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from authgate.server.admin import AdminHandler, Check, Readiness
from tests.support.clock import FakeClock

DOCUMENT = "/.well-known/openid-configuration"


class Counting:
    """Metrics that change each time they are rendered."""

    def __init__(self) -> None:
        self.times = 0

    def render(self) -> bytes:
        self.times += 1
        return b"rendered %d\n" % self.times


def handler_of(figures: Counting, clock: FakeClock) -> AdminHandler:
    """Return the handler of a gate that is ready and signs tokens."""
    ready = Readiness(True, (Check("shutdown", True, "not ending"),))
    return AdminHandler(figures, lambda: ready, lambda: {DOCUMENT: b"{}"}, clock.monotonic)


async def asked(handler: AdminHandler, path: str, method: str = "GET") -> web.Response:
    """Return the answer to a request."""
    return await handler(make_mocked_request(method, path))


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
        ("GET", "/verify", 404),
        ("GET", "/metrics/", 404),
        ("POST", "/livez", 405),
        ("DELETE", "/metrics", 405),
        ("OPTIONS", "/status", 405),
    ],
)
async def test_each_path_has_its_answer(clock: FakeClock, method: str, path: str, status: int) -> None:
    """Unknown paths get 404, and methods other than GET and HEAD get 405."""
    assert (await asked(handler_of(Counting(), clock), path, method)).status == status
