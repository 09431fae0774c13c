"""Write log lines without waiting for their reader."""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import Final

_MAX_WAITING: Final = 1 << 20


class BackgroundWriter:
    """A stream whose `write` never blocks: a background thread writes to the file descriptor.

    At most 1 MiB waits while the other end is not read; further lines are dropped and counted. After a fork the child
    needs a writer of its own. There is no `flush`, because logging's handlers would call it after every line.
    """

    def __init__(self, descriptor: int, max_waiting: int = _MAX_WAITING) -> None:
        self._descriptor = descriptor
        self._max_waiting = max_waiting
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Queue a text or drop it; return its length."""
        data = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if self._bytes + len(data) > self._max_waiting:
                self._dropped += 1
                return len(text)
            self._waiting.append(data)
            self._bytes += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return len(text)

    def dropped(self) -> int:
        """Return how many texts were dropped so far."""
        return self._dropped

    def drain(self, timeout: float = 1.0) -> None:
        """Wait until everything is written, for at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes, timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                data = b"".join(self._waiting)
                self._waiting.clear()
            written = self._written(data)
            with self._changed:
                self._bytes -= len(data)
                self._dropped += not written
                self._changed.notify_all()

    def _written(self, data: bytes) -> bool:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except OSError:  # the other end is closed
                return False
        return True
