"""A generation that is retired releases everything, however its retirement ends."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from authgate.compose import CompositionError, Dependencies, compose
from authgate.config import load
from authgate.observability.metrics import Metrics
from authgate.service.process import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

    from authgate.config import Config


def configured(folder: Path, *names: str) -> Config:
    """A configuration with a cluster for each name; a kubeconfig of the name "broken" holds no certificate."""
    clusters = []
    for name in names:
        authority = "bm90IGEgY2VydGlmaWNhdGU=" if name == "broken" else None
        cluster = {
            "server": "https://127.0.0.1:1",
            **({"certificate-authority-data": authority} if authority else {}),
        }
        kubeconfig = {
            "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [{"name": "a", "cluster": cluster}],
            "users": [{"name": "a", "user": {"token": "x"}}],
        }
        path = folder / name
        path.write_text(json.dumps(kubeconfig))
        clusters.append({"name": name, "audiences": ["a"], "kubeconfig": str(path)})
    file = folder / "authgate.yaml"
    file.write_text(json.dumps({"cluster": clusters if len(clusters) > 1 else clusters[0]}))
    return load(file, {}).config


def dependencies() -> Dependencies:
    """What a composition needs besides the configuration."""
    return Dependencies(clock=SystemClock(), metrics=Metrics(), environ={}, service_account_dir="")


@pytest.mark.filterwarnings("error::ResourceWarning")
async def test_a_retirement_that_is_cancelled_still_closes_its_connections(tmp_path: Path) -> None:
    """The gate may stop while a request of the previous configuration is open; connections must not stay open."""
    generation = await compose(configured(tmp_path, "home"), dependencies())
    session: Any = vars(generation.clusters.apis["home"]._transport)["_session"]
    with generation:
        retiring = asyncio.create_task(generation.retire())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not session.closed
        retiring.cancel()
        await asyncio.gather(retiring, return_exceptions=True)
    assert session.closed


async def test_a_composition_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    """A cluster that was connected before another one failed is closed; an open session would warn, which fails."""
    with pytest.raises(CompositionError, match="broken"):
        await compose(configured(tmp_path, "home", "broken"), dependencies())
