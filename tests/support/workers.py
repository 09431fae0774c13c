"""A gate with several workers, which tests can signal and wait for."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.support.gate import GateProcess
from tests.support.process import accepts, until
from tests.support.service import written

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROCESS = re.compile(r"process (\d+) ")


class Crew(GateProcess):
    """`authgate serve --workers N` for the duration of `async with`. It is ready when every worker is."""

    def __init__(
        self,
        folder: Path,
        document: Mapping[str, Any],
        environ: Mapping[str, str] | None = None,
        *,
        workers: int = 2,
    ) -> None:
        self.count = workers
        own = {"AUTHGATE_SERVER__WORKERS": str(workers)}
        super().__init__(written(folder, document), {**own, **(environ or {})})

    async def pids(self) -> list[int]:
        """Return the workers' process ids by index; 0 for a missing worker."""
        status = json.loads((await self.admin("/status")).body)
        told = {check["name"]: check["detail"] for check in status["checks"]}
        found = [_PROCESS.match(told[f"worker/{index}"]) for index in range(self.count)]
        return [int(match[1]) if match else 0 for match in found]

    async def kill(self, index: int, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a worker a signal; return its process id."""
        pid = (await self.pids())[index]
        os.kill(pid, number)
        return pid

    async def refuses(self) -> bool:
        """Return whether its address refuses connections."""
        return not await accepts(int(self.address.rpartition(":")[2]))

    async def replaced(self, index: int, pid: int, *, within: float) -> None:
        """Wait until another process has this index and all workers are ready."""

        async def other() -> bool:
            return (await self.pids())[index] not in (0, pid) and await self.ready()

        await until(other, within=within, otherwise=self.process.log_tail)

    async def _answers(self) -> bool:
        try:
            return await self.ready()
        except aiohttp.ClientError:
            return False


async def exited(pid: int) -> None:
    """Wait until the process has ended. It may still be a zombie."""

    async def ended() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
        except FileNotFoundError:
            return True

    await until(ended, within=30)
