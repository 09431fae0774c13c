"""Fixtures of unit tests: a clock that does not advance, cached private keys, and a restored log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from authgate.observability.log import AUDIT, LOGGER
from tests.support.clock import FakeClock
from tests.support.key_pool import KeyPool

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> FakeClock:
    """Time, in the test's own hands."""
    return FakeClock()


@pytest.fixture(scope="session")
def pool() -> KeyPool:
    """Private keys, each made when it is first asked for."""
    return KeyPool()


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Puts the handlers and levels of the process back after a test that configured the log."""
    root, names = logging.getLogger(), ("", LOGGER, AUDIT, "aiohttp")
    handlers = root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
