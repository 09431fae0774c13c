"""A gate whose standard descriptors are closed at startup serves, and ends with status 0."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from itertools import chain, combinations
from typing import TYPE_CHECKING

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.process import accepts, free_port, until
from tests.support.service import knowing, written

if TYPE_CHECKING:
    from pathlib import Path

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
COMBINATIONS = list(chain.from_iterable(combinations((0, 1, 2), count) for count in range(4)))


@pytest.mark.parametrize(
    "closed", COMBINATIONS, ids=lambda closed: "closed " + (",".join(map(str, closed)) or "none")
)
async def test_closed_standard_descriptors_do_not_abort_the_gate(
    tmp_path: Path, closed: tuple[int, ...]
) -> None:
    """With any of the three closed, the gate answers, and SIGTERM ends it with status 0."""
    port = free_port()
    document = {
        "jwt": [knowing(ISSUER)],
        "server": {"listen": [f"127.0.0.1:{port}"], "admin": None},
        "shutdown": {"delay": "0s"},
    }
    closing = " ".join(f"{number}>&-" for number in closed)
    command = f'exec "{sys.executable}" -m authgate serve --config "{written(tmp_path, document)}" {closing}'
    process = await asyncio.create_subprocess_exec("sh", "-c", command, env={**os.environ})

    async def answers() -> bool:
        assert process.returncode is None
        return await accepts(port)

    try:
        await until(answers, within=30)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
