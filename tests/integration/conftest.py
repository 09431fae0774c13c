"""Run tests in asyncio's own event loop, and if a module asks for it, also in the loop that `authgate serve` uses."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from authgate.cli.serving import loop_factory
from authgate.observability.log import AUDIT
from tests.support.audit_lines import AuditCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(autouse=True)
def audit_lines_are_as_documented() -> Iterator[None]:
    """Every audit line of a gate in this process is as docs/audit.schema.json requires."""
    check, logger = AuditCheck(), logging.getLogger(AUDIT)
    logger.addHandler(check)
    yield
    logger.removeHandler(check)
    assert check.problems == []


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(item: pytest.Function) -> dict[str, LoopFactory]:
    """A module with `IN_EVERY_LOOP = True` is about sockets, where event loops differ."""
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    fastest = loop_factory()
    if fastest is not None and getattr(item.module, "IN_EVERY_LOOP", False):
        factories["fastest"] = fastest
    return factories
