"""Build the readers of `credential.sources`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authgate.credential.sources import (
    AuthorizationSource,
    CookieSource,
    HeaderSource,
    QuerySource,
    Source,
    Sources,
    WebSocketSource,
)

if TYPE_CHECKING:
    from authgate.config import CredentialConfig


def sources_of(config: CredentialConfig) -> Sources:
    """Return the places where tokens may be found. All cookies are read together, and all query parameters."""
    items = config.sources
    further: list[Source] = [
        HeaderSource(item.header.lower().encode(), (item.scheme or "").encode(), item.padded)
        for item in items
        if item.header
    ]
    if cookies := frozenset(item.cookie.encode() for item in items if item.cookie):
        further.append(CookieSource(cookies))
    if parameters := frozenset(item.query.encode() for item in items if item.query):
        further.append(QuerySource(parameters))
    if any(item.websocket for item in items):
        further.append(WebSocketSource())
    usernames = frozenset(name.encode() for item in items if item.basic for name in item.basic.usernames)
    return Sources(further, None if config.authorization == "ignore" else AuthorizationSource(usernames))
