"""The public documents of an OpenID provider."""

from __future__ import annotations

from aiohttp import web

from authgate.dev.compact import json_bytes
from authgate.dev.issuer import WELL_KNOWN, Issuer


class OpenIDSite:
    """Serve discovery and JWKS of one issuer at the paths of its URLs, whatever their host.

    `discovery_prefix` puts the discovery document below another path, for a configuration with `discoveryURL`.
    """

    def __init__(self, issuer: Issuer, *, discovery_prefix: str | None = None) -> None:
        self.issuer = issuer
        self._prefix = discovery_prefix

    @property
    def discovery_path(self) -> str:
        """The path of the discovery document."""
        if self._prefix is None:
            return self.issuer.discovery_path
        return self._prefix.rstrip("/") + WELL_KNOWN

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Return the document for a path, or None for any other path."""
        if request.path == self.discovery_path:
            document, content_type = self.issuer.discovery(), "application/json"
        elif request.path == self.issuer.jwks_path:
            document, content_type = self.issuer.jwks(), "application/jwk-set+json"
        else:
            return None
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        return web.Response(body=json_bytes(document), headers={"Content-Type": content_type})
