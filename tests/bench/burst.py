"""A thousand requests at once with one new token that only the API server can decide."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.report import Row, Series

if TYPE_CHECKING:
    from tests.bench.server import Server
    from tests.bench.stage import Stage

REQUESTS = 1000
_REVIEWS = "authgate_tokenreview_requests_total{"


def burst(stage: Stage, document: str) -> None:
    """Count the TokenReviews of one gate with this configuration and an embedded cluster."""
    token = (
        (Path(json.loads(document)["cluster"]["kubeconfig"]).parent / "reviewed.token").read_text().strip()
    )
    case = f"TokenReviews for {REQUESTS:,} concurrent requests with one new opaque token"
    stage.say(case)
    with stage.gate(document=_reviewing(document)) as gate:
        before = _reviews(gate)
        statuses = asyncio.run(_at_once(gate, token))
        if statuses != [200] * REQUESTS:
            raise SystemExit(f"a good token was answered {sorted(set(statuses))}")
        stage.report.rows.append(
            Row(case, Series("authgate", "reviews", (_reviews(gate) - before,)), None, 1, at_most=True)
        )


def _reviewing(document: str) -> str:
    config = json.loads(document)
    config["cluster"]["tokenReview"] = {"legacyAudiences": ["https://kubernetes.default.svc"]}
    return json.dumps(config)


async def _at_once(gate: Server, token: str) -> list[int]:
    host, _, port = gate.url.removeprefix("http://").removesuffix("/verify").rpartition(":")
    connections = [await asyncio.open_connection(host, int(port)) for _ in range(REQUESTS)]
    for _, writer in connections:
        writer.write(f"GET /verify HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    heads = await asyncio.gather(*(reader.readuntil(b"\r\n\r\n") for reader, _ in connections))
    for _, writer in connections:
        writer.close()
    return [int(head.split(b" ", 2)[1]) for head in heads]


def _reviews(gate: Server) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{gate.admin_port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(_REVIEWS))
