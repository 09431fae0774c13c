"""`signing`, `identityToken` and `exchange`: from their configuration to what signs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from authgate.compose.dependencies import CompositionError
from authgate.observability.log import event
from authgate.signing.keys import read_signing_key
from authgate.signing.tokens import IdentityTokenHeader, TokenIssuer
from authgate.vocabulary import CLUSTER_LEEWAY

if TYPE_CHECKING:
    from authgate.compose.dependencies import Dependencies
    from authgate.config import Config
    from authgate.signing.keys import SigningKey


def token_issuer(config: Config, deps: Dependencies) -> TokenIssuer | None:
    """Return what signs the gate's own tokens, None where nothing is to be signed; raises `CompositionError`."""
    signing = config.signing
    if signing is None:
        return None
    if signing.key_files:
        keys = [_key(file, index) for index, file in enumerate(signing.key_files)]
    else:
        keys = [deps.made_key]
        event(
            logging.WARNING,
            "signing.keyFiles is empty: a key was made, and what it signs can be verified until this process ends",
            kid=keys[0].kid,
        )
    if len({key.kid for key in keys}) != len(keys):
        reason = "two files hold the same key"
        raise CompositionError(f"signing.keyFiles: {reason}", ("signing", "keyFiles"), reason)
    leeways = {item.name: item.gate.expiry_leeway for item in config.jwt}
    leeways.update((cluster.name, CLUSTER_LEEWAY) for cluster in config.clusters)
    return TokenIssuer(signing.issuer, keys, deps.clock, leeways)


def identity_header(config: Config, issuer: TokenIssuer | None) -> IdentityTokenHeader | None:
    """Return the header that states who passed, None where none is wanted."""
    item = config.identity_token
    if item is None or issuer is None:
        return None
    return IdentityTokenHeader(item.header, item.audience, item.ttl, issuer)


def _key(file: str, index: int) -> SigningKey:
    try:
        return read_signing_key(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        path = ("signing", "keyFiles", index)
        raise CompositionError(f"signing.keyFiles: {file}: {error}", path, str(error)) from None
