"""The gate reports an API server that hangs: it answers 503 with the reason before the proxy's timeout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from authgate.dev.kube_api import TOKEN_REVIEWS_PATH
from authgate.tools.snippets.options import GATE_TIMEOUT
from tests.proxies.site import protected
from tests.support.faults import Hold
from tests.support.service import cluster, of_cluster

if TYPE_CHECKING:
    from pathlib import Path

    from tests.proxies.conftest import Note
    from tests.proxies.programs import Program

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.row("the API server hangs: authgate's 503 with its reason")
async def test_a_hung_api_server_is_reported(program: Program, tmp_path: Path, note: Note) -> None:
    """The gate and the snippet have their default timeouts."""
    async with cluster(tmp_path / "cluster") as scenario:
        section = of_cluster(scenario, legacyAudiences=["legacy"])
        async with protected(
            program, tmp_path / "proxy", more={"cluster": section}, gate_timeout=GATE_TIMEOUT
        ) as site:
            scenario.server.faults.set(TOKEN_REVIEWS_PATH, Hold())
            reply = await site.ask("GET / HTTP/1.1", token="opaque-token-of-nobody")
            assert (reply.status, site.app.seen) == (503, [])
            if site.program.constant_503:
                note("without a reason")
                return
            assert reply.reason == "review_unavailable"
