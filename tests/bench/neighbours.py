"""Good clients during an attack: their rate compared with the rate without it, and authgate's memory."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.bench.report import Row, Series
from tests.bench.server import CLIENT_CORE, Server, pinned
from tests.bench.wrk import LoadError, wrk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.stage import Stage

_SHARE = 0.5
"""The part of their rate that good clients must keep."""

_ATTACKS = {
    "5,000 connections that send one byte a second": ("slow", 5000),
    "200 clients that never read responses": ("unread", 200),
    "3,700 connections with 63 KB of unfinished headers": ("unfinished", 3700),
    "500 requests a second with 60 KB of headers": ("headers", 500),
    "500 tokens of 15 KB a second": ("large", 500),
    "500 forged tokens a second": ("forged", 500),
    "500 unknown key ids a second": ("unknown", 500),
}
_WARMING = 2.0  # seconds; slow attacks need this time to start


def neighbours(stage: Stage) -> None:
    """Compare the rate of one cached token during each attack with the rate without an attack."""
    stage.say("beside a bad neighbour")
    with stage.gate() as gate:
        wrk(gate.url, stage.one, 1)
        for name, (kind, size) in _ATTACKS.items():
            before = gate.rss_kb()
            alone, beside = [], []
            for _ in range(min(3, stage.effort.rounds)):
                alone.append(wrk(gate.url, stage.one, stage.effort.seconds).rate)
                with _attack(stage, gate, kind, size):
                    beside.append(_rate(stage, gate))
            grown = (gate.rss_kb() - before) / 1024
            stage.say(f"  {name}: {min(beside):,.0f} of {min(alone):,.0f} /s, {grown:+.1f} MB")
            stage.report.rows.append(
                Row(
                    f"{name} (memory {grown:+.1f} MB)",
                    Series("authgate", "/s", tuple(beside)),
                    Series("without the attack", "/s", tuple(alone)),
                    _SHARE,
                    table="neighbours",
                )
            )


def _rate(stage: Stage, gate: Server) -> float:
    """Return the rate of good clients; 0 if they get no answers or wrong ones."""
    try:
        return wrk(gate.url, stage.one, stage.effort.seconds).rate
    except LoadError as error:
        stage.say(f"  {error}")
        return 0.0


@contextmanager
def _attack(stage: Stage, gate: Server, kind: str, size: int) -> Iterator[None]:
    host, _, port = gate.url.removeprefix("http://").removesuffix("/verify").rpartition(":")
    kid = stage.store.key("RS256").kid or ""
    seconds = stage.effort.seconds + _WARMING + 1
    command = [sys.executable, "-m", "tests.bench.hostile", kind, host, port, str(size), str(seconds), kid]
    attacker = subprocess.Popen(
        pinned(CLIENT_CORE, command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert attacker.stdout is not None
        attacker.stdout.readline()
        time.sleep(_WARMING)
        yield
    finally:
        attacker.kill()
        attacker.communicate()
