"""Facts that several packages share, each defined once: proxies, headers, algorithms and Kubernetes' own names.

This module imports nothing of authgate, so every layer can use it.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Proxy = Literal["nginx", "ingress-nginx", "envoy", "traefik", "caddy", "haproxy"]
"""The values of `server.proxy`."""

DEFAULT_POLICY: Final = "default"
"""The policy of `/verify`."""

# --- identity headers: what authgate sends to the app ---

Preset = Literal["oauth2-proxy", "kubernetes", "remote", "none"]
"""The values of `headers.preset`."""
PRESETS: Final[tuple[Preset, ...]] = get_args(Preset)
DEFAULT_PRESET: Final[Preset] = "oauth2-proxy"
PRESET_PREFIXES: Final[Mapping[Preset, str]] = MappingProxyType(
    {"oauth2-proxy": "X-Auth-Request-", "kubernetes": "X-Remote-", "remote": "Remote-"}
)
"""How every header name of a preset starts. The preset `none` has no headers."""

FORWARD_PREFIX: Final = "X-Auth-Forward-"
"""How the headers start that hold a cookie, URI or WebSocket protocol without the token."""
REASON_HEADER: Final = "X-Auth-Reason"

IDENTITY_PREFIXES: Final = (*PRESET_PREFIXES.values(), FORWARD_PREFIX)
"""Name prefixes that only authgate may send. Client headers with one of them are removed, whichever preset is set."""

OTHER_IDENTITY_HEADERS: Final = (
    "X-Remote-Groups",
    "X-Forwarded-User",
    "X-Forwarded-Groups",
    "X-Forwarded-Email",
    "X-Forwarded-Preferred-Username",
)
"""Identity headers of other authentication proxies, such as oauth2-proxy. An app may trust them, so client headers with
these names are removed."""

_RESERVED: Final = (
    "accept|accept-.*|authorization|cache-control|connection|content-.*|cookie|date|expect|forwarded|host|keep-alive|"
    "proxy-.*|retry-after|server|set-cookie|te|trailer|transfer-encoding|upgrade|via|www-authenticate|"
    f"{FORWARD_PREFIX.lower()}.*|{REASON_HEADER.lower()}|x-forwarded-.*|x-original-.*|x-real-ip"
)
IDENTITY_HEADER_PATTERN: Final = rf"(?!(?i:{_RESERVED})$)[A-Za-z][A-Za-z0-9-]{{0,63}}"
"""A regular expression for names in `headers.set`, `identityToken.header` and claim mappings of roles."""

# --- client headers that apps and frameworks trust because a proxy normally sets them ---

REPLACED_HEADERS: Final = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto")
"""Every proxy sets these itself from what it sees."""
REMOVED_HEADERS: Final = (
    # the client's address and what it requested from the proxy
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
    # a URL or method other than the one that authgate decided on
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
    # instructions to the app's server or framework
    "Proxy",
    "X-Accel-Mapping",
    "X-Middleware-Subrequest",
    "X-Sendfile-Type",
)
"""Every proxy removes these, or replaces the client's value with its own."""

# --- signature algorithms (RFC 7518, section 3.1; RFCs 8037, 9864 and 9964) ---

SigningAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
"""Algorithms that authgate can also sign with (RFC 7518, RFC 8037)."""
Algorithm = Literal[SigningAlgorithm, "Ed25519", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = get_args(Algorithm)
"""Every algorithm that can be allowed: asymmetric ones only, so neither HMAC nor `none` can be configured."""
DEFAULT_ALGORITHMS: Final[tuple[Algorithm, ...]] = ALGORITHMS[:-3]
"""Those that are allowed if none is configured: all but ML-DSA, which not every machine can verify."""
CLUSTER_ALGORITHMS: Final[tuple[Algorithm, ...]] = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""What a kube-apiserver can sign ServiceAccount tokens with."""

# --- Kubernetes ---

CLUSTER_LEEWAY: Final = 60.0
"""Leeway in seconds that kube-apiserver allows for `exp`, `nbf` and `iat` (go-jose's `DefaultLeeway`)."""

SERVICE_ACCOUNT_DIR: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
"""The folder in a pod with its account's token and its cluster's certificate authority."""

LEGACY_ISSUER: Final = "kubernetes/serviceaccount"
"""The issuer of legacy ServiceAccount tokens, which are in Secrets and have neither `aud` nor `exp`."""

CREDENTIAL_ID: Final = "authentication.kubernetes.io/credential-id"
POD_NAME: Final = "authentication.kubernetes.io/pod-name"
POD_UID: Final = "authentication.kubernetes.io/pod-uid"
NODE_NAME: Final = "authentication.kubernetes.io/node-name"
NODE_UID: Final = "authentication.kubernetes.io/node-uid"
"""Keys in the `extra` of a ServiceAccount's identity: the token, and the pod and node that it is bound to."""

AUTHENTICATED_GROUP: Final = "system:authenticated"
UNAUTHENTICATED_GROUP: Final = "system:unauthenticated"
SERVICE_ACCOUNTS_GROUP: Final = "system:serviceaccounts"
SERVICE_ACCOUNT_PREFIX: Final = "system:serviceaccount:"
SERVICE_ACCOUNT_USER: Final = re.compile(
    rf"{SERVICE_ACCOUNT_PREFIX}([a-z0-9-]{{1,63}}):([a-z0-9.-]{{1,253}})"
)
"""A ServiceAccount's username: its namespace and its name."""
