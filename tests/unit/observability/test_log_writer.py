"""Lines on their way to standard error: nobody waits for a reader, and what is lost is counted."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from authgate.observability.log_writer import BackgroundWriter

PATIENCE = 20.0
"""Seconds after which a thread that does not get on fails a test."""


class Pipe:
    """A pipe as small as the system allows, with a reader that may not read."""

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
    """A pipe, closed in the end; a thread that waits at its other side goes with the process."""
    it = Pipe()
    yield it
    it.close()


def test_lines_come_out_as_they_went_in(pipe: Pipe) -> None:
    """In their order, and whole."""
    writer = BackgroundWriter(pipe.write_end)
    for number in range(100):
        writer.write(f"line {number} é\n")
    writer.drain(PATIENCE)

    expected = "".join(f"line {number} é\n" for number in range(100)).encode()
    assert pipe.read(len(expected)) == expected
    assert writer.dropped() == 0


def test_nobody_waits_for_a_pipe_that_is_not_read(pipe: Pipe) -> None:
    """What fits waits in memory up to the bound, the rest is lost and counted; no call blocks."""
    writer = BackgroundWriter(pipe.write_end, max_waiting=10_000)
    caller = threading.Thread(
        target=lambda: [writer.write("x" * 99 + "\n") for _ in range(1000)], daemon=True
    )
    caller.start()
    caller.join(PATIENCE)

    assert not caller.is_alive()
    assert 800 < writer.dropped() <= 900  # some lines may have gone into the pipe before it was full


def test_it_goes_on_when_somebody_reads_again(pipe: Pipe) -> None:
    """With what waited, then with what is new; only what was lost is missing."""
    writer = BackgroundWriter(pipe.write_end, max_waiting=10_000)
    for _ in range(1000):
        writer.write("x" * 99 + "\n")
    kept = (1000 - writer.dropped()) * 100
    assert pipe.read(kept) == b"".join([b"x" * 99 + b"\n"] * (kept // 100))
    writer.drain(PATIENCE)
    writer.write("after\n")

    assert pipe.read(6) == b"after\n"


def test_a_reader_that_is_gone_ends_nothing(pipe: Pipe) -> None:
    """What nobody will ever read is lost, and the next line is tried all the same."""
    os.close(pipe.read_end)
    writer = BackgroundWriter(pipe.write_end)
    for number in (1, 2):
        writer.write("x\n")
        writer.drain(PATIENCE)
        assert writer.dropped() == number


def test_draining_has_an_end(pipe: Pipe) -> None:
    """The gate does not stay because nobody reads its last words."""
    writer = BackgroundWriter(pipe.write_end)
    writer.write("x" * 100_000)
    writer.drain(0.01)

    assert writer.dropped() == 0


def test_a_lone_surrogate_is_no_reason_to_break(pipe: Pipe) -> None:
    """Whatever is said can be written."""
    writer = BackgroundWriter(pipe.write_end)
    writer.write("\ud800\n")

    assert pipe.read(7) == b"\\ud800\n"
