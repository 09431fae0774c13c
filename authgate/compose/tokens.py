"""Build the gate's token issuer, identity header and token exchange from `signing`, `identityToken` and `exchange`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from authgate.compose.dependencies import CompositionError
from authgate.server.exchange import Exchange
from authgate.signing.keys import read_signing_key
from authgate.signing.tokens import IdentityTokenHeader, TokenIssuer
from authgate.vocabulary import CLUSTER_LEEWAY

if TYPE_CHECKING:
    from authgate.compose.dependencies import Dependencies
    from authgate.config import Config
    from authgate.signing.keys import SigningKey


def token_issuer(config: Config, deps: Dependencies) -> TokenIssuer | None:
    """Return the issuer of the gate's own tokens, or None if it signs none; raise `CompositionError`."""
    signing = config.signing
    if signing is None:
        return None
    if signing.key_files:
        keys = [_key(file, index) for index, file in enumerate(signing.key_files)]
    else:
        keys = [deps.generated_key()]
    if len({key.kid for key in keys}) != len(keys):
        reason = "two files hold the same key"
        raise CompositionError(f"signing.keyFiles: {reason}", ("signing", "keyFiles"), reason)
    leeways = {item.name: item.gate.expiry_leeway for item in config.jwt}
    leeways.update((cluster.name, CLUSTER_LEEWAY) for cluster in config.clusters)
    return TokenIssuer(signing.issuer, keys, deps.clock, leeways)


def identity_header(config: Config, issuer: TokenIssuer | None) -> IdentityTokenHeader | None:
    """Return the header with the signed identity, or None if it is not configured."""
    item = config.identity_token
    if item is None or issuer is None:
        return None
    return IdentityTokenHeader(item.header, item.audience, item.ttl, issuer)


def token_exchange(config: Config, issuer: TokenIssuer | None) -> Exchange | None:
    """Return the token exchange, or None if it is not configured."""
    item = config.exchange
    if item is None or issuer is None:
        return None
    audiences = {policy: frozenset(allowed) for policy, allowed in item.audiences.items()}
    return Exchange(issuer, audiences, item.ttl)


def _key(file: str, index: int) -> SigningKey:
    try:
        return read_signing_key(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        path = ("signing", "keyFiles", index)
        raise CompositionError(f"signing.keyFiles: {file}: {error}", path, str(error)) from None
