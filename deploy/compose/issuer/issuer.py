"""A test issuer, which signs a token for anyone: `GET /token?user=alice&group=staff`. Never use it in production."""

import asyncio
import sys

from aiohttp import web

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.server import EmbeddedServer


class DemoIssuer:
    """Publish an issuer's discovery document and keys, and tokens with the user and the groups of the query."""

    def __init__(self, url: str) -> None:
        """Sign tokens as the issuer with this URL."""
        self._issuer = Issuer(url, SigningKey.generate("RS256"))

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Return the response, or None if the path is unknown."""
        if request.path == self._issuer.discovery_path:
            return web.json_response(self._issuer.discovery())
        if request.path == self._issuer.jwks_path:
            return web.json_response(self._issuer.jwks())
        if request.path == "/token":
            user, groups = request.query.get("user", "alice"), request.query.getall("group", ["staff"])
            return web.Response(text=self._issuer.mint(user, "demo", claims={"groups": groups}))
        return None


async def main(listen: str, url: str) -> None:
    """Serve until the process is stopped."""
    host, _, port = listen.rpartition(":")
    async with EmbeddedServer(DemoIssuer(url), host=host, port=int(port)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
