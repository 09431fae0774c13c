"""The page of the admin port in a real browser: on a phone, a tablet and a desktop, in light and in dark."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.browser import browser
from tests.support.service import knowing, published, running, trusting
from tests.support.workers import Crew

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.browser import Page
    from tests.support.gate import Gate

WHY = "it shows the page of the admin port"
WIDTHS = (360, 820, 1366)
HOSTILE_KID = "<script>alert(1)</script>\u202e" + "k" * 300

# The contrast of every text, and of every chart, with the nearest background behind it (WCAG 2.2, 1.4.3 and 1.4.11).
CONTRAST = """
(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = channels(colour).map((c) => c / 255).map((c) =>
      c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      const alpha = channels(colour)[3];
      if (alpha === undefined || alpha === 1) return colour;
    }
    throw new Error("no background");
  };
  const ratio = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const weak = [];
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    if (!node.data.trim()) continue;
    const element = node.parentElement;
    const found = ratio(getComputedStyle(element).color, ground(element));
    seen += 1;
    if (found < 4.5) weak.push(`${node.data.trim().slice(0, 40)}: ${found.toFixed(2)}`);
  }
  for (const path of document.querySelectorAll("svg path")) {
    const found = ratio(getComputedStyle(path).fill, ground(path.closest("li")));
    seen += 1;
    if (found < 3) weak.push(`chart: ${found.toFixed(2)}`);
  }
  return {seen, weak};
})()
"""
TARGETS = """
[...document.querySelectorAll("nav a, summary")].map((link) => link.getBoundingClientRect())
  .filter((box) => box.height < 24).length
"""


@asynccontextmanager
async def gate_with_everything() -> AsyncIterator[Gate]:
    """Run a gate with issuers that work and that fail, hostile texts, rules, and decisions of several kinds."""
    hostile = Issuer("https://hostile.example.com", SigningKey.generate("ES256", kid=HOSTILE_KID))
    rules = [
        {"methods": ["GET"], "paths": ["/public/*"], "anonymous": True},
        {
            "hosts": ["*.example.com"],
            "paths": ["/a-rather-long-path/*/reports"],
            "allow": [{"groups": ["x"]}],
        },
    ]
    async with published() as (issuer, _):
        document = {
            "jwt": [
                trusting(issuer),
                knowing(hostile, name="hostile"),
                trusting("https://127.0.0.1:1", "down"),
            ],
            "server": {"proxy": "nginx"},
            "admin": {"recentDecisions": 50},
            "policies": {
                "default": {},
                "ruled": {"rules": rules},
                **{f"team-{number}": {"allow": [{"users": ["x"]}]} for number in range(20)},
            },
        }
        async with running(document) as gate:
            await gate.passes(issuer.mint(), within=30)
            for token in (None, "no token", issuer.mint(lifetime=-600), issuer.mint(audience="other")):
                for _ in range(3):
                    await gate.request(token)
            original = [
                ("X-Original-Method", "GET"),
                ("X-Original-URI", f"/{'long' * 30}?x"),
                ("X-Original-Host", "app.example.com"),
                ("X-Forwarded-For", "2001:db8::1234:5678:9abc:def0"),
            ]
            await gate.request(issuer.mint("user" * 20), "/policies/team-0/verify", original)
            yield gate


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_fits_and_is_readable(tmp_path: Path, scheme: str) -> None:
    """It never scrolls sideways, also with open lists; every text has WCAG's contrast; links are large enough."""
    async with gate_with_everything() as gate, browser(tmp_path, WHY) as page:
        for path in ("/", "/reasons"):
            for width in WIDTHS:
                await page.open(f"http://{gate.admin_address}{path}", width=width, scheme=scheme)
                for opened in (False, True):
                    if opened:
                        await page.evaluate(
                            "document.querySelectorAll('details').forEach((one) => one.open = true)"
                        )
                    assert await page.evaluate("document.documentElement.scrollWidth") == width
                    contrast = await page.evaluate(CONTRAST)
                    assert contrast["weak"] == []
                    assert contrast["seen"] > 50
                    assert await page.evaluate(TARGETS) == 0


async def test_the_browser_has_nothing_to_complain_about(tmp_path: Path) -> None:
    """The page loads nothing else, its style is allowed by its policy, and no script of a stranger runs."""
    async with gate_with_everything() as gate, browser(tmp_path, WHY) as page:
        url = f"http://{gate.admin_address}/"
        await page.open(url, width=1366)
        assert page.requests == [url]
        assert page.complaints == []
        text = await page.evaluate("document.body.innerText")
        assert "<script>alert(1)</script>\\u202ekkk" in text
        assert await page.evaluate("document.scripts.length") == 0
        for shown in (
            "authenticated",
            "token_expired",
            "audience_mismatch",
            "issuer/down",
            "/policies/ruled/verify",
        ):
            assert shown in text
        assert await page.evaluate("document.querySelector('svg path').getBoundingClientRect().height") > 10


async def test_the_page_is_used_with_the_keyboard(tmp_path: Path) -> None:
    """The first stop skips to the content, and each stop has a visible outline."""
    async with gate_with_everything() as gate, browser(tmp_path, WHY) as page:
        await page.open(f"http://{gate.admin_address}/", width=820)
        assert await focused(page) == ("Skip to the content", "solid")
        for _ in range(7):
            name, outline = await focused(page)
            assert outline == "solid"
        assert name == "Reason codes"
        await press(page, "Enter", "\r")
        assert await page.evaluate("document.title") == "authgate: reason codes"


async def focused(page: Page) -> tuple[str, str]:
    """Press Tab; return the text of the focused element and the style of its outline."""
    await press(page, "Tab")
    focus = "document.activeElement"
    outline = await page.evaluate(f"getComputedStyle({focus}).outlineStyle")
    assert await page.evaluate(f"{focus}.getBoundingClientRect().left >= 0"), "it is off the screen"
    return await page.evaluate(f"{focus}.innerText"), outline


async def press(page: Page, key: str, text: str = "") -> None:
    """Press a key, and wait for a page that it opens."""
    event: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": {"Tab": 9, "Enter": 13}[key]}
    await page.call(
        "Input.dispatchKeyEvent", {"type": "keyDown", **event, **({"text": text} if text else {})}
    )
    if text:
        await page.loaded()
    await page.call("Input.dispatchKeyEvent", {"type": "keyUp", **event})


async def test_workers_are_shown_together(tmp_path: Path) -> None:
    """The page has the sum of all workers and the keys of each."""
    async with published() as (issuer, _):
        document = {"jwt": [trusting(issuer)]}
        async with Crew(tmp_path, document, workers=2) as crew:
            token = issuer.mint()
            for _ in range(20):
                async with type(crew.client)() as client:  # each connection reaches any of the workers
                    assert (await client.get(f"http://{crew.address}/verify", token)).status == 200
            body = (await crew.admin("/")).body
            assert "Figures of 2 workers" in body
            assert "usable in 2 of 2 workers" in body
            assert "20 decisions authenticated in the last hour" in body
            assert "2 serving; 0 restarts" in body
            assert issuer.key.kid is not None
            assert issuer.key.kid in body
            assert "(in 1 of 2 workers)" not in body


async def test_the_page_can_be_turned_off() -> None:
    """Then nothing is at its path."""
    issuer = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
    async with running({"jwt": [knowing(issuer)], "admin": {"page": False}}) as gate:
        assert (await gate.admin("/")).status == 404
        assert (await gate.admin("/reasons")).status == 404
        assert (await gate.admin("/status")).status == 200
