"""docs/openapi.yaml describes the service: schemathesis sends requests to a gate and judges the responses."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.errors import REASONS
from authgate.server.exchange import EXCHANGE_RESULTS
from tests.support.gate import AUDIENCE, GateProcess
from tests.support.process import free_port
from tests.support.service import knowing, running, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.yaml"
ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
EXAMPLES = 5
"""Generated requests for each operation, besides those at the limits of its schemas."""


class Scene(NamedTuple):
    """A gate with all listeners: their addresses by tag, an accepted token, and the document for this gate."""

    addresses: dict[str, str]
    token: str
    document: dict[str, Any]


@asynccontextmanager
async def scene(folder: Path, **more: Any) -> AsyncIterator[Scene]:
    """Run a gate with `more` configuration.

    Its policies, its audience and an accepted subject token replace patterns in the document.
    """
    exchange = f"127.0.0.1:{free_port()}"
    configuration = {
        "jwt": [knowing(ISSUER)],
        "policies": {
            "default": {"allow": [{"users": ["corp:ada"]}]},
            "billing": {"allow": [{"users": ["corp:bill"]}]},
        },
        "signing": {"issuer": "https://authgate.example.com"},
        "exchange": {"listen": exchange, "audiences": {"default": ["vault"], "billing": ["vault"]}},
        "server": {"proxy": "nginx"},
        **more,
    }
    token = ISSUER.mint("ada", AUDIENCE)
    document = described()
    request = document["components"]["schemas"]["ExchangeRequest"]["properties"]
    request["audience"] = {"const": "vault"}
    request["subject_token"] = {"const": token}
    document["components"]["parameters"]["Policy"]["schema"] = {"enum": ["default", "billing", "unknown"]}
    async with GateProcess(written(folder, configuration)) as gate:
        addresses = {"verify": gate.address, "exchange": exchange, "admin": gate.admin_address}
        yield Scene(addresses, token, document)


def described() -> dict[str, Any]:
    """Return the document."""
    document: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text())
    return document


async def judged(folder: Path, given: Scene, tag: str, *options: str) -> tuple[int | None, str]:
    """Return the exit status and the output of schemathesis for the operations of this tag."""
    file = folder / "openapi.yaml"
    file.write_text(yaml.safe_dump(given.document))
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", str(file), "--no-color"]
    command += ["--url", f"http://{given.addresses[tag]}", "--include-tag", tag, "--warnings", "off"]
    command += ["--phases", "coverage,fuzzing", "--max-examples", str(EXAMPLES), "--generation-deterministic"]
    command += ["--suppress-health-check", "all", "--request-timeout", "60", *options]
    # Without the tool that measures coverage of child processes, which would trace schemathesis.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    judge = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await judge.communicate()
    return judge.returncode, output.decode()


@pytest.mark.parametrize("with_token", [True, False], ids=["with a token", "without a token"])
async def test_verify(tmp_path: Path, with_token: bool) -> None:
    """Each response to any method, path, token and header has a described status and headers, and no body."""
    async with scene(tmp_path) as given:
        for path, item in given.document["paths"].items():
            if path != "/verify" or not with_token:  # one path with all methods takes long enough
                for method in item.keys() - {"get", "parameters", "servers"}:
                    del item[method]
        options = ["--exclude-checks", "unsupported_method"]  # any method is accepted
        if with_token:
            options += ["--header", f"Authorization: Bearer {given.token}"]
        status, output = await judged(tmp_path, given, "verify", *options)
    assert status == 0, output


@pytest.mark.parametrize("tag", ["exchange", "admin"])
async def test_other_listeners(tmp_path: Path, tag: str) -> None:
    """Valid requests succeed, invalid requests and other methods are rejected, and bodies are as described."""
    async with scene(tmp_path) as given:
        status, output = await judged(tmp_path, given, tag)
    assert status == 0, output


async def test_a_protected_admin_port(tmp_path: Path) -> None:
    """With `admin.policy`, requests without a valid token are denied as described."""
    async with scene(tmp_path, admin={"policy": "default"}) as given:
        status, output = await judged(tmp_path, given, "admin")
    assert status == 0, output


async def test_a_wrong_description_is_noticed(tmp_path: Path) -> None:
    """schemathesis fails if a described header is missing."""
    async with scene(tmp_path) as given:
        path = given.document["paths"]["/livez"]
        path["get"]["responses"]["200"]["headers"] = {"X-Missing": {"required": True, "schema": True}}
        given.document["paths"] = {"/livez": path}
        status, output = await judged(tmp_path, given, "admin")
    assert (status, "X-Missing" in output) == (1, True), output


async def test_all_headers_of_an_allowed_request_are_described() -> None:
    """A 200 has exactly these headers, besides those of HTTP itself."""
    document = {"jwt": [knowing(ISSUER)]}
    async with running(document) as gate:
        answer = await gate.request(ISSUER.mint("ada", AUDIENCE))
    sent = {name for name, _ in answer.headers} - {"Content-Length", "Server", "Date"}
    assert sent == described()["components"]["responses"]["Allow"]["headers"].keys()


def test_every_status_is_described() -> None:
    """The statuses of all reasons are responses of /verify."""
    responses = described()["paths"]["/verify"]["get"]["responses"]
    assert {str(info.status) for info in REASONS.values()} <= responses.keys()


def test_every_exchange_error_is_described() -> None:
    """The error codes of a token exchange are those of the code."""
    schema = described()["components"]["schemas"]["ExchangeError"]["properties"]["error"]
    assert {*schema["enum"], "issued"} == set(EXCHANGE_RESULTS)
