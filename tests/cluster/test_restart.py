"""The answers to clients of the gate while an API server is killed and restarted."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.support.gate import AUDIENCE, Gate, RunningGate, write_configuration
from tests.support.kube import CLUSTER_ISSUER, ControlPlane

ALWAYS = {"tokenReview": {"mode": "always", "maxAge": "0s"}}
REVIEWS_ONLY = {"issuers": [CLUSTER_ISSUER], "tokenReview": {"maxAge": "0s"}}


@asynccontextmanager
async def asking_all_the_time(gate: RunningGate, token: str) -> AsyncIterator[Counter[tuple[int, str]]]:
    """Send a token repeatedly, and count the answers."""
    answers: Counter[tuple[int, str]] = Counter()

    async def ask() -> None:
        while True:
            answers[await gate.verdict(token)] += 1
            await asyncio.sleep(0.001)

    asking = asyncio.create_task(ask())
    try:
        yield answers
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_no_valid_token_is_denied_during_a_restart(
    mortal_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Until the API server has loaded its bindings and accounts it rejects requests. Clients get 503."""
    plane = mortal_plane
    await plane.admin.create_service_account(namespace, "app")
    token = await plane.admin.request_token(namespace, "app", [AUDIENCE])
    own = await plane.gate_token(namespace)
    files = [
        write_configuration(tmp_path / "account", plane, own, cluster=ALWAYS, cache={"ttl": "0s"}),
        write_configuration(
            tmp_path / "user", plane, plane.reviewer_user.token, cluster=REVIEWS_ONLY, cache={"ttl": "0s"}
        ),
    ]
    async with AsyncExitStack() as stack:
        gates = [await stack.enter_async_context(Gate(file)) for file in files]
        counted = [await stack.enter_async_context(asking_all_the_time(gate, token)) for gate in gates]
        await plane.stop_api()
        await plane.start_api()
        for gate in gates:
            await gate.passes(token, within=30)

    for answers in counted:
        assert {status for status, _ in answers} <= {200, 503}, answers
        assert (503, "review_unavailable") in answers


async def test_a_reviewed_token_is_accepted_during_an_outage(
    mortal_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """A gate without keys accepts tokens that it has reviewed, and answers others with 503."""
    plane = mortal_plane
    await plane.admin.create_service_account(namespace, "app")
    used, unused = [await plane.admin.request_token(namespace, "app", [AUDIENCE]) for _ in range(2)]
    cluster = {"issuers": [CLUSTER_ISSUER], "tokenReview": {"timeout": "300ms"}}
    file = write_configuration(tmp_path, plane, plane.reviewer_user.token, cluster=cluster)
    async with Gate(file) as gate:
        await gate.passes(used, within=30)

        plane.suspend()
        assert await gate.verdict(used) == (200, "")
        assert await gate.verdict(unused) == (503, "review_unavailable")

        plane.resume()
        await gate.passes(unused, within=30)
