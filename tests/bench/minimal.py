"""The least that a Python server can do for a new token: the ceiling that authgate is compared with.

`python -m tests.bench.minimal PORT JWKS ISSUER AUDIENCE` verifies RS256 tokens of one issuer on aiohttp's connection
class. Heads and tokens are read as strictly as authgate reads them, and the response has as many headers. It has no
policy, cache, metrics, limits or log.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from binascii import a2b_base64
from pathlib import Path
from typing import Any

import jwt
import uvloop
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

REFUSED = (ValueError, TypeError, LookupError, InvalidSignature)
"""The exceptions for tokens that are not valid."""

_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t -~]*").fullmatch
_FOREIGN = {b"authorization", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade"}
_OTHER = -1
_MAX_LINES = 1000
_lines: dict[bytes, int] = {}  # the kinds of lines that repeat, such as that of Host
_STANDARD = bytes.maketrans(b"-_", b"+/")
_LAST = {0: None, 2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}
"""The letters that may end a segment, by its length modulo 4. With others, unused bits would be set."""
_OK = (
    "HTTP/1.1 200 OK\r\nX-Auth-Request-User: {}\r\nX-Auth-Request-Groups: system:authenticated\r\n"
    "X-Auth-Request-Uid: {}\r\nX-Auth-Request-Issuer: {}\r\nX-Auth-Request-Cluster: \r\n"
    "X-Auth-Request-Namespace: \r\nX-Auth-Request-Service-Account: \r\nX-Auth-Request-Pod: \r\n"
    "X-Auth-Request-Email: \r\nX-Auth-Request-Preferred-Username: \r\nCache-Control: no-store\r\n"
    "Content-Length: 0\r\n\r\n"
).format


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


_parse_json = json.JSONDecoder(object_pairs_hook=_object).decode


def _decoded(segment: bytes) -> bytes:
    short = len(segment) % 4
    last = _LAST[short]
    if b"+" in segment or b"/" in segment or b"=" in segment or (last and segment[-1] not in last):
        raise ValueError("not base64url")
    return a2b_base64(segment.translate(_STANDARD) + b"=" * (-short % 4), strict_mode=True)


class Verifier:
    """The keys, issuer and audience."""

    def __init__(self, jwks: str, issuer: str, audience: str) -> None:
        self._keys: dict[str | None, Any] = {key.key_id: key.key for key in jwt.PyJWKSet.from_json(jwks).keys}
        self._issuer, self._audience = issuer, audience
        self._headers: dict[bytes, Any] = {}
        self._padding, self._digest = PKCS1v15(), SHA256()

    def response(self, token: bytes) -> bytes:
        """Return the 200 for a valid token. Every other token raises one of `REFUSED`."""
        signed, _, signature = token.rpartition(b".")
        header, _, payload = signed.partition(b".")
        key = self._headers.get(header)
        if key is None:
            fields = _parse_json(_decoded(header).decode())
            if fields["alg"] != "RS256" or "crit" in fields:
                raise ValueError("unexpected header")
            key = self._headers[header] = self._keys[fields["kid"]]
        claims = _parse_json(_decoded(payload).decode())
        now, expires = time.time(), claims["exp"]
        if type(expires) is not int or expires <= now or claims.get("nbf", 0) > now + 10:
            raise ValueError("not valid now")
        if claims["iss"] != self._issuer or self._audience not in claims["aud"]:
            raise ValueError("for another audience, or from another issuer")
        key.verify(_decoded(signature), signed, self._padding, self._digest)
        return _OK(claims["sub"], claims["jti"], self._issuer).encode("ascii")


class _Connection(RequestHandler):
    __slots__ = ("_verifier",)

    def __init__(self, manager: web.Server, verifier: Verifier) -> None:
        super().__init__(manager, loop=asyncio.get_running_loop(), access_log=None)  # type: ignore[arg-type]
        self._verifier = verifier

    def data_received(self, data: bytes) -> None:
        """Answer one complete GET request at once. aiohttp reads everything else."""
        if data.startswith(b"GET /verify HTTP/1.1\r\n") and data.find(b"\r\n\r\n") == len(data) - 4:
            token = _token(data)
            if token is not None and self.transport is not None and not self._messages:
                try:
                    response = self._verifier.response(token)
                except REFUSED:
                    response = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
                self.transport.write(response)
                return
        super().data_received(data)


def _token(head: bytes) -> bytes | None:
    """Return the token of a head without a body, or None where a head could have a second meaning."""
    token, hosts = None, 0
    for line in head[:-4].split(b"\r\n")[1:]:
        if token is None and line.startswith(b"Authorization: Bearer "):
            token = line[22:]  # its characters are checked as those of a token
            continue
        kind = _lines.get(line)
        if kind is None:
            kind = _kind(line)
            if len(_lines) < _MAX_LINES:
                _lines[line] = kind
        if kind == _OTHER:
            return None
        hosts += kind
    return token if hosts == 1 else None


def _kind(line: bytes) -> int:
    """Return 1 for a Host field, 0 for a field that does not matter, and `_OTHER` for what only aiohttp reads."""
    field = _LINE(line)
    name = b"authorization" if field is None else field[1].lower()
    if name in _FOREIGN:
        return _OTHER
    return int(name == b"host")


async def _refuse(_: web.BaseRequest) -> web.Response:
    return web.Response(status=401)


async def _main(port: str, jwks: str, issuer: str, audience: str) -> None:
    verifier, server = Verifier(Path(jwks).read_text(), issuer, audience), web.Server(_refuse)
    listening = await asyncio.get_running_loop().create_server(
        lambda: _Connection(server, verifier), "127.0.0.1", int(port)
    )
    await listening.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
