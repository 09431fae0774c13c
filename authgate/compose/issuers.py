"""Compose `jwt[]`: the verifier and the key set of each issuer."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from authgate.compose.claims import identify_of, identity_claims_of
from authgate.compose.dependencies import CompositionError, Dependencies
from authgate.compose.recorders import fetch_recorder
from authgate.compose.traced import traced_fetcher, traced_keys
from authgate.http_proxy import ProxyEnvironment
from authgate.keys.fetch import HTTPFetcher, origin_of
from authgate.keys.jwk import KeyDocument, KeyDocumentError, read_jwk_set, read_pem_keys, without_x509_svids
from authgate.keys.key_set import StaticKeySet
from authgate.keys.mldsa import unsupported
from authgate.keys.remote import MAX_PATIENCE, KeyFetchError, RefreshRules, RemoteKeySet
from authgate.keys.sources import DiscoverySource, JWKSSource
from authgate.verify.claims import TimeRules
from authgate.verify.compact import normalise_type
from authgate.verify.jwt import IssuerRules, JWTVerifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.config import JWTIssuerConfig, KeyRefreshConfig, StaticKeysConfig
    from authgate.keys.fetch import Fetcher
    from authgate.keys.key_set import KeySet


def issuer_verifier(item: JWTIssuerConfig, deps: Dependencies, key_sets: list[RemoteKeySet]) -> JWTVerifier:
    """Return the verifier of one issuer; a fetched key set is added to `key_sets`."""
    gate = item.gate
    if missing := unsupported(gate.algorithms):
        reason = (
            f"names {', '.join(missing)}, which cannot be verified on this machine: it needs a version of cryptography"
            " with ML-DSA, and OpenSSL 3.5 or later"
        )
        raise CompositionError(
            f"jwt issuer '{item.name}': gate.algorithms: {reason}", ("gate", "algorithms"), reason
        )
    rules = IssuerRules(
        name=item.name,
        audiences=frozenset(item.issuer.audiences),
        algorithms=_algorithms(gate.algorithms),
        types=frozenset(normalise_type(name) for name in item.types),
        time=TimeRules(gate.leeway, gate.expiry_leeway, gate.max_token_lifetime),
        ignore_confirmation=gate.unsafe_ignore_confirmation,
        audience_claims=gate.audience_claims,
        by_load_balancer=gate.alb is not None,
        first_tenant=item.issuer_names[0] if item.tenants else "",
    )
    keys: KeySet
    if gate.static_keys is not None:
        keys = StaticKeySet(
            read_static_keys(
                gate.static_keys, f"jwt issuer '{item.name}': gate.staticKeys", bundle=gate.spiffe is not None
            ).keys
        )
    elif gate.alb is not None:
        from authgate.keys.on_demand import OnDemandKeySet  # not needed by most issuers

        keys = OnDemandKeySet(
            gate.alb.base_url,
            traced_fetcher(deps.tracing, key_fetcher(item, deps.environ), item.name),
            deps.clock,
            refresh_rules(gate.keys, deps),
            fetch_recorder(item.name, deps.metrics),
        )
    else:
        keys = _remote_keys(item, deps)
        key_sets.append(keys)
    return JWTVerifier(
        rules,
        keys,
        identify_of(item),
        deps.clock,
        keep_claims=deps.keep_claims,
        verify_expired=deps.verify_expired,
        identity_claims=identity_claims_of(item),
    )


def _algorithms(names: tuple[str, ...]) -> frozenset[str]:
    # EdDSA includes the curve Ed25519, whichever name a token has for it; Ed25519 does not include Ed448.
    return frozenset(names) | ({"Ed25519"} if "EdDSA" in names else set())


def read_static_keys(static: StaticKeysConfig, path: str, *, bundle: bool = False) -> KeyDocument:
    """Return the keys at a path of the configuration, inline or from its file; raises `CompositionError`.

    `bundle` also reads a SPIFFE bundle.
    """
    try:
        if static.file is None:
            data, origin = (static.inline or "").encode(), "the configuration"
        else:
            data, origin = Path(static.file).read_bytes(), static.file
        if data.lstrip().startswith(b"{"):
            return read_jwk_set(without_x509_svids(data) if bundle else data, origin)
        return read_pem_keys(data, origin)
    except (OSError, KeyDocumentError) as error:
        field = path.rpartition(": ")[2]
        raise CompositionError(f"{path}: {error}", tuple(field.split(".")), str(error)) from None


def refresh_rules(keys: KeyRefreshConfig, deps: Dependencies) -> RefreshRules:
    """Return when keys are fetched. For `explain` there is no cooldown, so that it can name a missing key."""
    cooldown = 0.0 if deps.verify_expired else keys.cooldown
    return RefreshRules(keys.refresh, keys.max_stale, cooldown, min(keys.timeout, MAX_PATIENCE))


def _remote_keys(item: JWTIssuerConfig, deps: Dependencies) -> RemoteKeySet:
    rules = refresh_rules(item.gate.keys, deps)
    url = item.gate.jwks_url or item.issuer.discovery_url or item.issuer_names[0]
    source = traced_keys(deps.tracing, key_source(item, key_fetcher(item, deps.environ)), item.name, url)
    # Keys that could have been fetched over plain http are not kept when that is no longer allowed.
    http = " over http" if item.gate.unsafe_allow_http else ""
    place = f"{item.issuer_names[0]} {item.issuer.discovery_url} {item.gate.jwks_url}{http}"
    return RemoteKeySet(source, deps.clock, rules, fetch_recorder(item.name, deps.metrics), place=place)


def key_fetcher(item: JWTIssuerConfig, environ: Mapping[str, str]) -> HTTPFetcher:
    """Return the fetcher of an issuer's documents, with its CA, the environment's proxies and a configured token."""
    issuer, gate = item.issuer, item.gate
    token_file = gate.keys.token_file
    try:
        return HTTPFetcher(
            gate.keys.timeout,
            ca_pem=issuer.certificate_authority,
            token=partial(_read_token, token_file) if token_file else None,
            token_origins=frozenset(
                origin_of(url)
                for url in (gate.jwks_url or issuer.discovery_url or item.issuer_names[0],)
                if token_file
            ),
            proxies=ProxyEnvironment(environ),
        )
    except (ssl.SSLError, ValueError) as error:
        place = "issuer.certificateAuthority"
        reason = f"contains a certificate that OpenSSL does not accept: {error}"
        raise CompositionError(
            f"jwt issuer '{item.name}': {place}: {reason}", tuple(place.split(".")), reason
        ) from None


def key_source(item: JWTIssuerConfig, fetcher: Fetcher) -> JWKSSource | DiscoverySource:
    """Return the source of an issuer's keys: its JWKS URL, or its discovery document."""
    if item.gate.jwks_url is not None:
        return JWKSSource(item.gate.jwks_url, fetcher, bundle=item.gate.spiffe is not None)
    return DiscoverySource(
        item.issuer_names[0],
        fetcher,
        item.issuer.discovery_url,
        template=item.issuer.url if item.tenants else None,
        http=item.gate.unsafe_allow_http,
    )


def _read_token(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFetchError(f"{path}: the token file cannot be read: {error}") from None
