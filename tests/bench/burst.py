"""A thousand requests at once with one new token that only the API server can decide."""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.wrk import LoadError

if TYPE_CHECKING:
    from tests.bench.server import Server
    from tests.bench.stage import Stage

REQUESTS = 1000
_REVIEWS = re.compile(r'authgate_tokenreview_requests_total\{[^}]*result="authenticated"\} (\S+)')
_ALLOWED = re.compile(r'authgate_verify_requests_total\{decision="allow"[^}]*\} (\S+)')
_WITHIN = 10.0  # seconds


def burst(stage: Stage, document: str) -> None:
    """Count the TokenReviews of one gate with this configuration and an embedded cluster."""
    token = (
        (Path(json.loads(document)["cluster"]["kubeconfig"]).parent / "reviewed.token").read_text().strip()
    )
    case = f"TokenReviews for {REQUESTS:,} concurrent requests with one new opaque token"
    stage.say(case)
    with stage.gate(document=_reviewing(document)) as gate:
        statuses = asyncio.run(_at_once(gate, token))
        if statuses != [200] * REQUESTS:
            raise LoadError(f"a good token was answered {sorted(set(statuses))}")
        stage.add_figure(case, "reviews", (_reviews(gate),), 1)


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
    """Return the number of reviews, as soon as the metrics contain all requests: authgate renders them once a second.

    Reviews of a probe at startup have another result.
    """
    began = time.monotonic()
    while time.monotonic() - began < _WITHIN:
        with urllib.request.urlopen(f"http://127.0.0.1:{gate.admin_port}/metrics") as answer:
            page = answer.read().decode()
        if sum(map(float, _ALLOWED.findall(page))) == REQUESTS:
            return sum(map(float, _REVIEWS.findall(page)))
        time.sleep(0.1)
    raise LoadError(f"the metrics did not contain {REQUESTS} allowed requests within {_WITHIN:.0f} s")
