"""The error pages: their texts, their accessibility, and that they load nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from authgate.errors import REASONS
from authgate.tools.snippets import SNIPPETS
from authgate.tools.snippets.pages import PAGES, Page, Places, page_reasons

ROOT = Path(__file__).parents[4]
EACH = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.status))
_RULE = re.compile(r"--(ground|text|quiet|line): #([0-9a-f]{6});")
NAMED = re.compile(r"[a-z][a-z_]{1,40}")
HARMLESS = re.compile(r"[A-Za-z0-9 ,.:;'()-]{1,120}")


class Reader(HTMLParser):
    """The elements and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[tuple[str, str], str | None] = {}
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an element."""
        self.tags.append(tag)
        self.attributes |= {(tag, name): value for name, value in attrs}

    def handle_data(self, data: str) -> None:
        """Record a text."""
        self.text.append(data.strip())


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour of six hexadecimal digits (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.2)."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_is_computed_as_in_wcag() -> None:
    """Black on white is 21 to 1, and a known grey on white has just the ratio of level AA."""
    assert contrast("000000", "ffffff") == pytest.approx(21)
    assert contrast("777777", "ffffff") < 4.5 < contrast("767676", "ffffff")


@pytest.mark.parametrize(("scheme", "index"), [("light", 0), ("dark", 1)])
@pytest.mark.parametrize(("name", "least"), [("text", 7.0), ("quiet", 4.5), ("line", 3.0)])
def test_pages_have_enough_contrast(scheme: str, index: int, name: str, least: float) -> None:
    """All contrast is WCAG AA, and that of the main text is AAA, in both colour schemes."""
    style = PAGES[0].html(Places())
    colours = {
        key: [value for found, value in _RULE.findall(style) if found == key] for key in ("ground", name)
    }
    assert contrast(colours["ground"][index], colours[name][index]) >= least, scheme


@EACH
def test_a_page_loads_nothing(page: Page) -> None:
    """It has no script, image or link, and its own policy forbids them."""
    reader = Reader(page.html(Places("words", "code", "id")))
    assert set(reader.tags) == {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "h1",
        "p",
        "dl",
        "dt",
        "dd",
    }
    names = {name for _, name in reader.attributes}
    assert names <= {"lang", "charset", "name", "content", "http-equiv"}
    assert "url(" not in page.html(Places())
    assert "@import" not in page.html(Places())
    assert "default-src 'none'" in page.html(Places())


@EACH
def test_a_page_has_what_readers_need(page: Page) -> None:
    """It has a language, its own title, one heading, and a width that follows the window."""
    reader = Reader(page.html(Places()))
    assert reader.attributes["html", "lang"] == "en"
    assert f"{page.status}: {page.title}" in reader.text
    assert reader.tags.count("h1") == 1
    assert "width=device-width" in page.html(Places())


def test_a_page_shows_the_proxys_values() -> None:
    """Unknown values have no line."""
    shown = Reader(PAGES[0].html(Places(code="CODE", request_id="ID"))).text
    assert [shown[shown.index(name) + 1] for name in ("Reason code", "Request id")] == ["CODE", "ID"]
    assert "Reason" not in shown


def test_every_reason_has_a_text() -> None:
    """Codes and texts have only characters that are safe in every proxy's configuration."""
    shown = page_reasons()
    assert {reason["code"] for reason in shown} == {
        reason.value for reason, info in REASONS.items() if info.status in {401, 403, 503}
    }
    assert [reason for reason in shown if not NAMED.fullmatch(reason["code"])] == []
    assert [reason for reason in shown if not HARMLESS.fullmatch(reason["words"])] == []


@EACH
def test_the_folder_holds_the_pages(page: Page) -> None:
    """deploy/proxies/errors has them without the placeholders of a proxy (`make proxies`)."""
    written = (ROOT / "deploy" / "proxies" / "errors" / f"{page.status}.html").read_text()
    assert written == page.html(Places())


def test_a_page_is_readable_by_every_proxy() -> None:
    """For Envoy, a percent sign begins a placeholder."""
    for snippet in SNIPPETS.values():
        if snippet.pages is not None:
            for page in PAGES:
                assert "%" not in page.html(Places())
