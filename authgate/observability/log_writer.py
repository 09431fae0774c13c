"""Writing lines without ever waiting for whoever reads them."""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import Final

_MAX_WAITING: Final = 1 << 20


class BackgroundWriter:
    """A stream whose `write` never blocks: a thread of its own writes to the file descriptor.

    At most 1 MiB waits while nobody reads the other end; further text is lost and counted. After a fork the child
    makes one of its own.
    """

    # No flush: logging's handlers call it after every line.

    def __init__(self, descriptor: int, max_waiting: int = _MAX_WAITING) -> None:
        self._descriptor = descriptor
        self._max_waiting = max_waiting
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Take a text to be written, whole, or lose it whole; return its length."""
        data = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if self._bytes + len(data) > self._max_waiting:
                self._lost += 1
                return len(text)
            self._waiting.append(data)
            self._bytes += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return len(text)

    def lost(self) -> int:
        """Return how many texts were lost so far."""
        return self._lost

    def drain(self, patience: float = 1.0) -> None:
        """Wait until everything is written, for at most so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes, patience)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                data = b"".join(self._waiting)
                self._waiting.clear()
            written = self._written(data)
            with self._changed:
                self._bytes -= len(data)
                self._lost += not written
                self._changed.notify_all()

    def _written(self, data: bytes) -> bool:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except OSError:  # nobody will ever read it; the gate goes on
                return False
        return True
