"""Numbers that are counted in place, in memory that outlives whoever counts."""

from __future__ import annotations

import mmap
import os

import pytest

from authgate.ledger import SHARED_BYTES, Ledger, SharedLedger


def shared() -> mmap.mmap:
    """Memory as a supervisor makes it for a worker."""
    return mmap.mmap(-1, SHARED_BYTES)


def told(ledger: Ledger) -> dict[tuple[str, tuple[str, ...]], list[float]]:
    """Every name with its numbers."""
    return dict(ledger.numbers())


@pytest.mark.parametrize("ledger", [Ledger(), SharedLedger(shared())], ids=["own", "shared"])
def test_a_name_keeps_its_place(ledger: Ledger) -> None:
    """Each name has its own, as wide as it was asked for; numbers are 0 at first."""
    one, other = ledger.place("a", ("x",)), ledger.place("b", ("x", "y"), width=3)
    ledger.cells[one] += 2
    ledger.cells[other + 2] += 0.5

    assert ledger.place("a", ("x",)) == one
    assert told(ledger) == {("a", ("x",)): [2.0], ("b", ("x", "y")): [0.0, 0.0, 0.5]}


def test_a_reader_sees_what_is_counted_and_named_later() -> None:
    """Without being told: it looks at the same memory."""
    memory = shared()
    reader, writer = SharedLedger(memory), SharedLedger(memory)
    assert told(reader) == {}
    writer.cells[writer.place("a", ("x",))] = 7
    assert told(reader) == {("a", ("x",)): [7.0]}
    writer.cells[writer.place("a", ('quote " and é', ""))] = 8
    assert told(reader)["a", ('quote " and é', "")] == [8.0]


def test_a_process_that_takes_the_place_goes_on() -> None:
    """With the numbers of the one before, also when that was killed in the middle of its work."""
    memory = shared()
    pid = os.fork()
    if pid == 0:
        ledger = SharedLedger(memory)
        ledger.cells[ledger.place("a", ("x",))] = 41
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    successor = SharedLedger(memory)
    successor.cells[successor.place("a", ("x",))] += 1
    successor.cells[successor.place("b", ())] += 1

    assert told(SharedLedger(memory)) == {("a", ("x",)): [42.0], ("b", ()): [1.0]}


def test_what_finds_no_place_is_counted_nowhere() -> None:
    """Memory is bounded; names that have a place keep theirs."""
    memory = shared()
    ledger = SharedLedger(memory)
    kept = ledger.place("kept", ())
    ledger.cells[kept] = 1
    for number in range(40_000):
        ledger.cells[ledger.place("many", (str(number),))] += 1
    ledger.cells[ledger.place("wide", (), width=16)] += 1
    names = told(SharedLedger(memory))

    assert names["kept", ()] == [1.0]
    assert 30_000 < len(names) < 33_000
    assert ("wide", ()) not in names
    assert {tuple(numbers) for numbers in names.values()} == {(1.0,)}


def test_long_names_do_not_run_over() -> None:
    """The names' room is bounded, too."""
    memory = shared()
    ledger = SharedLedger(memory)
    for number in range(30_000):
        ledger.place("family", (f"{number}{'x' * 200}",))

    assert all(len(name[1][0]) > 200 for name in told(SharedLedger(memory)))
