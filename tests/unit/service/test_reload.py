"""A reload blocks no requests, neither while it composes policies nor while it reads the file."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from authgate.compose import Dependencies, compose
from authgate.config import load
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.observability.metrics import Metrics
from authgate.service import ConfigFile
from authgate.service.process import SystemClock
from authgate.service.reload import Reloader
from tests.support.service import knowing, written

if TYPE_CHECKING:
    from pathlib import Path

    from authgate.config import Config, LoadedConfig

POLICIES = 300


def many(folder: Path) -> Path:
    """A configuration file with many policies."""
    named = {f"policy-{number}": {"allow": [{"users": [f"user-{number}"]}]} for number in range(POLICIES)}
    issuer = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
    return written(folder, {"jwt": [knowing(issuer)], "policies": named})


async def test_the_event_loop_runs_after_each_policy(tmp_path: Path) -> None:
    """The longest pause is the time for one policy, however many there are."""
    config = load(many(tmp_path), {}).config
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    answering = asyncio.create_task(others())
    pipeline = await compose(config, Dependencies(clock=SystemClock(), metrics=Metrics(), environ={}))
    answering.cancel()
    assert turns >= POLICIES
    await pipeline.close()


async def test_the_file_is_read_in_another_thread(tmp_path: Path) -> None:
    """Requests are answered while a long file is parsed."""
    path = many(tmp_path)
    threads = []

    def read() -> LoadedConfig:
        threads.append(threading.current_thread())
        return load(path, {})

    adopted = asyncio.Event()

    async def adopt(_: Config) -> None:
        adopted.set()

    file = ConfigFile(path, read)
    reloader = Reloader(file, load(path, {}).config, adopt, Metrics())
    running = asyncio.create_task(reloader.run())
    reloader.ask()
    await adopted.wait()
    running.cancel()
    assert threading.main_thread() not in threads
