"""Upgrade, stop and kill authgate while it gets requests."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.cluster import CommandError, eventually
from tests.e2e.installing import GATE, install, shared_values
from tests.e2e.stage import BEHIND_SHARED, CALLER, SHARED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.e2e.stage import Load, Stage

RIGHT: Final = {"good 200", "forged 401"}
UNAVAILABLE: Final = {"good 503", "forged 503"}

# Send SIGKILL to authgate, which is process 1 of its container. No process in the container can send it, but the kernel
# does if the container's memory is full. It kills the largest process with the highest score. That is authgate, because
# each process that fills the memory is smaller.
_FILL_THE_MEMORY: Final = """
import os, time
with open("/proc/1/oom_score_adj", "w") as score:
    score.write("1000")
for _ in range(64):
    if os.fork() == 0:
        taken = b"x" * (20 << 20)
        time.sleep(60)
        os._exit(0)
    time.sleep(0.05)
time.sleep(60)
"""


def an_upgrade(stage: Stage) -> None:
    """No request fails while all pods of authgate are replaced."""
    report = stage.report
    report.part("a rolling upgrade under load")
    with _loads(stage) as (through, straight):
        old = _uids(stage)
        values = shared_values(stage)
        values["config"]["cache"] = {"ttl": "59s"}
        took = install(stage, "authgate", values)
        # helm waits for the new pods. The old ones still answer for a while, and then end.
        eventually("the old gates end", 90, lambda: not old & _uids(stage))
        time.sleep(2)
        for how, load in (("through nginx", through), ("directly, with a new connection each", straight)):
            counts = load.end()
            report.check(f"not one request failed, {how}", set(counts) == RIGHT, _spoken(counts))
    report.note(f"the upgrade of two gates took {took:.1f} s")


def a_deletion(stage: Stage) -> None:
    """A pod that is killed without a grace period loses requests, but gives no wrong answer."""
    report = stage.report
    report.part("a gate deleted by force under load")
    with _loads(stage) as (through, straight):
        victim = stage.cluster.pods(GATE)[0]["metadata"]["name"]
        stage.cluster.kubectl("delete", "pod", victim, "--force", "--grace-period=0", "--wait=false")
        _settle(stage)
        _no_wrong_answer(stage, through, straight)


def a_kill(stage: Stage) -> None:
    """The kernel kills authgate for its memory use (SIGKILL), and the kubelet restarts it."""
    report = stage.report
    report.part("a gate killed by the kernel for its memory under load")
    with _loads(stage) as (through, straight):
        victim = stage.cluster.pods(GATE)[0]["metadata"]["name"]
        started = time.monotonic()
        try:
            stage.cluster.python(victim, _FILL_THE_MEMORY)
        except CommandError:
            report.note(f"{victim} ran out of memory after {time.monotonic() - started:.1f} s")
        eventually("the kubelet starts the gate again", 60, lambda: _state(stage, victim)["restartCount"] > 0)
        ended = _state(stage, victim)["lastState"]["terminated"]
        seen = f"{ended['reason']}, exit code {ended['exitCode']}"
        report.check("the gate was killed", ended["exitCode"] == 137, seen)
        _settle(stage)
        report.note(f"ready again {time.monotonic() - started:.1f} s after the start")
        _no_wrong_answer(stage, through, straight)


@contextmanager
def _loads(stage: Stage) -> Iterator[tuple[Load, Load]]:
    eventually("both gates are ready", 90, lambda: _ready(stage) == 2)
    token = stage.token_of(CALLER)
    with (
        stage.load(BEHIND_SHARED, token, keep=True) as through,
        stage.load(SHARED, token, keep=False) as straight,
    ):
        time.sleep(2)
        yield through, straight


def _settle(stage: Stage) -> None:
    eventually("both gates are ready again", 90, lambda: _ready(stage) == 2)
    time.sleep(2)


def _no_wrong_answer(stage: Stage, through: Load, straight: Load) -> None:
    counts = through.end()
    good = set(counts) <= RIGHT | UNAVAILABLE and set(counts) >= RIGHT
    stage.report.check("nginx answers 200, 401 or 503, each to whom it belongs", good, _spoken(counts))
    counts = straight.end()
    # Clients with a connection to the killed process see that it closes.
    good = {seen for seen in counts if seen.rpartition(" ")[2].isdigit()} <= RIGHT | UNAVAILABLE
    stage.report.check(
        "the gate itself gives no other answer", good and set(counts) >= RIGHT, _spoken(counts)
    )


def _state(stage: Stage, pod: str) -> Any:
    return stage.cluster.get("pod", pod)["status"]["containerStatuses"][0]


def _ready(stage: Stage) -> int:
    return sum(
        condition["type"] == "Ready" and condition["status"] == "True"
        for pod in stage.cluster.pods(GATE)
        for condition in pod["status"].get("conditions", [])
    )


def _uids(stage: Stage) -> set[str]:
    return {pod["metadata"]["uid"] for pod in stage.cluster.get("pods", "--selector", GATE)["items"]}


def _spoken(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what}: {count}" for what, count in counts.items())
