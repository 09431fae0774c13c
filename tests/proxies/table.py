"""The table of docs/proxies.md: the observations of the suite for each proxy."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[2] / "docs" / "proxies.md"
_BEGIN: Final = "<!-- table: `make proxy-table` writes it -->\n"
_END: Final = "<!-- end of table -->\n"
ROWS: Final = (
    "a valid token reaches the app, which gets the identity only from authgate",
    "identity headers sent by the client never reach the app",
    "identity headers in trailers never reach the app",
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
    "a client's other forwarding headers never reach the app",
    "a denial shows the request id, which the proxy and authgate log",
    "the app gets the request id, which the proxy logs",
    "a client's `X-Request-Id` is replaced everywhere",
    "no token or cookie is in the proxy's logs, even if authgate or the app fails",
    "no token or an invalid token: 401 with the reason",
    "not permitted: 403 with the reason",
    "CORS preflights pass if the policy allows them, and no other request does",
    "authgate's 503 reaches the client",
    "authgate is down, hangs, closes the connection or sends an unknown status: 503",
    "the API server hangs: authgate's 503 with its reason",
    "a different server's 200 on authgate's port does not open the app",
    "the app's errors reach the client unchanged",
    "uploads of 10 MB reach the app and are not sent to authgate",
    "WebSocket upgrades pass, other upgrades do not",
    "HTTP/2 clients (`--tls`)",
    "gRPC apps (`--app h2c://…`)",
    "2,000 requests need few connections to authgate",
    "no spelling of a path opens a different path",
    "`CONNECT` and request targets that are not a path never reach the app",
    "authgate and the app see the same host",
    "a token of 15 KB and 300 groups arrive complete",
    "a token in the query or in a cookie is not accepted",
    "`--cookie`",
    "`--token-header`",
    "`--open`",
    "`--error-pages`",
    "`--header`",
    "`--preset kubernetes`",
    "`--preset remote`",
    "`--gate unix:…`",
    "`--keep-authorization`",
)
"""The rows of the table, in the order of the page."""

PASSED: Final = "yes"


@dataclass(slots=True)
class Results:
    """The results of tests so far: the observation for each row and proxy, or the failure."""

    cells: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    failed: bool = False

    def add(self, row: str, proxy: str, seen: str) -> None:
        """Record the observation of one test."""
        self.cells.setdefault((row, proxy), set()).add(seen)

    def complete(self, proxies: list[str]) -> bool:
        """Whether every row was tested for every proxy, without a failure."""
        return not self.failed and all((row, proxy) in self.cells for row in ROWS for proxy in proxies)

    def table(self, columns: dict[str, str]) -> str:
        """Return the table in Markdown; `columns` are the titles by the proxies' names."""
        lines = ["| | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
        for row in ROWS:
            cells = [self._cell(row, proxy) for proxy in columns]
            lines.append("| " + " | ".join([row, *cells]) + " |")
        return "\n".join(lines) + "\n"

    def _cell(self, row: str, proxy: str) -> str:
        special = sorted(self.cells[row, proxy] - {PASSED})
        return "; ".join(special) or PASSED


def written(page: str) -> str:
    """Return the table in a page."""
    return _place(page)[1]


def replaced(page: str, table: str) -> str:
    """Return the page with this table."""
    place = _place(page)
    return page[: place.start(1)] + table + page[place.end(1) :]


def _place(page: str) -> re.Match[str]:
    found = re.search(re.escape(_BEGIN) + r"\n(.*?)\n" + re.escape(_END), page, re.DOTALL)
    assert found, f"{PAGE.name} has no place for the table"
    return found
