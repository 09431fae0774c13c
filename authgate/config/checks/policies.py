"""What policies need of other sections: a proxy that reports the request, and leeways that roles can narrow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from authgate.config.checks.references import NEEDS_PROXY
from authgate.config.models.configuration import Config
from authgate.config.models.fields import format_duration
from authgate.config.models.policy import PolicyConfig, PolicyVersionConfig
from authgate.config.problems import Finding, Path, shown
from authgate.expressions import Expects, Sees, compile_expression
from authgate.vocabulary import CLUSTER_LEEWAY, DEFAULT_POLICY

_STRINGS_AND_COMMENTS: Final = re.compile(r"//[^\n]*|'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_READS_HOST: Final = re.compile(r"(?<![\w.])\.?\s*request\s*\.\s*host\b")
_HOST_IS_UNSAFE: Final = (
    "cannot be checked with server.proxy: ingress-nginx: it builds X-Original-URL from the Host header, and a client"
    " can reach one virtual host while its Host header names another; write one policy for each Ingress instead, and"
    " name it in the Ingress' auth-url (/policies/NAME/verify)"
)


def requests_have_a_proxy(config: Config) -> Iterator[Finding]:
    """Yield settings that look at the original request while no proxy is configured.

    The requests of the admin port are known without a proxy.
    """
    if not config.server.knows_requests:
        for version, policy in config.versions():
            if version[1] == config.admin.policy != DEFAULT_POLICY:
                continue
            for path in _reading_requests(policy):
                yield Finding((*version, *path), NEEDS_PROXY, rule=NEEDS_PROXY)


def _reading_requests(policy: PolicyVersionConfig) -> Iterator[Path]:
    if policy.anonymous:
        yield ("anonymous",)
    if policy.rules:
        yield ("rules",)
    if policy.cors_preflight == "allow":
        yield ("corsPreflight",)
    if isinstance(policy, PolicyConfig):
        for path, review in policy.access_reviews():
            if review.non_resource is not None:
                yield (*path, "nonResource")
    for path, text in policy.expressions():
        if Sees.REQUEST in compile_expression(text, policy.sees, Expects.BOOL).reads:
            yield (*path,)


def hosts_are_known(config: Config) -> Iterator[Finding]:
    """Yield conditions on the host that a client could evade behind ingress-nginx."""
    if config.server.proxy != "ingress-nginx":
        return
    for version, policy in config.versions():
        for index, rule in enumerate(policy.rules):
            if rule.hosts is not None:
                path = (*version, "rules", index, "hosts")
                yield Finding(path, _HOST_IS_UNSAFE, rule=_HOST_IS_UNSAFE)
        for path, text in policy.expressions():
            if _READS_HOST.search(_STRINGS_AND_COMMENTS.sub('""', text)):
                sentence = f"reads request.host, which {_HOST_IS_UNSAFE}"
                yield Finding((*version, *path), sentence, rule=sentence)


def roles_are_stricter(config: Config) -> Iterator[Finding]:
    """Yield leeways of roles that are wider than every issuer's: a role can only accept fewer tokens."""
    clusters = [CLUSTER_LEEWAY] if config.clusters else []
    expiration = max([*clusters, *(issuer.gate.expiry_leeway for issuer in config.jwt)], default=0.0)
    not_before = max([*clusters, *(issuer.gate.leeway for issuer in config.jwt)], default=0.0)
    for version, policy in config.versions():
        if policy.role is None:
            continue
        for name, given, widest in (
            ("expirationLeeway", policy.role.expiration_leeway, expiration),
            ("notBeforeLeeway", policy.role.not_before_leeway, not_before),
            ("clockSkewLeeway", policy.role.clock_skew_leeway, max(expiration, not_before)),
        ):
            if given is not None and given > widest:
                yield Finding(
                    (*version, "role", name),
                    f"must be at most {format_duration(widest)}, the widest leeway of an issuer: a role can only be"
                    " stricter; or raise gate.leeway and gate.expiryLeeway of the issuer",
                    shown(format_duration(given)),
                )
