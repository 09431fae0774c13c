"""A gate with the configuration that `authgate config init` writes accepts a provider's tokens, and no near misses."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import web
from typer.testing import CliRunner

from authgate.cli.commands import app
from authgate.cli.explain import explained
from authgate.config import load
from authgate.dev.tls import ServerCertificate, throwaway_certificate
from authgate.errors import REASONS, Reason
from authgate.tools.doctor import Level
from authgate.tools.providers import provider, provider_names
from tests.providers.case import Case, case, case_names
from tests.providers.pages import policy_example, wider_rule
from tests.support.doctor import found
from tests.support.embedded_server import EmbeddedServer
from tests.support.forward_proxy import ForwardProxy
from tests.support.gate import Answer, Gate, GateProcess, Headers, RunningGate
from tests.support.scenario import running_scenario

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path


class Documents:
    """Serves documents by URL, each under its own host name."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        self._documents = documents

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Return the document of a host and path, or None."""
        body = self._documents.get(f"https://{request.host}{request.path}")
        return None if body is None else web.Response(body=body)


@pytest.fixture(scope="module")
def certificate() -> ServerCertificate:
    """A certificate for the hosts of all providers."""
    return throwaway_certificate(sorted({host for name in case_names() for host in case(name).hosts}))


@pytest.fixture
def trusted(certificate: ServerCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's certificate authorities are those of the providers."""
    file = tmp_path / "authorities.pem"
    file.write_bytes(certificate.ca_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


@asynccontextmanager
async def environment(
    item: Case, certificate: ServerCertificate, folder: Path
) -> AsyncIterator[dict[str, str]]:
    """Yield the environment of a gate that reaches the provider: a proxy to its hosts, or a kubeconfig."""
    async with AsyncExitStack() as opened:
        if item.keys.get("from") == "API server":
            scenario = await opened.enter_async_context(
                running_scenario(folder / "cluster", key=item.key, issuer_url=str(item.claims["iss"]))
            )
            yield {"KUBECONFIG": str(scenario.kubeconfig)}
            return
        server = EmbeddedServer(Documents(item.documents()), certificate=certificate)
        await opened.enter_async_context(server)
        proxy = await opened.enter_async_context(ForwardProxy(int(server.url.rpartition(":")[2])))
        yield {"HTTPS_PROXY": f"http://{proxy.address}"}


@asynccontextmanager
async def gate_of(
    item: Case, certificate: ServerCertificate, folder: Path, sections: Mapping[str, Any] | None = None
) -> AsyncIterator[RunningGate]:
    """Yield a gate with the unchanged configuration of `config init`, or with other `sections`."""
    file = folder / "authgate.yaml"
    text = provider(item.name).render({})
    file.write_text(text if sections is None else yaml.safe_dump({**yaml.safe_load(text), **sections}))
    async with environment(item, certificate, folder) as environ, Gate(file, environ) as gate:
        yield gate


async def answer(
    gate: RunningGate, item: Case, token: str, path: str = "/verify", headers: Headers = ()
) -> Answer:
    """Send the token where the provider puts it; a proxy's token has the app's own credential beside it."""
    if item.request_header == "Authorization":
        return await gate.request(token, path, headers)
    own = [(item.request_header, token), ("Authorization", "Basic dGhlOmFwcA==")]
    return await gate.request(None, path, [*headers, *own])


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("name", case_names())
async def test_a_token_is_accepted(name: str, certificate: ServerCertificate, tmp_path: Path) -> None:
    """The identity and the groups are those of the page."""
    item = case(name)
    async with gate_of(item, certificate, tmp_path) as gate:
        response = await answer(gate, item, item.token())
    groups = response.value("X-Auth-Request-Groups")
    assert response.verdict == (200, "")
    assert response.value("X-Auth-Request-User") == item.identity
    assert groups.split(",") == [*item.groups, "system:authenticated"]


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("name", case_names())
async def test_near_misses_are_denied(name: str, certificate: ServerCertificate, tmp_path: Path) -> None:
    """Each is denied with the reason in its case, which the page shows."""
    item = case(name)
    async with gate_of(item, certificate, tmp_path) as gate:
        got = {near.name: (await answer(gate, item, item.token(near.changes))).verdict for near in item.near}
    assert got == {near.name: (REASONS[Reason(near.reason)].status, near.reason) for near in item.near}


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("name", case_names())
async def test_the_policy_example_decides_as_described(
    name: str, certificate: ServerCertificate, tmp_path: Path
) -> None:
    """Requests behind nginx, with the case's token and with changed claims."""
    item = case(name)
    got = []
    async with gate_of(item, certificate, tmp_path, yaml.safe_load(policy_example(name))) as gate:
        for row in item.example:
            method, path = row.get("request", "GET /").split()
            original = [
                ("X-Original-Method", method),
                ("X-Original-URI", path),
                ("X-Original-Host", "app.example.com"),
            ]
            verify = f"/policies/{row['policy']}/verify" if "policy" in row else "/verify"
            response = await answer(
                gate, item, item.token({"claims": row.get("claims", {})}), verify, original
            )
            got.append({**row, "status": response.status})
            assert response.value("X-Auth-Reason") in {"", "not_allowed", "denied"}
    assert got == list(item.example)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("name", "other", "refused"),
    [
        pytest.param(
            "google", {"hd": None, "sub": "112233445566778899001"}, {"hd": None}, id="google's services"
        ),
        pytest.param(
            "github-actions",
            {"repository_owner_id": "9999999"},
            {"repository_owner_id": "555"},
            id="several owners of repositories",
        ),
    ],
)
async def test_the_wider_rule_of_a_page_accepts_what_it_lists(
    name: str,
    other: Mapping[str, Any],
    refused: Mapping[str, Any],
    certificate: ServerCertificate,
    tmp_path: Path,
) -> None:
    """An issuer has one entry, so its rule must name everything that it accepts."""
    item = case(name)
    sections = yaml.safe_load(provider(name).render({}))
    sections["jwt"][0].update(wider_rule(name))
    async with gate_of(item, certificate, tmp_path, sections) as gate:
        got = [
            (await answer(gate, item, item.token({"claims": claims}))).verdict
            for claims in ({}, other, refused)
        ]
    assert got == [(200, ""), (200, ""), (401, "claim_rule_failed")]


