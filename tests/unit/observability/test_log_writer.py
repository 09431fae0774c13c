"""Writing log lines: writers never wait for a reader, and dropped lines are counted."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from authgate.observability.log_writer import BackgroundWriter

PATIENCE = 20.0
"""Seconds after which a test with a stuck thread fails."""


class Pipe:
    """A pipe of the smallest possible size, whose reader may not read."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        fcntl.fcntl(self.write_end, getattr(fcntl, "F_SETPIPE_SZ", 1031), 4096)

    def read(self, size: int) -> bytes:
        """So many bytes, waited for."""
        data = b""
        while len(data) < size:
            data += os.read(self.read_end, size - len(data))
        return data

    def close(self) -> None:
        """The reader's end; a thread that still writes must not find another file under the number of its own."""
        with suppress(OSError):
            os.close(self.read_end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe that is closed after the test. A thread that still writes to it ends with the process."""
    it = Pipe()
    yield it
    it.close()


def test_lines_are_written_whole_and_in_order(pipe: Pipe) -> None:
    """As many as were given."""
    writer = BackgroundWriter(pipe.write_end)
    for number in range(100):
        writer.write(f"line {number} é\n")
    writer.drain(PATIENCE)

    expected = "".join(f"line {number} é\n" for number in range(100)).encode()
    assert pipe.read(len(expected)) == expected
    assert writer.dropped() == 0


def test_a_write_never_blocks(pipe: Pipe) -> None:
    """Lines wait in memory up to the limit; further ones are dropped and counted."""
    writer = BackgroundWriter(pipe.write_end, max_waiting=10_000)
    caller = threading.Thread(
        target=lambda: [writer.write("x" * 99 + "\n") for _ in range(1000)], daemon=True
    )
    caller.start()
    caller.join(PATIENCE)

    assert not caller.is_alive()
    assert 800 < writer.dropped() <= 900  # some lines may have fit into the pipe before it was full


def test_writing_continues_when_the_pipe_is_read_again(pipe: Pipe) -> None:
    """First the waiting lines, then new ones. Only dropped lines are missing."""
    writer = BackgroundWriter(pipe.write_end, max_waiting=10_000)
    for _ in range(1000):
        writer.write("x" * 99 + "\n")
    kept = (1000 - writer.dropped()) * 100
    assert pipe.read(kept) == b"".join([b"x" * 99 + b"\n"] * (kept // 100))
    writer.drain(PATIENCE)
    writer.write("after\n")

    assert pipe.read(6) == b"after\n"


def test_a_closed_reader_does_not_stop_the_writer(pipe: Pipe) -> None:
    """The line is dropped, and the next line is tried."""
    os.close(pipe.read_end)
    writer = BackgroundWriter(pipe.write_end)
    for number in (1, 2):
        writer.write("x\n")
        writer.drain(PATIENCE)
        assert writer.dropped() == number


def test_draining_has_a_timeout(pipe: Pipe) -> None:
    """The gate ends even if its last lines are not read."""
    writer = BackgroundWriter(pipe.write_end)
    writer.write("x" * 100_000)
    writer.drain(0.01)

    assert writer.dropped() == 0


def test_a_lone_surrogate_can_be_written(pipe: Pipe) -> None:
    """It is escaped."""
    writer = BackgroundWriter(pipe.write_end)
    writer.write("\ud800\n")

    assert pipe.read(7) == b"\\ud800\n"
