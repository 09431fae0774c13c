"""Compose `introspection[]`: the client and the verifier of each authorization server."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from authgate.compose.claims import claim_rules
from authgate.compose.dependencies import CompositionError, placed
from authgate.compose.recorders import introspection_recorder, start_results
from authgate.compose.traced import traced_introspection
from authgate.http_proxy import ProxyEnvironment, ProxyError
from authgate.keys.fetch import HTTPFetcher
from authgate.keys.introspection import ClientAuthSettings, IntrospectionClient
from authgate.verify.introspection import (
    IntrospectedIssuer,
    IntrospectionRules,
    IntrospectionVerifier,
    Introspector,
)
from authgate.verify.mapped import mapped_identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from authgate.compose.dependencies import Dependencies
    from authgate.config import Config, IntrospectionConfig
    from authgate.verify.jwt import JWTVerifier
    from authgate.verify.router import IssuerVerifier


async def compose_introspection(
    items: Iterable[IntrospectionConfig], deps: Dependencies
) -> dict[str, IntrospectionVerifier]:
    """Return the verifiers by configured name; raises `CompositionError`. No server has to be reachable."""
    servers: dict[str, IntrospectionVerifier] = {}
    try:
        for index, item in enumerate(items):
            with placed("introspection", index):
                servers[item.name] = _verifier(item, deps)
    except BaseException:
        for server in servers.values():
            await server.close()
        raise
    return servers


def introspected(
    config: Config, issuers: Mapping[str, JWTVerifier], servers: Mapping[str, IntrospectionVerifier]
) -> dict[str, IssuerVerifier]:
    """Return the verifier of each issuer URL: of `jwt`, by introspection as well, or by introspection only."""
    by_name: dict[str, IssuerVerifier] = {**issuers}
    by_url: dict[str, IssuerVerifier] = {}
    for item in config.introspection:
        server = servers[item.name]
        if item.issuer is not None:
            by_url[item.issuer] = server
        for name in item.issuers:
            by_name[name] = IntrospectedIssuer(issuers[name], server)
    return {**by_url, **{url: by_name[item.name] for item in config.jwt for url in item.issuer_names}}


def introspection_client(item: IntrospectionConfig, deps: Dependencies) -> IntrospectionClient:
    """Return a client of the server's endpoint; raises `CompositionError`."""
    auth, pem = item.client_auth, item.certificate_authority
    ca = (
        None if pem is None else pem.encode("ascii", "ignore")
    )  # OpenSSL accepts ASCII only; the rest is comments
    proxies = ProxyEnvironment(deps.environ)
    try:
        return IntrospectionClient(
            ClientAuthSettings(
                method=auth.method,
                client_id=auth.client_id,
                secret_file=_path(auth.secret_file),
                key_file=_path(auth.key_file),
                cert_file=_path(auth.cert_file),
                algorithm=auth.algorithm,
                key_id=auth.key_id,
                audience=auth.audience,
            ),
            deps.clock,
            name=item.name,
            endpoint=item.endpoint,
            issuer=item.issuer,
            fetcher=HTTPFetcher(item.timeout, ca_pem=pem, proxies=proxies),
            timeout=item.timeout,
            ca=ca,
            proxies=proxies,
        )
    except ProxyError as error:
        raise CompositionError(f"introspection '{item.name}': {error}", (), str(error)) from None
    except (ssl.SSLError, ValueError) as error:
        reason = f"contains a certificate that OpenSSL does not accept: {error}"
        message = f"introspection '{item.name}': certificateAuthority: {reason}"
        raise CompositionError(message, ("certificateAuthority",), reason) from None


def _verifier(item: IntrospectionConfig, deps: Dependencies) -> IntrospectionVerifier:
    rules = IntrospectionRules(
        name=item.name,
        audiences=frozenset(item.audiences),
        audience_claims=item.audience_claims,
        issuer=item.issuer or "",
        prefix=item.prefix or "",
        ttl=item.cache.ttl,
        negative_ttl=item.cache.negative_ttl,
    )
    identify = partial(mapped_identity, rules=claim_rules(item), issuer_name=item.name)
    start_results(deps.metrics.introspection_requests, item.name, "active", "inactive")
    introspector = Introspector(
        traced_introspection(deps.tracing, introspection_client(item, deps), item.name),
        deps.clock,
        name=item.name,
        qps=item.qps,
        burst=item.burst,
        on_request=partial(deps.metrics.count_introspection, item.name),
        on_state=introspection_recorder(item.name),
    )
    return IntrospectionVerifier(rules, introspector, identify, deps.clock, keep_claims=deps.keep_claims)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
