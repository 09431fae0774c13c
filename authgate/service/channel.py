"""The messages between the supervisor and a worker, and the private socket pair that carries them."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

if TYPE_CHECKING:
    import socket

    from authgate.config import Config
    from authgate.server.admin import Check
    from authgate.server.admin.access import AdminRequest, Admission
    from authgate.server.admin.status import Inspection

_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Adopt:
    """To a worker: apply this configuration."""

    config: Config


@dataclass(frozen=True, slots=True)
class Drain:
    """To a worker: report not ready, and continue to answer."""


@dataclass(frozen=True, slots=True)
class Stop:
    """To a worker: finish open requests and exit."""


@dataclass(frozen=True, slots=True)
class Inspect:
    """A question: which issuers, clusters and keys does the worker have, and which decisions did it make lately?"""

    decisions: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """To a worker: answer a question. It continues to obey other orders meanwhile.

    A request to the admin port is a question, too: may it be answered? Only workers have keys.
    """

    number: int
    question: Question


@dataclass(frozen=True, slots=True)
class Answered:
    """From a worker: the answer to the question with the same number."""

    number: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Keys:
    """From a worker, then to the others: a fetched key document. `KeyDocument` describes the fields."""

    place: str
    data: bytes
    origin: str
    issuer: str


@dataclass(frozen=True, slots=True)
class Status:
    """From a worker, twice a second: whether it listens, and its checks of issuers and clusters."""

    listening: bool
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Adopted:
    """From a worker: it applied the configuration, or the error that prevented it."""

    error: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """From a worker: why it cannot start."""

    error: str


Question: TypeAlias = "Inspect | AdminRequest"
Answer: TypeAlias = "Inspection | Admission"
Order = Adopt | Keys | Drain | Stop | Ask
Report = Status | Keys | Adopted | Failed | Answered


class Channel:
    """One end of the socket pair. The same program is at both ends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, one: socket.socket) -> Self:
        """Return the channel over a connected socket."""
        return cls(*await asyncio.open_unix_connection(sock=one))

    def send(self, message: Order | Report) -> None:
        """Send a message. It waits in memory until the other side reads it."""
        data = pickle.dumps(message)
        self._writer.write(len(data).to_bytes(_LENGTH) + data)

    async def drain(self) -> None:
        """Wait until most of the sent messages have left this process."""
        await self._writer.drain()

    async def receive(self) -> Order | Report | None:
        """Return the next message, or None if the other side has closed the channel."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH))
            message: Order | Report = pickle.loads(  # noqa: S301 - written by this program
                await self._reader.readexactly(length)
            )
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return message

    def close(self) -> None:
        """Close this end of the channel."""
        self._writer.close()
