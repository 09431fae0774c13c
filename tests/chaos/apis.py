"""Faults of the API server: down, hanging, restarted while pods are deleted."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from authgate.dev.kube_api import TOKEN_REVIEWS_PATH
from authgate.dev.scenario import LEGACY_AUDIENCE
from tests.chaos.judge import ALLOW, DENY, Caller, Outcome
from tests.chaos.stage import NotPlayedError
from tests.support.faults import Hold
from tests.support.gate import AUDIENCE, GateProcess, write_configuration
from tests.support.kube import ControlPlane
from tests.support.service import cluster, of_cluster, written
from tests.support.tools import find_tool
from tests.support.watching import comes_to_see, let_watch, pod_token

if TYPE_CHECKING:
    from tests.chaos.stage import Stage
    from tests.support.scenario import Scenario

_NAMESPACE = "chaos"
_CACHE = {"ttl": "3s", "negativeTTL": "1s"}
"""Short, so that an outage has an effect at once."""


async def api_down(stage: Stage) -> None:
    """Stop the API server: signed tokens are accepted, and opaque ones get 503 after their verdicts expire."""
    async with cluster(stage.folder / "cluster") as scenario:
        await _without_reviews(stage, scenario, hangs=False)


async def api_hangs(stage: Stage) -> None:
    """Make the API server accept TokenReviews and answer none."""
    async with cluster(stage.folder / "cluster") as scenario:
        await _without_reviews(stage, scenario, hangs=True)


async def _without_reviews(stage: Stage, scenario: Scenario, *, hangs: bool) -> None:
    section = of_cluster(scenario, legacyAudiences=[LEGACY_AUDIENCE])
    async with GateProcess(written(stage.folder, {"cluster": section, "cache": _CACHE})) as gate:
        await gate.has_keys(within=30)
        signed, opaque, strange = _callers_of(stage, scenario)
        # Two loads: clients that wait for a review must not delay the others.
        async with stage.load(signed, gate), stage.load([*opaque, strange], gate):
            await stage.lasts()
            for caller in (*opaque, strange):  # a cached rejection can also expire and become unavailable
                stage.expect(caller, *(DENY if caller is strange else ALLOW), Outcome.UNAVAILABLE)
            if hangs:
                scenario.server.faults.set(TOKEN_REVIEWS_PATH, Hold())
            else:
                await scenario.server.stop()
            await stage.lasts(stage.seconds)
            if hangs:
                scenario.server.faults.clear()
            else:
                await scenario.server.start()
            await stage.passes(
                "opaque tokens passed after the API server came back", gate, opaque[0], within=30
            )
            await stage.lasts(
                4
            )  # reviews that started before end with their timeout, and rejections are renewed
            for caller in opaque:
                stage.expect(caller, *ALLOW)
            stage.expect(strange, *DENY)
            await stage.lasts()


def _callers_of(stage: Stage, scenario: Scenario) -> tuple[list[Caller], list[Caller], Caller]:
    state = scenario.state
    demo = state.service_account("demo")
    signed = [
        stage.caller("signed token", state.account_token(demo, (AUDIENCE,), lifetime=3600), *ALLOW)
        for _ in range(6)
    ]
    opaque = [
        stage.caller(
            f"opaque token {number}", state.static_token(f"robot-{number}"), *ALLOW, user=f"robot-{number}"
        )
        for number in range(6)
    ]
    return signed, opaque, stage.caller("unknown opaque token", "nobody-has-this", *DENY)


async def watch_broken(stage: Stage) -> None:
    """Kill a real kube-apiserver with `revocation: watch`, delete a pod after its restart, and repeat."""
    for tool in ("kube-apiserver", "etcd"):
        if find_tool(tool) is None:
            raise NotPlayedError(f"{tool} is missing; run `make cluster-tools`")
    async with ControlPlane(stage.folder / "plane") as plane:
        tokens = [(await pod_token(plane, _NAMESPACE, f"web-{number}"))[0] for number in range(6)]
        own = await plane.gate_token(_NAMESPACE)
        await let_watch(plane, _NAMESPACE, ("serviceaccounts", "pods", "nodes"))
        file = write_configuration(stage.folder / "gate", plane, own, cluster={"revocation": "watch"})
        async with GateProcess(file) as gate:
            await gate.has_keys(within=30)
            await comes_to_see(gate, within=30)
            callers = [
                stage.caller(f"token of web-{number}", token, *ALLOW) for number, token in enumerate(tokens)
            ]
            async with stage.load(callers, gate):
                await stage.lasts()
                await _deleted(stage, plane, 0, callers)
                for number in (1, 2):
                    await plane.stop_api()
                    await stage.lasts(stage.seconds / 2)
                    await plane.start_api()
                    await _deleted(stage, plane, number, callers)
                await stage.lasts()


async def _deleted(stage: Stage, plane: ControlPlane, number: int, callers: list[Caller]) -> None:
    """Delete a pod. Its token must stay rejected after the first rejection, and other tokens must stay accepted."""
    caller = callers[number]
    stage.expect(caller, *ALLOW, *DENY)
    caller.final_denial = True
    await plane.admin.delete(f"/api/v1/namespaces/{_NAMESPACE}/pods/web-{number}")

    async def refused() -> bool:
        await asyncio.sleep(0)
        return caller.denied_since is not None

    began = time.monotonic()
    await stage.comes("a deleted pod's token was refused", refused, within=30, since=began)
