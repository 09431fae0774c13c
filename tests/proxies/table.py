"""The table of docs/proxies.md: what the suite saw of each proxy."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[2] / "docs" / "proxies.md"
_BEGIN: Final = "<!-- table: `make proxy-table` writes it -->\n"
_END: Final = "<!-- end of table -->\n"
ROWS: Final = (
    "a good token opens the app, which learns who calls from the gate alone",
    "identity headers of the client's own never reach the app",
    "nor do they in trailers",
    "a client's `X-Forwarded-For` never reaches the app",
    "a client's `X-Forwarded-Host` never reaches the app",
    "a client's `X-Forwarded-Proto` never reaches the app",
    "a client's `X-Forwarded-Port` never reaches the app",
    "a client's `X-Forwarded-Prefix` never reaches the app",
    "a client's `X-Forwarded-Server` never reaches the app",
    "a client's `Forwarded` never reaches the app",
    "a client's `X-Real-IP` never reaches the app",
    "a client's `X-Original-URL` never reaches the app",
    "a client's `X-Rewrite-URL` never reaches the app",
    "a client's `X-HTTP-Method-Override` never reaches the app",
    "a client's `X-HTTP-Method` never reaches the app",
    "a client's `X-Method-Override` never reaches the app",
    "nor do a client's other headers of this kind",
    "no token, a bad token: 401 and why",
    "not allowed: 403 and why",
    "CORS preflights pass where the policy says so, and nothing with them",
    "the gate's 503 reaches the client",
    "the gate is down, hangs, closes or speaks something else: 503",
    "the API server hangs: the gate's 503, with its reason",
    "another server's 200 on the gate's port opens nothing",
    "the app's own errors stay what they are",
    "uploads of 10 MB arrive, and pass by the gate",
    "WebSocket passes, and no other upgrade",
    "HTTP/2 clients (`--tls`)",
    "gRPC apps (`--app h2c://…`)",
    "2,000 requests need few connections to the gate",
    "no spelling of a path opens another",
    "targets that are no path, and `CONNECT`, never reach the app",
    "the host that the gate judges is the host that the app sees",
    "a token of 15 KB and 300 groups arrive whole",
    "a token in the query or in a cookie opens nothing",
    "`--cookie`",
    "`--open`",
    "`--error-pages`",
    "`--header`",
    "`--preset kubernetes`",
    "`--preset remote`",
    "`--gate unix:…`",
    "`--keep-authorization`",
)
"""What is shown, in the order of the page."""

PASSED: Final = "yes"


@dataclass(slots=True)
class Results:
    """What tests have told so far: for each row and proxy what was seen, or that it failed."""

    cells: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    failed: bool = False

    def add(self, row: str, proxy: str, seen: str) -> None:
        """Remembers what one test saw."""
        self.cells.setdefault((row, proxy), set()).add(seen)

    def complete(self, proxies: list[str]) -> bool:
        """Whether every row was shown for every proxy, and nothing failed."""
        return not self.failed and all((row, proxy) in self.cells for row in ROWS for proxy in proxies)

    def table(self, columns: dict[str, str]) -> str:
        """The table in Markdown; `columns` are the titles by the proxies' names."""
        lines = ["| | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
        for row in ROWS:
            cells = [self._cell(row, proxy) for proxy in columns]
            lines.append("| " + " | ".join([row, *cells]) + " |")
        return "\n".join(lines) + "\n"

    def _cell(self, row: str, proxy: str) -> str:
        special = sorted(self.cells[row, proxy] - {PASSED})
        return "; ".join(special) or PASSED


def written(page: str) -> str:
    """The table that stands in a page."""
    return _place(page)[1]


def replaced(page: str, table: str) -> str:
    """The page with this table."""
    place = _place(page)
    return page[: place.start(1)] + table + page[place.end(1) :]


def _place(page: str) -> re.Match[str]:
    found = re.search(re.escape(_BEGIN) + r"\n(.*?)\n" + re.escape(_END), page, re.DOTALL)
    assert found, f"{PAGE.name} has no place for the table"
    return found
