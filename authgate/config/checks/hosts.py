"""Conditions on the host, which ingress-nginx cannot report."""

from __future__ import annotations

import re
from collections.abc import Iterator

from authgate.config.checks.policies import HOLDERS
from authgate.config.problems import Finding
from authgate.config.reading.values import Pattern, Values

_TEXTS = re.compile(r"//[^\n]*|'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_READS_HOST = re.compile(r"(?<![\w.])\.?\s*request\s*\.\s*host\b")
_SENTENCE = (
    "cannot be decided with server.proxy: ingress-nginx: it builds X-Original-URL from the Host header, and a client"
    " can reach one virtual host while its Host header names another; write one policy for each Ingress instead, and"
    " name it in the Ingress' auth-url (/policies/NAME/verify)"
)


def findings_of_hosts(values: Values) -> Iterator[Finding]:
    """Tell which conditions on the host a client could evade behind ingress-nginx."""
    if values.text("server", "proxy") != "ingress-nginx":
        return
    for holder in HOLDERS:
        for path, _ in values.find(*holder, "hosts"):
            if values.has(*path):
                yield Finding(path, _SENTENCE)
        places: tuple[tuple[Pattern, ...], ...] = ((), ("allow", ...), ("deny", ...))
        for place in places:
            for path, text in values.texts(*holder, *place, "expression"):
                if _READS_HOST.search(_TEXTS.sub('""', text)):
                    yield Finding(path, f"reads request.host, which {_SENTENCE}")
