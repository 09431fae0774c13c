"""`make soak`: an hour of load with key rotation, reloads and outages, without wrong answers or drift.

Each minute has a new signing key at 10 s, another configuration at 20 s, and an outage of ten seconds at 30 s, of the
issuer and of the API server in turn. One token in a hundred requests is new.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from authgate.dev.keys import SigningKey
from authgate.dev.scenario import LEGACY_AUDIENCE
from tests.chaos.drift import Usage, drift
from tests.chaos.judge import ALLOW, LabelledCounter, Outcome, percentile
from tests.chaos.stage import Stage, document
from tests.support.process import until
from tests.support.service import cluster, of_cluster, published, written
from tests.support.workers import Crew

if TYPE_CHECKING:
    from authgate.dev.issuer import Issuer
    from tests.chaos.judge import Caller
    from tests.chaos.traffic import Load
    from tests.support.embedded_server import EmbeddedServer
    from tests.support.scenario import Scenario

_OUTAGE = 10.0
_RECOVERY = 8.0
"""Seconds until fetches and reviews that failed in an outage are retried."""
_FREQUENT = {"AUTHGATE_SERVER__RELOAD_INTERVAL": "500ms"}


@dataclass(frozen=True, slots=True)
class _Plan:
    """The times of events, in seconds of a minute with a length of `length` seconds."""

    length: float
    rate: float

    def at(self, second: float) -> float:
        return second * self.length / 60


class _Soak:
    def __init__(self, stage: Stage, crew: Crew, issuer: Issuer, plan: _Plan) -> None:
        self.stage, self.crew, self.issuer, self.plan = stage, crew, issuer, plan
        self.callers = stage.usual(issuer)
        self.opaque: list[Caller] = []

    async def renew_tokens(self) -> None:
        """Replace a valid token with a new one every hundred requests."""
        number = 0
        while True:
            await asyncio.sleep(100 / self.plan.rate)
            number = (number + 1) % 12
            if self.callers[number].name == "good token":
                self.callers[number].token = self.issuer.mint("web")

    async def minute(self, number: int, load: Load, web: EmbeddedServer, scenario: Scenario) -> None:
        """Run one minute with all its events."""
        began = time.monotonic()

        async def moment(second: float) -> None:
            await asyncio.sleep(max(0.0, began + self.plan.at(second) - time.monotonic()))

        await moment(10)
        self.stage.tolerate(Outcome.UNAVAILABLE)  # until a fetch gets the new key
        self.issuer.rotate(SigningKey.generate("ES256"))
        self.issuer.withdraw(*self.issuer.keys[2:])
        self.callers[:] = self.stage.usual(self.issuer)
        load.callers[:] = self.callers
        await moment(18)
        self.stage.tolerate()
        await moment(20)
        self.reload(scenario, generous=number % 2 == 0)
        await moment(30)
        self.stage.tolerate(Outcome.UNAVAILABLE)
        server = web if number % 2 == 0 else scenario.server
        await server.stop()
        await asyncio.sleep(min(_OUTAGE, self.plan.at(_OUTAGE)))
        await server.start()
        await moment(30 + _OUTAGE + _RECOVERY)
        self.stage.tolerate()
        await moment(60)

    def reload(self, scenario: Scenario, *, generous: bool) -> None:
        """Write a configuration that differs from the previous one. Every caller's answer stays the same."""
        written(self.stage.folder, configuration(self.issuer, scenario, users=["guest"] if generous else []))


def configuration(issuer: Issuer, scenario: Scenario, users: list[str]) -> dict[str, object]:
    """Return a configuration with the issuer and the cluster. The cluster's opaque tokens need TokenReviews."""
    made = document(issuer, users=users)
    made["policies"]["default"]["allow"].append({"groups": ["robots"]})
    # A verdict that is cached longer than the outage would hide it.
    return {
        **made,
        "cluster": of_cluster(scenario, legacyAudiences=[LEGACY_AUDIENCE]),
        "cache": {"ttl": "5s"},
    }


async def _soaked(arguments: argparse.Namespace) -> list[str]:
    """Return all errors of the run."""
    plan = _Plan(arguments.seconds, arguments.rate)
    usages: list[Usage] = []
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="authgate-soak-") as scratch:
        stage = Stage(Path(scratch), plan.length)
        async with (
            published() as (issuer, web),
            cluster(stage.folder / "cluster") as scenario,
            Crew(stage.folder, configuration(issuer, scenario, []), _FREQUENT) as crew,
        ):
            soak = _Soak(stage, crew, issuer, plan)
            robots = [
                stage.caller(
                    "opaque token", scenario.state.static_token(f"robot-{number}", groups=("robots",)), *ALLOW
                )
                for number in range(6)
            ]
            renewing = asyncio.create_task(soak.renew_tokens())
            async with (
                stage.load(soak.callers, crew, rate=plan.rate * 0.9) as load,
                stage.load(robots, crew, rate=plan.rate * 0.1),
            ):
                for number in range(arguments.minutes):
                    before = _counts(stage.tally)
                    await soak.minute(number, load, web, scenario)
                    usages.append(usage_of(await _processes(crew)))
                    _show(number, stage.tally, before, usages[-1])
                    stage.tally.latencies.clear()
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing
        wrong = stage.tally.wrong
        for what, count in stage.tally.examples.most_common():
            print(f"WRONG {count} times: {what}")
    problems = [f"{wrong} wrong answers"] if wrong else []
    return problems + drift(usages)


async def _processes(crew: Crew) -> list[int]:
    found: list[int] = []

    async def all_there() -> bool:
        found[:] = await crew.pids()
        return all(found)

    await until(all_there, within=40)
    return [crew.process.pid, *found]


def usage_of(pids: list[int]) -> Usage:
    """Return the resources that these processes use together."""
    rss = 0
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        rss += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return Usage(rss / 1024, sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids))


def _counts(tally: LabelledCounter) -> tuple[int, int, int]:
    return tally.sent, tally.wrong, tally.unavailable


def _show(number: int, tally: LabelledCounter, before: tuple[int, int, int], usage: Usage) -> None:
    sent, wrong, unavailable = (now - then for now, then in zip(_counts(tally), before, strict=True))
    p99 = percentile(tally.latencies, 0.99) * 1000
    print(
        f"{number + 1:4d}  requests {sent:7d}  wrong {wrong:4d}  503 {unavailable:5d}  RSS {usage.rss_mb:7.1f} MB  "
        f"descriptors {usage.descriptors:4d}  p99 {p99:6.1f} ms",
        flush=True,
    )


def main() -> None:
    """Run the soak; exit with 1 after a wrong answer or drift."""
    parser = argparse.ArgumentParser(
        prog="tests.chaos.soak", description="load with faults, minute by minute"
    )
    parser.add_argument("--minutes", type=int, default=60, help="how many")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long a minute lasts; at least 30")
    parser.add_argument("--rate", type=float, default=500.0, help="requests a second")
    problems = asyncio.run(_soaked(parser.parse_args()))
    print("verdict: " + ("; ".join(problems) or "no wrong answer and no drift"))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
