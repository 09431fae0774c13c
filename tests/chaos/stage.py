"""The parts of a scenario: a folder, counters, and the callers with their expected answers."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from authgate.dev.keys import SigningKey
from tests.chaos.judge import ALLOW, DENY, Caller, LabelledCounter, Outcome
from tests.chaos.traffic import Load
from tests.support.process import until
from tests.support.service import trusting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from authgate.dev.issuer import Issuer
    from tests.support.gate import RunningGate

_SETTLE = 2.0
_MOST = 120.0
_PATIENCE = 5.0


class NotPlayedError(Exception):
    """The scenario needs something that this machine does not have. The text names it."""


class Stage:
    """One running scenario. `seconds` is the length of its fault, if the scenario can choose it.

    A request without an answer for `patience` seconds is lost.
    """

    def __init__(self, folder: Path, seconds: float, patience: float = _PATIENCE) -> None:
        self.folder = folder
        self.seconds = seconds
        self.patience = patience
        self.tally = LabelledCounter(time.monotonic())
        self.figures: list[str] = []

    def caller(self, name: str, token: str, *outcomes: Outcome, user: str | None = None) -> Caller:
        """Add a caller. These outcomes are expected for its token from now on."""
        return Caller(name, token, outcomes, time.monotonic(), user=user)

    def usual(self, issuer: Issuer) -> list[Caller]:
        """Add the callers of `document(issuer)`: twelve valid tokens, one forged, one expired and one not allowed."""
        good = [self.caller("good token", issuer.mint("web"), *ALLOW, user="corp:web") for _ in range(12)]
        stolen = SigningKey.generate(issuer.key.algorithm, kid=issuer.key.kid)
        bad = {
            "forged token": issuer.mint("web", key=stolen),
            "expired token": issuer.mint("web", lifetime=-3600),
            "token of a stranger": issuer.mint("stranger"),
        }
        return [*good, *(self.caller(name, token, *DENY) for name, token in bad.items())]

    def load(
        self,
        callers: Sequence[Caller],
        *gates: RunningGate,
        rate: float = 200.0,
        timeout: float | None = None,
    ) -> Load:
        """Return a load of requests of these callers to the gate; their timeout is `patience` by default."""
        timeout = self.patience if timeout is None else timeout
        return Load(self.tally, callers, lambda: gates[0].address, rate=rate, timeout=timeout)

    def tolerate(self, *outcomes: Outcome) -> None:
        """Accept these outcomes from every caller from now on; without outcomes, accept none."""
        self.tally.tolerate(time.monotonic(), *outcomes)

    def expect(self, caller: Caller, *outcomes: Outcome) -> None:
        """Expect these outcomes for a caller from now on."""
        caller.expected.change(outcomes, time.monotonic())

    async def lasts(self, seconds: float = _SETTLE) -> None:
        """Let the load run for some time."""
        await asyncio.sleep(seconds)

    async def comes(
        self, what: str, holds: Callable[[], Awaitable[bool]], *, within: float, since: float | None = None
    ) -> None:
        """Wait until a condition is true, and record the time it took; ChildFailedError if it takes too long."""
        began = time.monotonic() if since is None else since
        await until(holds, within=within, otherwise=lambda: what)
        self.figures.append(f"{what}: {time.monotonic() - began:.2f} s")

    async def passes(self, what: str, gate: RunningGate, caller: Caller, *, within: float) -> None:
        """Wait until a caller's token is allowed, record the time it took, and expect only this from then on."""

        async def opens() -> bool:
            try:
                return (await gate.request(caller.token)).status == 200
            except OSError:
                return False

        await self.comes(what, opens, within=within)
        self.expect(caller, *ALLOW)


def document(
    issuer: Issuer, *further: dict[str, Any], users: Sequence[str] = (), **gate: Any
) -> dict[str, Any]:
    """Return a configuration that allows `web` and these users of an issuer; `further` are more entries of `jwt`."""
    allowed = [f"corp:{user}" for user in ("web", *users)]
    if further:
        allowed += [f"{entry['gate']['name']}:web" for entry in further]
    return {
        "jwt": [trusting(issuer, **gate), *further],
        "policies": {"default": {"allow": [{"users": allowed}]}},
    }


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fault and its promise."""

    name: str
    promise: str
    play: Callable[[Stage], Awaitable[None]]
    longest: float
    """The longest time, in seconds, without an allowed valid token. With `throughout`, the length of the fault is
    added."""
    throughout: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """The result of a scenario."""

    name: str
    verdict: str
    seconds: float
    tally: LabelledCounter
    figures: tuple[str, ...] = field(default=())

    @property
    def good(self) -> bool:
        """Whether the promise was kept, or the scenario cannot run on this machine."""
        return self.verdict == "kept" or self.verdict.startswith("not played")


async def played(scenario: Scenario, seconds: float, slack: float = 0.0) -> Row:
    """Run a scenario to its end. It raises no exception.

    `slack` is added to the promised times, in seconds, for a machine that may be busy with something else.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="authgate-chaos-") as folder:
        stage = Stage(Path(folder), seconds, _PATIENCE + slack)
        verdict = ""
        try:
            async with asyncio.timeout(_MOST + seconds + slack):
                await scenario.play(stage)
        except NotPlayedError as error:
            verdict = f"not played: {error}"
        except Exception as error:  # noqa: BLE001 - a scenario that fails must not stop the others
            verdict = f"failed: {str(error) or type(error).__name__}".splitlines()[0]
    longest = scenario.longest + slack + (seconds if scenario.throughout else 0)
    if not verdict and stage.tally.wrong:
        verdict = "wrong answers"
    elif not verdict and stage.tally.longest > longest:
        verdict = f"too long without an answer, {longest:g} s promised"
    return Row(scenario.name, verdict or "kept", time.monotonic() - began, stage.tally, tuple(stage.figures))
