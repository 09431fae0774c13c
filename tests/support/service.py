"""Configurations of gates, with embedded issuers and clusters on loopback."""

from __future__ import annotations

import json
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.kube import DEFAULT_ISSUER
from authgate.dev.kube_api import TOKEN_REVIEWS_PATH
from tests.support.embedded_server import EmbeddedServer
from tests.support.gate import AUDIENCE, Gate, RunningGate
from tests.support.openid import OpenIDSite
from tests.support.process import until
from tests.support.scenario import Scenario, running_scenario

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


@asynccontextmanager
async def running(document: Mapping[str, Any]) -> AsyncIterator[Gate]:
    """Run a gate in this process with this configuration, on free ports."""
    with tempfile.TemporaryDirectory() as folder:
        gate = Gate(written(Path(folder), document))
    async with gate:
        yield gate


def written(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write the configuration into the folder; return its path."""
    path = folder / "authgate.yaml"
    replace(path, json.dumps(document))  # JSON is YAML
    return path


def replace(path: Path, text: str) -> None:
    """Write a file in one step: a gate that polls it never reads a part of the text."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text)
    beside.replace(path)


@asynccontextmanager
async def published(*, key: SigningKey | None = None) -> AsyncIterator[tuple[Issuer, EmbeddedServer]]:
    """Run an issuer that publishes its discovery document and keys on loopback."""
    async with EmbeddedServer() as server:
        issuer = Issuer(server.url, key or SigningKey.generate("ES256"))
        server.add(OpenIDSite(issuer))
        yield issuer, server


def trusting(issuer: Issuer | str, name: str = "corp", **gate: Any) -> dict[str, Any]:
    """Return an entry of `jwt` for an issuer. Usernames are `<name>:<sub>`. `gate` adds to its `gate`."""
    return {
        "issuer": {"url": issuer if isinstance(issuer, str) else issuer.url, "audiences": [AUDIENCE]},
        "claimMappings": {
            "username": {"claim": "sub", "prefix": f"{name}:"},
            "groups": {"claim": "groups", "prefix": ""},
            "uid": {"claim": "jti"},
        },
        "gate": {"name": name, **gate},
    }


def knowing(issuer: Issuer, **gate: Any) -> dict[str, Any]:
    """Return an entry as of `trusting`, with static keys, so that the gate is ready at once."""
    return trusting(issuer, staticKeys={"inline": issuer.jwks()}, **gate)


@asynccontextmanager
async def cluster(folder: Path, *, issuer_url: str = DEFAULT_ISSUER) -> AsyncIterator[Scenario]:
    """Run an embedded cluster with an account `default/demo` and a gate's own account, which may review tokens."""
    folder.mkdir(mode=0o700, exist_ok=True)
    key = SigningKey.generate("ES256")
    async with running_scenario(folder / "cluster", key=key, issuer_url=issuer_url) as scenario:
        yield scenario


def of_cluster(scenario: Scenario, *, keys: Mapping[str, Any] | None = None, **review: Any) -> dict[str, Any]:
    """Return the `cluster` section for an embedded cluster. `review` is its tokenReview."""
    return {
        "audiences": [AUDIENCE],
        "kubeconfig": str(scenario.kubeconfig),
        "keys": dict(keys or {}),
        "tokenReview": review,
    }


async def comes_to(gate: RunningGate, count: float, name: str, **labels: str) -> None:
    """Wait until a metric has this value."""

    async def reached() -> bool:
        return await gate.metric(name, **labels) == count

    await until(reached, within=30, otherwise=lambda: f"{name} {labels} is not {count:g}")


async def reviews_at_rest(gate: Gate, scenario: Scenario) -> int:
    """Wait until the gate has its keys and no longer probes reviews; return the number of reviews."""
    await gate.has_keys(within=30)

    async def answered() -> bool:
        checks = json.loads((await gate.admin("/status")).body)["checks"]
        good = all(check["good"] for check in checks if check["name"].startswith("cluster/"))
        counted = await gate.metric("authgate_tokenreview_requests_total")
        return good and counted == scenario.server.counts[TOKEN_REVIEWS_PATH]

    await until(answered, within=30)
    return scenario.server.counts[TOKEN_REVIEWS_PATH]
