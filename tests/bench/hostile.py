"""Attacks as a separate process: `python -m tests.bench.hostile KIND HOST PORT RATE SECONDS`.

- `slow`: RATE connections that send a byte a second
- `headers`, `large`, `forged`, `unknown`: RATE requests a second with 60 KB of headers, with 15 KB tokens, with forged
  signatures, or with a new unknown key id each
- `unread`: RATE connections that send requests and read no answer
- `unfinished`: RATE connections with 63 KB of incomplete headers, each opened again every four seconds
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from tests.bench.tokens import AUDIENCE, ISSUER

_CONNECTIONS = 16
_AGAIN = 4.0
Attack = Callable[[str, int, int, float], Coroutine[Any, Any, None]]


async def slow(host: str, port: int, rate: int, until: float) -> None:
    """Send many heads that never end, with a byte a second each."""

    async def one() -> None:
        while time.monotonic() < until:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(host, port)
                for byte in b"GET /verify HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"a" * 1000:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(min(1.0, max(0.0, until - time.monotonic())))
                    if time.monotonic() >= until:
                        break
                writer.close()

    await asyncio.gather(*(one() for _ in range(rate)))


async def unfinished(host: str, port: int, rate: int, until: float) -> None:
    """Send many incomplete heads of 63 KB, in the characters that use the most memory. Repeat each every 4 s."""
    sent = b"GET /verify HTTP/1.1\r\nHost: a\r\n" + (b"X: \xf0\x9f\x98\x80" + b"a" * 980 + b"\r\n") * 63

    async def one(start: float) -> None:
        due = start
        while due < until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += _AGAIN
            with suppress(OSError):
                _, writer = await asyncio.open_connection(host, port)
                writer.write(sent)
                await asyncio.sleep(max(0.0, min(due, until) - time.monotonic()))
                writer.transport.abort()

    now = time.monotonic()
    await asyncio.gather(*(one(now + _AGAIN * number / rate) for number in range(rate)))


async def unread(host: str, port: int, rate: int, until: float) -> None:
    """Send requests on many connections without reading an answer."""
    request = b"GET /verify HTTP/1.1\r\nHost: a\r\n\r\n"

    async def one() -> None:
        while time.monotonic() < until:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(host, port, limit=1)
                reader.set_transport(writer.transport)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.1, until - time.monotonic())):
                        while True:
                            writer.write(request * 64)
                            await writer.drain()
                            await asyncio.sleep(0.05)
                writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(rate)))


def _flood(head: Callable[[], bytes], rate: int, seconds: float) -> Attack:
    # created before the attack, so that this uses no CPU time of the core of the good clients
    heads = iter([head() for _ in range(int(rate * seconds) + _CONNECTIONS)])

    async def attack(host: str, port: int, rate: int, until: float) -> None:
        async def one(start: float) -> None:
            due = start
            while due < until:
                with suppress(OSError, asyncio.IncompleteReadError):
                    reader, writer = await asyncio.open_connection(host, port)
                    while due < until:
                        await asyncio.sleep(max(0.0, due - time.monotonic()))
                        due += _CONNECTIONS / rate
                        writer.write(next(heads))
                        await reader.readuntil(b"\r\n\r\n")
                    writer.close()

        now = time.monotonic()
        await asyncio.gather(*(one(now + number / rate) for number in range(_CONNECTIONS)))

    return attack


def _with_token(token: str) -> bytes:
    return f"GET /verify HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _token(kid: str, size: int) -> str:
    claims = {"iss": ISSUER, "aud": [AUDIENCE], "exp": int(time.time()) + 600, "jti": os.urandom(8).hex()}
    claims["pad"] = "x" * size
    header = {"alg": "RS256", "kid": kid}
    return ".".join(
        (
            _segment(json.dumps(header).encode()),
            _segment(json.dumps(claims).encode()),
            _segment(os.urandom(256)),
        )
    )


def attack_of(kind: str, rate: int, seconds: float, kid: str) -> Attack:
    """Return an attack that is ready to start. `kid` is the key id of forged tokens."""
    filler = "".join(f"X-{number}: {'a' * 1000}\r\n" for number in range(60))
    match kind:
        case "slow":
            return slow
        case "unread":
            return unread
        case "unfinished":
            return unfinished
        case "headers":
            return _flood(f"GET /verify HTTP/1.1\r\nHost: a\r\n{filler}\r\n".encode, rate, seconds)
        case "large":
            return _flood(lambda: _with_token(_token(kid, 11_000)), rate, seconds)
        case "forged":
            return _flood(lambda: _with_token(_token(kid, 10)), rate, seconds)
        case "unknown":
            return _flood(lambda: _with_token(_token(f"kid-{random.random()}", 10)), rate, seconds)
        case _:
            raise ValueError(f"no attack is called {kind}")


def main() -> None:
    """Announce the start, and attack."""
    kind, host, port, rate, seconds, kid = sys.argv[1:7]
    attack = attack_of(kind, int(rate), float(seconds), kid)
    print("begins", flush=True)
    asyncio.run(attack(host, int(port), int(rate), time.monotonic() + float(seconds)))


if __name__ == "__main__":
    main()
