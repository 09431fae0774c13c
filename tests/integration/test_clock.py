"""A system clock that is far out of range: one clear line, no traceback, and every request gets an answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.gate import GateProcess
from tests.support.service import knowing, written
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from tests.support.gate import RunningGate

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
WRONG = "the system clock is wrong"


def faked(moment: str) -> dict[str, str]:
    """Return variables that set the wall clock of a program. Its timers are not affected.

    faketime itself stays between a program and who stops it, and does not forward signals. So it prints its variables.
    """
    tool = require_tool("faketime", "it changes a program's clock")
    command = [str(tool), "--exclude-monotonic", "-f", f"@{moment}", "env", "-0"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    found = dict(line.split("=", 1) for line in printed if line.startswith(("LD_PRELOAD=", "FAKETIME")))
    del found["FAKETIME_SHARED"]  # it ends with faketime
    return found


async def wrong_clocks(gate: RunningGate, at: datetime) -> None:
    """Send all kinds of requests to a gate with this clock."""
    now = int(at.timestamp())
    claims = {"iat": now, "nbf": now, "exp": now + 3600}
    assert await gate.verdict(ISSUER.mint(claims=claims)) == (200, "")
    assert await gate.verdict(ISSUER.mint(claims={**claims, "exp": now - 3600})) == (401, "token_expired")
    early = ISSUER.mint(claims={**claims, "nbf": now + 1800})
    assert await gate.verdict(early) == (401, "token_not_yet_valid")
    for path in ("/livez", "/readyz", "/readyz?verbose", "/status", "/metrics"):
        assert (await gate.admin(path)).status == 200
    assert await gate.metric("authgate_config_last_reload_success_timestamp_seconds") >= now


@pytest.mark.parametrize(
    ("year", "workers", "lines"),
    [
        pytest.param(1971, 1, 1, id="a dead battery"),
        pytest.param(1971, 2, 1, id="workers"),
        pytest.param(2037, 1, 0, id="before 32 bits end"),
        pytest.param(2039, 1, 0, id="after 32 bits ended"),
        pytest.param(2107, 1, 1, id="after unsigned 32 bits ended"),
        pytest.param(2262, 1, 1, id="the last year of Python's clock"),
    ],
)
async def test_a_gate_answers_in_any_year(tmp_path: Path, year: int, workers: int, lines: int) -> None:
    """Tokens are decided by the clock as it is, and one log line reports an implausible year."""
    began = datetime(year, 2, 1, tzinfo=UTC)
    file = written(tmp_path, {"jwt": [knowing(ISSUER)], "server": {"workers": workers}})
    gate = GateProcess(file, {"TZ": "UTC", **faked(f"{began:%Y-%m-%d %H:%M:%S}")})
    async with gate:
        await gate.becomes_ready(within=30)
        await wrong_clocks(gate, began)
    log = [json.loads(line) for line in gate.process.output().splitlines()]
    assert sum(WRONG in line["body"] for line in log) == lines
    assert "Traceback" not in gate.process.output()


@pytest.mark.parametrize("command", [["serve"], ["version"]], ids=" ".join)
def test_a_clock_that_python_cannot_read_is_one_line(command: list[str]) -> None:
    """Python counts nanoseconds in 64 bits, up to 2262. The kernel refuses later dates, but a library may not."""
    done = subprocess.run(
        [sys.executable, "-m", "authgate", *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **faked("9999-12-31 23:59:58")},
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert WRONG in done.stderr
