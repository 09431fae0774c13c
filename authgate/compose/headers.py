"""Build the identity headers from `headers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authgate.compose.dependencies import compiled
from authgate.expressions import Expects, Sees
from authgate.json_pointer import JSONPointer
from authgate.policy.headers import HeaderMapper
from authgate.policy.mapped_headers import ClaimHeader, ExpressionHeader

if TYPE_CHECKING:
    from authgate.config import HeadersConfig, MappedHeaderConfig
    from authgate.policy.headers import IdentityToken
    from authgate.policy.mapped_headers import MappedHeader


def header_mapper(config: HeadersConfig, identity_token: IdentityToken | None) -> HeaderMapper:
    """Return the mapper from identities to headers; raise `CompositionError` for an invalid expression."""
    mapped = [_mapped(item, f"headers.set[{index}]") for index, item in enumerate(config.set)]
    return HeaderMapper(config.preset, config.max_bytes, mapped=mapped, identity_token=identity_token)


def _mapped(item: MappedHeaderConfig, place: str) -> MappedHeader:
    if item.claim is not None:
        return ClaimHeader(item.name, JSONPointer(item.claim))
    place = f"{place}.expression"
    return ExpressionHeader(
        item.name, compiled(item.expression or "", Sees.CLAIMS | Sees.USER, Expects.ANY, place), place
    )
