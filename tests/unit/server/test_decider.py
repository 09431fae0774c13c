"""When the last decision of a replaced generation is finished."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from authgate.gate import Gate
from authgate.policy.headers import HeaderMapper
from authgate.policy.rules import Policy
from authgate.server.decider import Serving
from tests.support.verifiers import ScriptedVerifier

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def serving() -> Serving:
    """A gate that can decide."""
    headers = HeaderMapper("oauth2-proxy", 16384)
    return Serving(Gate(ScriptedVerifier(), {"default": Policy("default")}, headers, 16384), "nginx")


async def turns(done: Callable[[], bool]) -> bool:
    """Return a condition after some iterations of the event loop."""
    for _ in range(5):
        await asyncio.sleep(0)
    return done()


async def test_without_open_decisions_there_is_no_wait(serving: Serving) -> None:
    """This holds before the first request and after the last one."""
    await serving.idle()
    with serving:
        pass
    await serving.idle()


async def test_the_wait_ends_with_the_last_open_decision(serving: Serving) -> None:
    """This also holds if one of them fails."""
    with serving as gate:
        assert gate is serving.gate
        waiting = asyncio.create_task(serving.idle())
        with pytest.raises(LookupError), serving:
            raise LookupError
        assert not await turns(waiting.done)
    assert await turns(waiting.done)
