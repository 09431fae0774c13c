"""Names of request headers that apps and frameworks believe of a proxy, so that no client may send them."""

from __future__ import annotations

from typing import Final

REPLACED: Final = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto")
"""Headers that every proxy sets from what it sees itself."""
REMOVED: Final = (
    # where the client is, and what it asked the proxy for
    "Forwarded",
    "X-Forwarded-By",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Method",
    "X-Forwarded-Path",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Protocol",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Forwarded-Uri",
    "Front-End-Https",
    "X-Host",
    "X-HTTP-Host-Override",
    "X-Scheme",
    "X-Url-Scheme",
    # the client's address, under the names of other proxies and networks
    "CF-Connecting-IP",
    "Client-IP",
    "Fastly-Client-IP",
    "True-Client-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Original-For",
    "X-Original-Forwarded-For",
    "X-Originating-IP",
    "X-ProxyUser-IP",
    "X-Real-IP",
    # another URL or method than the one that the gate has judged
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Method-Override",
    "X-Original-Host",
    "X-Original-Method",
    "X-Original-Proto",
    "X-Original-URI",
    "X-Original-URL",
    "X-Override-URL",
    "X-Rewrite-URL",
    # what steers the app's server or framework
    "Proxy",
    "X-Accel-Mapping",
    "X-Middleware-Subrequest",
    "X-Sendfile-Type",
)
"""Headers that every proxy removes, or that a proxy takes from clients and sets by itself."""
