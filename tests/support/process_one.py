"""Run a program as process 1 of a new PID namespace, as in a container."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.process import until

if TYPE_CHECKING:
    from tests.support.process import ChildProcess

AS_PROCESS_ONE = (
    "unshare",
    *(() if os.geteuid() == 0 else ("--map-root-user",)),
    *("--pid", "--fork", "--mount-proc", "--kill-child"),
)
"""The command that runs another command as process 1."""


def why_impossible() -> str | None:
    """Return why no PID namespace can be created here, or None if it can."""
    try:
        done = subprocess.run([*AS_PROCESS_ONE, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unshare is missing (Debian: util-linux)"
    return None if done.returncode == 0 else f"a PID namespace cannot be made here: {done.stderr.strip()}"


async def process_one(process: ChildProcess) -> int:
    """Wait until a child's process 1 is authgate; return its process id outside of the namespace."""
    found: list[int] = []

    async def started() -> bool:
        if not process.running:
            return False
        pid = process.pid
        found[:] = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return bool(found) and b"authgate" in Path(f"/proc/{found[0]}/cmdline").read_bytes()

    await until(started, within=30, otherwise=process.log_tail)
    return found[0]
