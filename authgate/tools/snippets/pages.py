"""Error pages for denied requests: one template, in which each proxy fills in its own placeholders.

A proxy fills in only fixed texts and its own values: nothing that a client sends is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from authgate.errors import REASONS
from authgate.tools.snippets.template import render


@dataclass(frozen=True, slots=True)
class Places:
    """A proxy's placeholders for values of a request; "" for values that it does not have."""

    words: str = ""
    """The reason in words."""
    code: str = ""
    """The reason's code."""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The texts of a page, which do not depend on the reason."""

    status: int
    error: str
    """The error code in JSON."""
    title: str
    text: str
    advice: str

    @property
    def name(self) -> str:
        """The name of the page's file."""
        return f"authgate-{self.status}.html"

    def html(self, places: Places) -> str:
        """Return the page with a proxy's placeholders; without any, it is the same for every request."""
        template = (files("authgate.tools.snippets") / "errors" / "page.html").read_text(encoding="utf-8")
        values = {
            "status": str(self.status),
            "title": self.title,
            "text": self.text,
            "advice": self.advice,
            "words": places.words,
            "code": places.code,
            "request_id": places.request_id,
        }
        return render(template, values, _no_other)


def _no_other(name: str) -> str:
    raise ValueError(f"the page cannot include {name}")


PAGES: Final = (
    Page(
        status=401,
        error="unauthorized",
        title="A token is required",
        text="This page is only available with a valid token. Your request had no token, or one that is not accepted.",
        advice="Get a new token, for example by signing in again. If that fails, send the operator the details below.",
    ),
    Page(
        status=403,
        error="forbidden",
        title="Access denied",
        text="Your token is valid, but you are not allowed to open this page.",
        advice="If you need access, send the operator of this site the details below.",
    ),
    Page(
        status=503,
        error="unavailable",
        title="Try again in a moment",
        text="Your access cannot be checked at the moment.",
        advice="Wait a few seconds and load the page again. If that fails, send the operator the details below.",
    ),
)


def page_reasons() -> list[dict[str, str]]:
    """Return every reason that a page can show, with its text."""
    statuses = {page.status for page in PAGES}
    return [
        {"code": reason.value, "words": info.meaning}
        for reason, info in REASONS.items()
        if info.status in statuses
    ]
