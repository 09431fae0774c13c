"""The memory of unfinished heads: what each costs, and which connection is ended."""

from __future__ import annotations

import pytest

from authgate.server.http.head_budget import HeadBudget, after_last_head, worst_case


class Head:
    """A connection with an unfinished head. `ended` lists ended connections in order."""

    def __init__(self, ended: list[Head]) -> None:
        self._ended = ended

    def end_head(self) -> None:
        """Note that it was ended."""
        self._ended.append(self)


def test_the_oldest_head_is_ended_first() -> None:
    """The age counts from the first byte. A later piece does not make a head younger."""
    ended: list[Head] = []
    counted: list[None] = []
    budget = HeadBudget(1000, lambda: counted.append(None))
    first, second, third = (Head(ended) for _ in range(3))
    budget.charge(first, b"a" * 200)
    budget.charge(second, b"a" * 200)
    budget.charge(first, b"a")
    assert ended == []
    budget.charge(third, b"a" * 200)

    assert (ended, len(counted)) == ([first], 1)
    assert budget.held == 800


def test_a_head_that_alone_exceeds_the_budget_is_ended() -> None:
    """Older ones are ended before it."""
    ended: list[Head] = []
    budget = HeadBudget(1000)
    small, large = Head(ended), Head(ended)
    budget.charge(small, b"a")
    budget.charge(large, b"a" * 501)

    assert (ended, budget.held) == ([small, large], 0)


def test_a_complete_head_costs_nothing() -> None:
    """This holds whether it was charged before or not."""
    budget = HeadBudget(1000)
    head = Head([])
    budget.charge(head, b"a" * 100)
    budget.release(head)
    budget.release(head)

    assert budget.held == 0


@pytest.mark.parametrize(
    ("pieces", "cost"),
    [
        pytest.param([b"GET / HTTP/1.1"], 28, id="bytes and text"),
        pytest.param([b"GET / HTTP/1.1\r\n", b"A: b\r\n"], 44 + 512, id="an object for each line"),
        pytest.param(["X: é".encode()], 25, id="four bytes for each character"),
        pytest.param([b"X: aaaaaa", b"\xff"], 50, id="also for those that came before"),
    ],
)
def test_a_head_costs_the_memory_of_the_parser(pieces: list[bytes], cost: int) -> None:
    """The parser keeps each line as bytes and as text."""
    budget = HeadBudget(10_000)
    head = Head([])
    for piece in pieces:
        budget.charge(head, piece)

    assert budget.held == cost


def test_the_smallest_budget_holds_the_largest_head() -> None:
    """limits.maxUnfinishedHeaderBytes is at least 8 MiB. One head with all other limits at their maximum fits."""
    assert worst_case(1_048_576, 10_000) <= 8_388_608


@pytest.mark.parametrize(
    ("data", "body", "rest"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", None, b"", id="nothing"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\nGET /", None, b"GET /", id="another head"),
        pytest.param(b"A\r\n\r\nB\r\n\r\nC", None, b"C", id="behind several"),
        pytest.param(b"\r\n", None, b"", id="an end in two pieces"),
        pytest.param(b"A\r\n\r\n12345", 5, b"", id="a body"),
        pytest.param(b"A\r\n\r\n1\r\n\r\n", 5, b"", id="a body that looks like the end of a head"),
        pytest.param(b"A\r\n\r\n12345GET /", 5, b"GET /", id="a head behind a body"),
        pytest.param(b"A\r\n\r\n1\r\na\r\n0\r\n\r\nGET /", None, b"GET /", id="a head behind a chunked body"),
    ],
)
def test_the_start_of_the_next_head_is_found(data: bytes, body: int | None, rest: bytes) -> None:
    """The request before it may have a body."""
    assert after_last_head(data, body=body) == rest
