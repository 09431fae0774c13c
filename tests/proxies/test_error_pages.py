"""`--error-pages`: the answers to denied requests for browsers and programs, into which clients cannot inject text."""

from __future__ import annotations

import html
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from authgate.errors import REASONS, Reason
from authgate.tools.snippets import Options
from tests.proxies.relay import Fault
from tests.proxies.site import protected
from tests.proxies.test_refusals import unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.proxies.conftest import Note
    from tests.proxies.programs import Program
    from tests.proxies.site import Site

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.row("`--error-pages`")]

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
ATTACK = "<script>alert(1)</script>"
_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LISTED = re.compile(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>")


class Client:
    """Send requests to the site, and check that each is denied without reaching the app."""

    def __init__(self, site: Site, session: aiohttp.ClientSession) -> None:
        self.site = site
        self._session = session

    async def page(
        self, status: int, *, method: str = "GET", token: str | None = None, **headers: str
    ) -> dict[str, str]:
        """Return the list at the end of the page that a browser gets."""
        answer, text = await self._asked(status, method, token, {"Accept": BROWSER, **headers})
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert text.startswith("<!DOCTYPE html>")
        assert text.endswith("</html>\n")
        assert re.search(r"{{|}}|<!--|%RE|script>", text) is None
        shown = {name: html.unescape(value) for name, value in _LISTED.findall(text)}
        assert shown.pop("Status") == str(status)
        await self._found(answer, shown.pop("Request id"))
        return shown

    async def json(self, status: int, *, token: str | None = None, **headers: str) -> dict[str, Any]:
        """Return the answer for other clients, without the request id."""
        answer, _ = await self._asked(status, "GET", token, headers)
        assert answer.headers["Content-Type"] == "application/json"
        shown: dict[str, Any] = await answer.json()
        await self._found(answer, shown.pop("request_id"))
        return shown

    async def _found(self, answer: aiohttp.ClientResponse, request_id: str) -> None:
        """Check that the id is the one in the header, and finds one line of the proxy's log, with status and method."""
        assert _ID.fullmatch(request_id)
        assert answer.headers.getall("X-Request-Id") == [request_id]
        line = await self.site.logged(request_id)
        assert (str(answer.status) in line, answer.method in line) == (True, True)

    async def _asked(
        self, status: int, method: str, token: str | None, headers: dict[str, str]
    ) -> tuple[aiohttp.ClientResponse, str]:
        if token is not None:
            headers = {"Authorization": f"Bearer {token}", **headers}
        url = f"http://{self.site.address}/a?{ATTACK}"
        async with self._session.request(method, url, headers=headers) as answer:
            text = await answer.text()
        assert answer.status == status
        assert answer.headers.getall("Cache-Control") == ["no-store"]
        assert ("Retry-After" in answer.headers) is (status == 503)
        assert len(answer.headers.getall("WWW-Authenticate", [])) == (status != 503)
        assert self.site.app.seen == []
        return answer, text


@asynccontextmanager
async def with_pages(program: Program, folder: Path, note: Note) -> AsyncIterator[Client | None]:
    """Yield a client of a site with error pages, or None if the proxy cannot have them, which the table shows."""
    if program.snippet.refusal(Options(error_pages=True)) is not None:
        note("not supported")
        yield None
        return
    async with (
        protected(program, folder / "proxy", error_pages=True) as site,
        aiohttp.ClientSession() as session,
    ):
        yield Client(site, session)


def in_words(program: Program, reason: Reason) -> dict[str, str]:
    """Return what a page shows: the reason's text, if the proxy can choose texts, and its code."""
    words = {"Reason": REASONS[reason].meaning}
    return (words if program.snippet.pages and program.snippet.pages.words else {}) | {"Reason code": reason}


async def test_a_page_for_a_browser(program: Program, tmp_path: Path, note: Note) -> None:
    """It shows the reason, for every method."""
    async with with_pages(program, tmp_path, note) as client:
        if client is None:
            return
        missing = in_words(program, Reason.NO_CREDENTIAL)
        assert await client.page(401) == missing
        assert await client.page(401, method="POST") == missing
        shown = await client.page(403, token=client.site.token("mallory"))
        assert shown == in_words(program, Reason.DENIED)
        head = await client.site.ask("HEAD / HTTP/1.1", f"Accept: {BROWSER}")
        assert (head.status, head.body, head.reason) == (401, b"", "no_credential")


async def test_a_page_while_the_gate_is_unavailable(program: Program, tmp_path: Path, note: Note) -> None:
    """The gate's own 503 shows its reason, if the proxy keeps it; without a gate there is no reason."""
    async with with_pages(program, tmp_path, note) as client:
        if client is None:
            return
        names = in_words(program, Reason.REVIEW_UNAVAILABLE)
        unknown = {"Reason code": "-"}  # Envoy's text for a missing value
        if "Reason" in names:
            unknown = {"Reason": "unknown", "Reason code": ""}
        token = client.site.token()
        async with unavailable(client.site):
            shown = await client.page(503, token=token)
            reason = (await client.json(503, token=token))["reason"]
        assert shown == (unknown if program.constant_503 else names)
        assert reason == (None if program.constant_503 else "review_unavailable")
        async with client.site.gate.failing(Fault.DOWN):
            assert await client.page(503, token=token) == unknown
            shown = await client.json(503, token=token)
        assert (shown["error"], shown["reason"] or "") == ("unavailable", "")


@pytest.mark.parametrize("accept", ["application/json", "*/*"])
async def test_json_for_programs(program: Program, tmp_path: Path, note: Note, accept: str) -> None:
    """Clients that do not accept text/html get JSON."""
    async with with_pages(program, tmp_path, note) as client:
        if client is None:
            return
        missing = {"error": "unauthorized", "reason": "no_credential"}
        assert await client.json(401, Accept=accept) == missing
        shown = await client.json(403, token=client.site.token("mallory"), Accept=accept)
        assert shown == {"error": "forbidden", "reason": "denied"}


async def test_no_text_of_a_client_is_repeated(program: Program, tmp_path: Path, note: Note) -> None:
    """It is neither in the page nor in JSON, whatever header has it."""
    lies = {
        "X-Request-Id": ATTACK,
        "X-Auth-Reason": ATTACK,
        "User-Agent": ATTACK,
        "X-Forwarded-Host": ATTACK,
        "X-Authgate-Words": ATTACK,
    }
    async with with_pages(program, tmp_path, note) as client:
        if client is None:
            return
        assert await client.page(401, **lies) == in_words(program, Reason.NO_CREDENTIAL)
        shown = await client.json(401, Accept=f"application/json;x={ATTACK}", **lies)
        assert shown == {"error": "unauthorized", "reason": "no_credential"}


async def test_the_apps_own_errors_are_unchanged(program: Program, tmp_path: Path, note: Note) -> None:
    """A page replaces only answers of the gate."""
    async with with_pages(program, tmp_path, note) as client:
        if client is None:
            return
        for status in (401, 403, 500, 503):
            reply = await client.site.ask(
                f"GET /status/{status} HTTP/1.1", f"Accept: {BROWSER}", token=client.site.token()
            )
            assert (reply.status, reply.body) == (status, b"hello from the app")
