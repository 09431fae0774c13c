"""Pages for people whom the gate refuses, and the words on them: one template, with the places of each proxy in it.

What a proxy writes into a page is of closed sets or its own making: nothing that a client sends is repeated to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from authgate.errors import REASONS
from authgate.tools.snippets.template import render


@dataclass(frozen=True, slots=True)
class Places:
    """How a proxy writes into a page what it knows of one request; "" for what it does not know."""

    words: str = ""
    """The reason in words."""
    code: str = ""
    """The reason's code."""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says, whatever the reason."""

    status: int
    error: str
    """What JSON calls it."""
    title: str
    text: str
    advice: str

    @property
    def name(self) -> str:
        """The name of the page's file."""
        return f"authgate-{self.status}.html"

    def html(self, places: Places) -> str:
        """Return the page with the places of a proxy in it; with none, it is the same for every request."""
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
    raise ValueError(f"the page includes nothing, and not {name}")


PAGES: Final = (
    Page(
        401,
        "unauthorized",
        "A token is needed",
        "What you asked for is only for requests with a token. Yours had none, or one that is not accepted.",
        "Sign in again where you got your token. If that does not help, tell whoever runs this site what stands below.",
    ),
    Page(
        403,
        "forbidden",
        "This is not open to you",
        "It is known who you are, and what you asked for is not open to you.",
        "If it should be, tell whoever runs this site what stands below.",
    ),
    Page(
        503,
        "unavailable",
        "Try again in a moment",
        "It cannot be told at the moment whether what you asked for is open to you.",
        "Wait a few seconds and load the page again. If that does not help, tell whoever runs this site what stands"
        " below.",
    ),
)


def told_reasons() -> list[dict[str, str]]:
    """Return every reason that a page can tell, with its words."""
    statuses = {page.status for page in PAGES}
    return [
        {"code": reason.value, "words": info.meaning}
        for reason, info in REASONS.items()
        if info.status in statuses
    ]
