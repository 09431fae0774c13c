"""A gate that is process 1, as in a container: it collects orphans, and no other exit status."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.gate import GateProcess
from tests.support.process import until
from tests.support.process_one import AS_PROCESS_ONE, process_one
from tests.support.service import cluster, of_cluster, written
from tests.support.tools import require_process_one

if TYPE_CHECKING:
    from authgate.dev.scenario import Scenario

ORPHANS = "for n in 1 2 3 4 5; do (sleep 0.$n >/dev/null 2>&1 &); done"
"""A shell command that leaves five orphans behind."""

REAP = """
import os, subprocess, time
from authgate.service.process import reap_orphans

def ended():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()
            and open(f"/proc/{name}/stat").read().rpartition(") ")[2].startswith("Z")]

one, other = (subprocess.Popen(["sh", "-c", f"exit {status}"]) for status in (3, 4))
subprocess.run(["sh", "-c", "for n in 1 2 3; do (sleep 0.1 &); done"], check=True)
while len(ended()) < 5:
    time.sleep(0.01)
reap_orphans({one.pid, other.pid})
print(len(ended()), one.wait(), end=" ")
reap_orphans({other.pid})
print(other.wait(), end=" ")
reap_orphans()
print(len(ended()))
"""


async def test_the_status_of_a_child_is_left_to_its_owner() -> None:
    """Children that ended before an orphan keep their status. The orphan is collected after their owners read it."""
    require_process_one()
    process = await asyncio.create_subprocess_exec(
        *AS_PROCESS_ONE, sys.executable, "-c", REAP, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert output.split() == [b"5", b"3", b"4", b"0"]


def with_plugin(scenario: Scenario, folder: Path) -> Path:
    """Return a kubeconfig with an exec plugin that takes a second. It leaves orphans that end before and after it."""
    document = yaml.safe_load(scenario.kubeconfig.read_text())
    user = document["users"][0]["user"]
    credential = '{"kind":"ExecCredential","status":{"token":"\'$(cat "$0")\'"}}'
    script = f"{ORPHANS}; sleep 1.2; {ORPHANS}; printf '%s' '{credential}'"
    document["users"][0]["user"] = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "sh",
            "args": ["-c", script, user["tokenFile"]],
        }
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_orphans_leave_no_zombies_and_plugins_keep_their_status(tmp_path: Path, workers: str) -> None:
    """The plugin's token is used, and its orphans are collected when they end."""
    require_process_one()
    async with cluster(tmp_path) as scenario:
        section = {**of_cluster(scenario), "kubeconfig": str(with_plugin(scenario, tmp_path))}
        environ = {"AUTHGATE_SERVER__WORKERS": workers}
        gate = GateProcess(written(tmp_path, {"cluster": section}), environ, prefix=AS_PROCESS_ONE)
        async with gate:
            await gate.has_keys(within=30)
            inner = await process_one(gate.process)
            await until(lambda: _without_zombies(inner), within=30, otherwise=lambda: str(_zombies(inner)))
            assert "exec plugin" not in gate.process.output()
            os.kill(inner, signal.SIGTERM)
            assert await gate.process.ended(within=30)
            assert gate.process.exit_status == 0


async def _without_zombies(pid: int) -> bool:
    return not _zombies(pid)


def _zombies(parent: int) -> list[int]:
    """Return the ended children of a process whose status was not collected."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if _state(child) == "Z"]


def _state(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except FileNotFoundError:
        return ""
