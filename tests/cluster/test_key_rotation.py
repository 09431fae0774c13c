"""The signing key changes while the gate runs: new tokens pass at once, old ones while the old key is published."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.gate import AUDIENCE, Gate, write_configuration
from tests.support.kube import ControlPlane

KEYS_ONLY = {"tokenReview": {"mode": "never"}, "keys": {"cooldown": "100ms"}}
"""The cooldown after the gate's first fetch is over when the API server is up again."""


async def restarted_with_new_key(plane: ControlPlane, *, keep_old: bool) -> None:
    """Restart the API server with another key, as an administrator does."""
    plane.keys.rotate(keep_old=keep_old)
    await plane.stop_api()
    await plane.start_api()


async def token_of(plane: ControlPlane, namespace: str) -> str:
    """A new token of the account `app`."""
    return await plane.admin.request_token(namespace, "app", [AUDIENCE])


async def test_tokens_of_old_and_new_keys_pass(
    mortal_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """All requests with the new key share one fetch and pass, and tokens of the old key still pass."""
    plane = mortal_plane
    await plane.admin.create_service_account(namespace, "app")
    old, unused = [await token_of(plane, namespace) for _ in range(2)]
    file = write_configuration(tmp_path, plane, await plane.gate_token(namespace), cluster=KEYS_ONLY)
    async with Gate(file) as gate:
        assert (await gate.request(old)).status == 200
        await restarted_with_new_key(plane, keep_old=True)
        fresh = [await token_of(plane, namespace) for _ in range(10)]

        answers = await asyncio.gather(*(gate.request(token) for token in fresh))

        assert {answer.verdict for answer in answers} == {(200, "")}
        assert [await gate.verdict(token) for token in (old, unused)] == [(200, "")] * 2
    assert plane.audit.key_readers().count(f"system:serviceaccount:{namespace}:gate") == 2


@pytest.mark.parametrize(
    ("cluster", "reason"),
    [(KEYS_ONLY, "key_unknown"), ({"keys": {"cooldown": "100ms"}}, "review_rejected")],
    ids=["by keys alone", "with reviews"],
)
async def test_a_removed_key_invalidates_its_tokens(
    mortal_plane: ControlPlane, namespace: str, tmp_path: Path, cluster: dict[str, Any], reason: str
) -> None:
    """Once the gate has seen that a key is no longer published, its tokens are refused, cached ones too."""
    plane = mortal_plane
    await plane.admin.create_service_account(namespace, "app")
    old = await token_of(plane, namespace)
    file = write_configuration(tmp_path, plane, plane.admin_user.token, cluster=cluster)
    async with Gate(file) as gate:
        assert (await gate.request(old)).status == 200
        await restarted_with_new_key(plane, keep_old=False)

        assert await gate.verdict(await token_of(plane, namespace)) == (200, "")
        assert await gate.verdict(old) == (401, reason)


async def test_a_new_key_passes_within_the_cooldown(
    mortal_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """If no further fetch is due yet, a review decides at once."""
    plane = mortal_plane
    await plane.admin.create_service_account(namespace, "app")
    cluster = {"keys": {"cooldown": "10m"}}
    file = write_configuration(tmp_path, plane, plane.admin_user.token, cluster=cluster)
    async with Gate(file) as gate:
        await gate.has_keys(within=30)
        await restarted_with_new_key(plane, keep_old=True)

        assert await gate.verdict(await token_of(plane, namespace)) == (200, "")
        assert await gate.metric("authgate_verify_requests_total", source="tokenreview") == 1
