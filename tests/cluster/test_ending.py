"""The gate shuts down gracefully on a signal, even if the API server does not answer."""

import asyncio
import gc
import logging
import signal
from pathlib import Path

import pytest

from tests.support.gate import AUDIENCE, Gate, GateProcess, RunningGate, write_configuration
from tests.support.kube import CLUSTER_ISSUER, ControlPlane
from tests.support.process import until


async def test_a_rollout_loses_no_request(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """After SIGTERM it is not ready but answers until its delay is over or cut short, and exits with status 0."""
    await control_plane.admin.create_service_account(namespace, "app")
    token = await control_plane.admin.request_token(namespace, "app", [AUDIENCE])
    file = write_configuration(tmp_path, control_plane, await control_plane.gate_token(namespace))
    async with GateProcess(file, {"AUTHGATE_SHUTDOWN__DELAY": "1m"}) as gate:
        await gate.becomes_ready(within=30)
        gate.process.send(signal.SIGTERM)

        async def turned_away() -> bool:
            return not await gate.ready()

        await until(turned_away, within=30)
        assert "[-]shutdown failed: ending" in (await gate.admin("/readyz")).body
        assert (await gate.request(token)).status == 200

        gate.process.send(signal.SIGTERM)
        assert await gate.process.ended(within=30)

    assert gate.process.exit_status == 0


async def test_ctrl_c_stops_it_at_once(control_plane: ControlPlane, tmp_path: Path) -> None:
    """After SIGINT it does not wait."""
    file = write_configuration(tmp_path, control_plane, control_plane.reviewer_user.token)
    async with GateProcess(file, {"AUTHGATE_SHUTDOWN__DELAY": "1m"}) as gate:
        gate.process.send(signal.SIGINT)
        assert await gate.process.ended(within=30)

    assert gate.process.exit_status == 0


async def test_a_hanging_api_server_does_not_delay_the_shutdown(
    mortal_plane: ControlPlane, tmp_path: Path
) -> None:
    """A request that waits for a review is answered before the exit, and no error is logged."""
    legacy = {"tokenReview": {"legacyAudiences": [CLUSTER_ISSUER], "timeout": "5s"}}
    file = write_configuration(tmp_path, mortal_plane, mortal_plane.reviewer_user.token, cluster=legacy)
    async with GateProcess(file) as gate:
        await gate.becomes_ready(within=30)
        mortal_plane.suspend()
        waiting = asyncio.create_task(gate.request(mortal_plane.static_user.token))
        await until(lambda: _one_is_waiting(gate), within=30)
        gate.process.send(signal.SIGTERM)
        assert (await waiting).verdict == (503, "review_unavailable")
        assert await gate.process.ended(within=30)

    assert gate.process.exit_status == 0
    assert "never retrieved" not in gate.process.output()
    assert "Traceback" not in gate.process.output()


async def test_a_review_that_never_ends_is_cancelled(
    mortal_plane: ControlPlane, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A request that still waits for the API server after the shutdown timeout is cancelled without an error."""
    legacy = {"tokenReview": {"legacyAudiences": [CLUSTER_ISSUER], "timeout": "30s"}}
    own, brief = mortal_plane.reviewer_user.token, {"timeout": "100ms"}
    file = write_configuration(tmp_path, mortal_plane, own, cluster=legacy, shutdown=brief)
    async with Gate(file) as gate:
        await gate.becomes_ready(within=30)
        mortal_plane.suspend()
        waiting = asyncio.create_task(gate.request(mortal_plane.static_user.token))
        await until(lambda: _one_is_waiting(gate), within=30)
    await asyncio.gather(waiting, return_exceptions=True)
    gc.collect()  # asyncio logs an unretrieved error when its task is collected

    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def _one_is_waiting(gate: RunningGate) -> bool:
    return await gate.metric("authgate_in_flight_requests") == 1
