"""Counters in memory that outlives the counting process."""

from __future__ import annotations

import mmap
import os

import pytest

from authgate.observability.counter_store import SHARED_BYTES, CounterStore, SharedCounterStore


def shared() -> mmap.mmap:
    """Shared memory, as a supervisor creates it for a worker."""
    return mmap.mmap(-1, SHARED_BYTES)


def numbers_of(counter_store: CounterStore) -> dict[tuple[str, tuple[str, ...]], list[float]]:
    """Return every name with its numbers."""
    return dict(counter_store.numbers())


@pytest.mark.parametrize(
    "counter_store", [CounterStore(), SharedCounterStore(shared())], ids=["own", "shared"]
)
def test_a_name_keeps_its_place(counter_store: CounterStore) -> None:
    """Each name has its own place of the requested width. Numbers start at 0."""
    one, other = counter_store.place("a", ("x",)), counter_store.place("b", ("x", "y"), width=3)
    counter_store.cells[one] += 2
    counter_store.cells[other + 2] += 0.5

    assert counter_store.place("a", ("x",)) == one
    assert numbers_of(counter_store) == {("a", ("x",)): [2.0], ("b", ("x", "y")): [0.0, 0.0, 0.5]}


def test_a_reader_sees_later_counts_and_names() -> None:
    """It reads the same memory."""
    memory = shared()
    reader, writer = SharedCounterStore(memory), SharedCounterStore(memory)
    assert numbers_of(reader) == {}
    writer.cells[writer.place("a", ("x",))] = 7
    assert numbers_of(reader) == {("a", ("x",)): [7.0]}
    writer.cells[writer.place("a", ('quote " and é', ""))] = 8
    assert numbers_of(reader)["a", ('quote " and é', "")] == [8.0]


def test_a_new_process_continues_the_counters() -> None:
    """Also if the previous process was killed while counting."""
    memory = shared()
    pid = os.fork()
    if pid == 0:
        counter_store = SharedCounterStore(memory)
        counter_store.cells[counter_store.place("a", ("x",))] = 41
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    successor = SharedCounterStore(memory)
    successor.cells[successor.place("a", ("x",))] += 1
    successor.cells[successor.place("b", ())] += 1

    assert numbers_of(SharedCounterStore(memory)) == {("a", ("x",)): [42.0], ("b", ()): [1.0]}


def test_names_without_room_are_not_counted() -> None:
    """Memory is bounded. Existing names keep their place."""
    memory = shared()
    counter_store = SharedCounterStore(memory)
    kept = counter_store.place("kept", ())
    counter_store.cells[kept] = 1
    for number in range(140_000):
        counter_store.cells[counter_store.place("many", (str(number),))] += 1
    counter_store.cells[counter_store.place("wide", (), width=16)] += 1
    names = numbers_of(SharedCounterStore(memory))

    assert names["kept", ()] == [1.0]
    assert 130_000 < len(names) < 132_000
    assert ("wide", ()) not in names
    assert {tuple(numbers) for numbers in names.values()} == {(1.0,)}


def test_long_names_do_not_overflow() -> None:
    """The memory for names is bounded, too."""
    memory = shared()
    counter_store = SharedCounterStore(memory)
    for number in range(30_000):
        counter_store.place("family", (f"{number}{'x' * 200}",))

    assert all(len(name[1][0]) > 200 for name in numbers_of(SharedCounterStore(memory)))
