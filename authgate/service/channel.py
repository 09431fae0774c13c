"""What the supervisor and a worker say to one another, over a socket pair that nobody else has."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import socket

    from authgate.config import Config
    from authgate.server.admin import Check

_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Adopt:
    """To a worker: answer by this configuration."""

    config: Config


@dataclass(frozen=True, slots=True)
class Drain:
    """To a worker: say that it is not ready, and go on answering."""


@dataclass(frozen=True, slots=True)
class Stop:
    """To a worker: finish the requests under way, and end."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Of a worker, and then to the others: what an issuer publishes; `KeyDocument` tells of the fields."""

    place: str
    data: bytes
    origin: str
    issuer: str


@dataclass(frozen=True, slots=True)
class Status:
    """Of a worker, again and again: whether it listens, and how its issuers and clusters are."""

    listening: bool
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Adopted:
    """Of a worker: it answers by the new configuration, or why it does not."""

    error: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """Of a worker: why it cannot start."""

    error: str


Order = Adopt | Keys | Drain | Stop
Report = Status | Keys | Adopted | Failed


class Channel:
    """One end of the pair; both ends belong to the same program."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, one: socket.socket) -> Self:
        """Return the channel of a connected socket."""
        return cls(*await asyncio.open_unix_connection(sock=one))

    def send(self, message: Order | Report) -> None:
        """Say something; it waits in memory while the other side does not listen."""
        data = pickle.dumps(message)
        self._writer.write(len(data).to_bytes(_LENGTH) + data)

    async def sent(self) -> None:
        """Wait until the other side has most of what was said."""
        await self._writer.drain()

    async def receive(self) -> Order | Report | None:
        """Return what the other side says next, None when it is gone."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH))
            message: Order | Report = pickle.loads(  # noqa: S301 - said by this program, to itself
                await self._reader.readexactly(length)
            )
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return message

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
