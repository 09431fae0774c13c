"""The error pages as a real browser shows them, in light and in dark."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.proxies.programs import PROGRAMS
from tests.proxies.site import protected
from tests.support.png import read_png
from tests.support.tools import require_tool

PAGES = Path(__file__).parents[2] / "deploy" / "proxies" / "errors"
SCHEMES = {"dark": "0", "light": "1"}
"""Blink's numbers for the values of prefers-color-scheme."""
WIDTH, HEIGHT = 480, 360
_PATIENCE = 120  # seconds; a browser is slow to start on a machine that is busy
# Root's browser in a container cannot create the user namespaces of its sandbox.
_AS_ROOT = ["--no-sandbox"] if os.geteuid() == 0 else []


async def browse(folder: Path, *arguments: str) -> str:
    """Run Chromium without a window and with a new profile; return its output."""
    chromium = require_tool("chromium", "it shows the error pages")
    quiet = ["--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", *_AS_ROOT]
    process = await asyncio.create_subprocess_exec(
        str(chromium),
        *quiet,
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={WIDTH},{HEIGHT}",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    return printed.decode()


def colour(page: Path, name: str, scheme: str) -> tuple[int, int, int]:
    """Return a colour of the page's style. The colours of the dark scheme are the second match."""
    found = re.findall(rf"--{name}: #([0-9a-f]{{6}});", page.read_text())[scheme == "dark"]
    return int(found[:2], 16), int(found[2:4], 16), int(found[4:], 16)


@pytest.mark.parametrize(
    ("status", "scheme"), [(401, "light"), (401, "dark"), (403, "light"), (503, "dark")], ids=str
)
async def test_a_page_is_shown(tmp_path: Path, status: int, scheme: str) -> None:
    """The text is readable on the background of each colour scheme."""
    page, shot = PAGES / f"{status}.html", tmp_path / "shot.png"
    setting = f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}"
    await browse(tmp_path, setting, f"--screenshot={shot}", page.as_uri())
    picture = read_png(shot.read_bytes())
    assert (picture.width, picture.height) == (WIDTH, HEIGHT)
    counted = Counter(picture.pixels)
    [(ground, size)] = counted.most_common(1)
    assert ground == colour(page, "ground", scheme)
    assert WIDTH * HEIGHT * 0.5 < size < WIDTH * HEIGHT * 0.99
    assert counted[colour(page, "text", scheme)] > 100
    assert len(counted) > 10


async def test_a_browser_behind_a_proxy_sees_the_reason(tmp_path: Path) -> None:
    """A browser that opens a protected page without a token gets the error page with the reason."""
    async with protected(PROGRAMS["nginx"], tmp_path / "proxy", error_pages=True) as site:
        shown = await browse(tmp_path, "--dump-dom", f"http://{site.address}/")
        assert site.app.seen == []
    assert "<h1>A token is required</h1>" in shown
    assert "<dd>the request has no token</dd>" in shown
