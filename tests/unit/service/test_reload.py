"""A reload blocks no requests, neither while it composes policies nor while it reads the file."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from authgate.cli.config_process import ConfigProcess
from authgate.compose import Dependencies, compose
from authgate.config import load
from authgate.config.plain import file_state, plain
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.observability.metrics import Metrics
from authgate.service import ConfigFile
from authgate.service.process import SystemClock
from authgate.service.reload import Reloader, digest_of
from tests.support.service import knowing, written

if TYPE_CHECKING:
    from authgate.config import Config

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


async def test_the_event_loop_runs_while_the_file_is_read(tmp_path: Path) -> None:
    """Requests are answered while a child process parses a long file."""
    path = many(tmp_path)
    reading = ConfigProcess(["serve", "--config", str(path)])
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    adopted: asyncio.Future[tuple[Config, int]] = asyncio.get_running_loop().create_future()

    async def adopt(config: Config) -> None:
        adopted.set_result((config, turns))

    file = ConfigFile(path, reading.read_again, file_state(path))
    reloader = Reloader(file, plain(load(path, {}).config), adopt, Metrics())
    answering, running = asyncio.create_task(others()), asyncio.create_task(reloader.run())
    reloader.ask()
    config, before = await adopted
    for task in (answering, running):
        task.cancel()
    assert len(config.policies) == POLICIES
    assert before > POLICIES


def test_only_regular_files_have_a_digest(tmp_path: Path) -> None:
    """A pipe and a device, which could be read forever, have none, so a gate can start with them."""
    file, pipe = tmp_path / "file", tmp_path / "pipe"
    file.write_bytes(b"jwt: []\n")
    os.mkfifo(pipe)

    assert digest_of(file) == hashlib.sha256(b"jwt: []\n").hexdigest()
    assert [digest_of(path) for path in (pipe, Path("/dev/zero"), tmp_path)] == ["", "", ""]
