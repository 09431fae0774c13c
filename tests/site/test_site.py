"""The documentation site as it is built: its structure, and what a real browser shows on a phone and on a desktop."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from authgate.tools.field_help import all_fields
from tests.support.browser import browser
from tests.support.process import until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
WHY = "it shows the documentation site"
PAGES = (
    "",
    "start/",
    "start/sidecar/",
    "concepts/request/",
    "reference/commands/",
    "comparison/",
    "reasons/",
)

# The contrast of every visible text with its background (WCAG 2.2, 1.4.3). Translucent colours are blended.
CONTRAST = """
(() => {
  const parsed = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return {rgb: [r, g, b], a};
  };
  const over = (top, below) => top.rgb.map((c, i) => c * top.a + below[i] * (1 - top.a));
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const layer = parsed(getComputedStyle(at).backgroundColor);
      layers.push(layer);
      if (layer.a === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const weak = [];
  let seen = 0;
  const walker = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const behind = ground(element);
    const style = getComputedStyle(element);
    const text = over(parsed(style.color), behind);
    const [low, high] = [light(behind), light(text)].sort((a, b) => a - b);
    const found = (high + 0.05) / (low + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    seen += 1;
    if (found < (large ? 3 : 4.5)) weak.push(`${node.data.trim().slice(0, 40)}: ${found.toFixed(2)}`);
  }
  return {seen, weak};
})()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make site` builds it: a broken link or a page without a place fails."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The address of a server of the site."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Structure(HTMLParser):
    """The parts of a page that its readers' programs rely on."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.problems: list[str] = []
        self._article = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect headings of the article, images without a text, and resources of other hosts."""
        values = dict(attrs)
        self._article |= tag == "article"
        if tag == "html" and not values.get("lang"):
            self.problems.append("no language")
        if self._article and tag in {"h1", "h2", "h3", "h4", "h5", "h6"}:
            self.headings.append(int(tag[1]))
        if tag == "img" and not values.get("alt"):
            self.problems.append(f"no text for {values.get('src')}")
        source = values.get("src") or (values.get("href") if tag == "link" else None) or ""
        if source.startswith(("http:", "https:", "//")) and values.get("rel") != "canonical":
            self.problems.append(f"loads {source}")

    def handle_endtag(self, tag: str) -> None:
        """Notice the end of the article."""
        self._article &= tag != "article"


def test_pages_have_one_title_ordered_headings_texts_for_images_and_no_other_host(site: Path) -> None:
    """A screen reader can walk through every page, and no page loads anything from elsewhere."""
    pages = [page for page in site.rglob("*.html") if page.name != "404.html"]
    assert len(pages) > 50
    problems = []
    for page in pages:
        structure = Structure(page.read_text())
        problems += [f"{page.relative_to(site)}: {problem}" for problem in structure.problems]
        headings = structure.headings
        steps = [(above, below) for above, below in pairwise(headings) if below > above + 1]
        if headings[:1] != [1] or headings.count(1) != 1 or steps:
            problems.append(f"{page.relative_to(site)}: headings {headings[:8]} {steps}")
    assert problems == []


def test_the_reference_has_every_field(site: Path) -> None:
    """The page is generated from the models."""
    page = (site / "reference/configuration/index.html").read_text()
    missing = [path for path in all_fields() if "." in path and f"<code>{_escaped(path)}</code>" not in page]
    assert missing == []


def _escaped(path: str) -> str:
    return path.replace("<", "&lt;").replace(">", "&gt;")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pages_fit_and_are_readable(address: str, tmp_path: Path, scheme: str) -> None:
    """No page scrolls sideways on a phone or on a desktop, and all texts have enough contrast."""
    async with browser(tmp_path, WHY) as page:
        for path in PAGES:
            for width in (390, 1280):
                await page.open(f"{address}/{path}", width=width, scheme=scheme)
                assert await page.evaluate("document.documentElement.scrollWidth") == width, (path, width)
                contrast = await page.evaluate(CONTRAST)
                assert contrast["weak"] == [], (path, width)
                assert contrast["seen"] > 10
        assert page.complaints == []
        assert [url for url in page.requests if not url.startswith((address, "data:"))] == []


async def test_the_search_finds_a_reason_code(address: str, tmp_path: Path) -> None:
    """A reader who types a reason code gets the page that explains it."""
    async with browser(tmp_path, WHY) as page:
        await page.open(f"{address}/", width=1280)
        await page.evaluate(
            """(() => {
              const field = document.querySelector('input[data-md-component="search-query"]');
              field.focus();
              field.value = "audience_mismatch";
              field.dispatchEvent(new Event("input", {bubbles: true}));
              field.dispatchEvent(new KeyboardEvent("keyup", {bubbles: true}));
            })()"""
        )

        async def found() -> bool:
            links = await page.evaluate(
                "[...document.querySelectorAll('.md-search-result__link')].map((link) => link.href)"
            )
            return any("/reasons/" in link for link in links)

        await until(found, within=60)
