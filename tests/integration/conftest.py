"""Run tests in asyncio's own event loop, and if a module asks for it, also in the loop that `authgate serve` uses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from authgate.cli.serve import loop_factory

if TYPE_CHECKING:
    from collections.abc import Callable

    LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(item: pytest.Function) -> dict[str, LoopFactory]:
    """A module with `IN_EVERY_LOOP = True` is about sockets, where event loops differ."""
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    fastest = loop_factory()
    if fastest is not None and getattr(item.module, "IN_EVERY_LOOP", False):
        factories["fastest"] = fastest
    return factories