def test_every_provider_has_a_case() -> None:
    """A template without a case is not tested."""
    assert case_names() == provider_names()


@pytest.mark.parametrize("name", case_names())
def test_check_accepts_the_configuration(name: str, tmp_path: Path) -> None:
    """`authgate check` finds no problem in what `config init` wrote."""
    file = tmp_path / "authgate.yaml"
    CliRunner().invoke(app, ["config", "init", name, "--output", str(file)])
    result = CliRunner().invoke(app, ["check", "--config", str(file)])
    assert (result.exit_code, result.stdout) == (0, f"{file}: the configuration is valid\n"), result.stderr


@pytest.mark.parametrize("name", ["keycloak", "kubernetes", "google-iap", "github-actions"])
async def test_the_path_of_a_user(name: str, certificate: ServerCertificate, tmp_path: Path) -> None:
    """Four commands lead from the provider's name to an accepted token: config init, check, doctor and serve."""
    item, file, authorities = case(name), tmp_path / "authgate.yaml", tmp_path / "authorities.pem"
    authorities.write_bytes(certificate.ca_pem)
    async with environment(item, certificate, tmp_path) as environ:
        environ["SSL_CERT_FILE"] = str(authorities)
        for words in (["config", "init", name, "--output"], ["check", "--config"], ["doctor", "--config"]):
            command = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "authgate", *words, str(file), env=environ, stdout=PIPE, stderr=PIPE
            )
            assert (await command.communicate(), command.returncode)[1] == 0, words
        async with GateProcess(file, environ) as gate:
            await gate.becomes_ready(within=30)
            assert (await answer(gate, item, item.token())).verdict == (200, "")


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("name", case_names())
async def test_the_doctor_finds_no_problem(name: str, certificate: ServerCertificate, tmp_path: Path) -> None:
    """There is also no warning, such as about a key for encryption or for X.509."""
    item = case(name)
    file = tmp_path / "authgate.yaml"
    file.write_text(provider(name).render({}))
    async with environment(item, certificate, tmp_path) as environ:
        findings = await found(file, environ=environ)
    assert findings.worst is Level.GOOD, findings


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("name", case_names())
async def test_an_explanation_has_the_reason_of_the_gate(
    name: str, certificate: ServerCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`authgate explain` decides like the gate, also for a token from a header of its own and for a padded one."""
    item = case(name)
    file = tmp_path / "authgate.yaml"
    file.write_text(provider(name).render({}))
    async with environment(item, certificate, tmp_path) as environ:
        for variable, value in environ.items():
            monkeypatch.setenv(variable, value)
        config = load(file, environ).config
        accepted = await explained(config, item.token(), "default")
        reasons = {
            near.name: (await explained(config, item.token(near.changes), "default")).reason
            for near in item.near
        }
    assert accepted.reason == "authenticated"
    assert item.identity in accepted.summary
    assert reasons == {near.name: near.reason for near in item.near}
