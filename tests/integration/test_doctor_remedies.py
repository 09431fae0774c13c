"""The remedies of `authgate doctor` follow the failure, and what they suggest is a valid configuration."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from authgate.config import load
from authgate.dev.issuer import WELL_KNOWN, Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.tls import throwaway_certificate
from authgate.tools.doctor import Level, examine_url
from tests.support.doctor import Findings, found
from tests.support.embedded_server import EmbeddedServer
from tests.support.faults import Answer, failing, html, json_answer
from tests.support.openid import OpenIDSite
from tests.support.process import free_port
from tests.support.service import published, trusting, written

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.faults import Fault


async def examined(url: str) -> Findings:
    """Return what the doctor finds about an issuer that is not configured."""
    return Findings(tuple(await examine_url(url, {})))


async def remedy_of(url: str) -> str:
    """Return the remedy of the only problem."""
    [finding] = (await examined(url)).of(Level.BAD)
    return finding.remedy


async def test_an_issuer_is_checked_without_a_configuration() -> None:
    """By its URL, or by the URL of its discovery document."""
    async with published() as (issuer, _):
        for url in (issuer.url, issuer.url + WELL_KNOWN):
            findings = await examined(url)
            assert findings.worst is Level.GOOD
            assert "1 usable key" in findings.about("keys").sentence


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (failing(404), "check the path of issuer.url, such as the realm"),
        (failing(401), "set gate.keys.tokenFile"),
        (failing(403), "set gate.keys.tokenFile"),
        (failing(429), "the issuer limits the number of requests"),
        (failing(502), "the issuer's server fails"),
        (Answer(302, b"", {"Location": "https://login.example.com/"}), "the address that it leads to"),
        (html(), "the document at this address is not a discovery document"),
    ],
    ids=["404", "401", "403", "429", "502", "redirect", "page"],
)
async def test_the_remedy_follows_the_response(fault: Fault, remedy: str) -> None:
    """A wrong path is not a network problem."""
    async with published() as (issuer, server):
        server.faults.set(WELL_KNOWN, fault)
        assert remedy in await remedy_of(issuer.url)


async def test_nothing_listens() -> None:
    """The port is wrong, or the issuer is down."""
    assert "nothing listens there: check the port in issuer.url" in await remedy_of(
        f"https://127.0.0.1:{free_port()}"
    )


async def test_a_host_that_does_not_exist() -> None:
    """The name is wrong, or this machine resolves other names."""
    assert "check the host in issuer.url, and name resolution" in await remedy_of("https://issuer.invalid")


async def test_https_at_a_port_without_tls() -> None:
    """The remedy names the option for plain http, and the better one first."""
    async with EmbeddedServer() as server:
        remedy = await remedy_of(server.url.replace("http:", "https:"))
    assert remedy.startswith("this port serves plain http: write the port that serves https in issuer.url")


async def test_http_at_a_tls_port() -> None:
    """The server hangs up without a response."""
    async with EmbeddedServer(certificate=throwaway_certificate()) as server:
        remedy = await remedy_of(server.url.replace("https:", "http:"))
    assert remedy == "this port probably serves https: write https:// in issuer.url"


@pytest.mark.parametrize(
    "url", ["http://keycloak.identity.svc:8080/realms/shop", "http://adfs.example/adfs/services/trust"]
)
async def test_a_plain_http_issuer_is_not_asked(tmp_path: Path, url: str) -> None:
    """The gate would not fetch keys from it either. It can be a name, and what the remedy suggests is valid."""
    [finding] = (await examined(url)).all
    assert finding.level is Level.BAD
    assert "must be https://" in finding.sentence
    assert "KC_HOSTNAME" in finding.remedy
    assert finding.remedy.endswith("set issuer.url to it and gate.jwksURL to the https:// URL of the keys")
    entry = trusting(url, jwksURL="https://keys.example")
    assert load(written(tmp_path, {"jwt": [entry]}), {}).config.jwt[0].issuer.url == url


@pytest.mark.parametrize(
    ("url", "sentence", "remedy"),
    [
        ("login.example.com", "must be an absolute URL", "use the issuer's https:// URL"),
        (
            "https://user:secret@login.example.com",
            "must not have a user name",
            "use the issuer's https:// URL",
        ),
        (
            "https://login.example.com/{tenantid}/v2.0",
            "must be an absolute URL",
            "write your tenant's id instead of",
        ),
        (f"https://{'a' * 2048}", "must have at most 2048 characters", "use the issuer's https:// URL"),
    ],
    ids=["no scheme", "password", "template", "long"],
)
async def test_what_is_not_an_issuer_url_is_a_finding(url: str, sentence: str, remedy: str) -> None:
    """Nothing is fetched, and a password in the URL is not shown."""
    [finding] = (await examined(url)).all
    assert sentence in finding.sentence
    assert finding.remedy.startswith(remedy)
    assert "secret" not in finding.sentence


async def test_keys_at_an_address_that_fails(tmp_path: Path) -> None:
    """The remedy is about gate.jwksURL, not about the issuer's URL."""
    entry = trusting("https://issuer.example", jwksURL=f"http://127.0.0.1:{free_port()}/keys")
    [finding] = (await found(written(tmp_path, {"jwt": [entry]}))).of(Level.BAD)
    assert finding.remedy.startswith("nothing listens there: check the port in gate.jwksURL")


@pytest.mark.parametrize(
    ("through", "remedy"),
    [
        (
            "jwksURL",
            "set gate.jwksURL to the URL of the keys: the jwks_uri in the provider's discovery document",
        ),
        (
            "discovery",
            "the provider's jwks_uri leads to another document: set gate.jwksURL to the URL of its keys",
        ),
    ],
)
async def test_a_document_that_is_not_a_key_set(tmp_path: Path, through: str, remedy: str) -> None:
    """Such as the discovery document at gate.jwksURL; the issuer's keys are not the problem."""
    async with published() as (issuer, server):
        gate = {"jwksURL": server.url + WELL_KNOWN} if through == "jwksURL" else {}
        server.faults.set("/keys", html())
        server.faults.set(WELL_KNOWN, json_answer({**issuer.discovery(), "jwks_uri": f"{server.url}/keys"}))
        findings = await found(written(tmp_path, {"jwt": [trusting(issuer, **gate)]}))
    assert findings.about("keys").remedy == remedy


# Documents of another issuer


async def mismatch(issuer: str) -> tuple[str, str, str]:
    """Return the configured URL, the sentence and the remedy for a discovery document that is for `issuer`."""
    async with EmbeddedServer() as server:
        url = f"{server.url}/realms/one"
        server.faults.set(
            f"/realms/one{WELL_KNOWN}", json_answer({"issuer": issuer, "jwks_uri": f"{server.url}/keys"})
        )
        finding = (await examined(url)).about("issuer")
    return url, finding.sentence, finding.remedy


@pytest.mark.parametrize("issuer", ["https://login.example.com/realms/one", "https://login.example.com/"])
async def test_another_issuer_can_be_configured(tmp_path: Path, issuer: str) -> None:
    """The sentence has both values. The two settings of the remedy are a valid configuration."""
    url, sentence, remedy = await mismatch(issuer)
    assert repr(issuer) in sentence
    assert repr(url) in sentence
    settings = re.fullmatch(r".*set issuer\.url to (\S+) and issuer\.discoveryURL to (\S+)", remedy)
    assert settings is not None
    entry: dict[str, Any] = trusting(settings[1])
    entry["issuer"]["discoveryURL"] = settings[2]
    assert load(written(tmp_path, {"jwt": [entry]}), {}).config.jwt[0].issuer.url == issuer


async def test_a_slash_at_the_end_is_all_that_differs() -> None:
    """The document has the same address, so issuer.url is the only setting."""
    async with EmbeddedServer() as server:
        issuer = Issuer(f"{server.url}/", SigningKey.generate("ES256"))
        server.faults.set(WELL_KNOWN, json_answer(issuer.discovery()))
        finding = (await examined(server.url)).about("issuer")
        assert finding.remedy == f"if the tokens have this issuer, set issuer.url to {server.url}/"
        server.add(OpenIDSite(issuer))
        assert (await examined(f"{server.url}/")).worst is Level.GOOD


async def test_an_issuer_inside_the_cluster_is_not_suggested_as_a_url(tmp_path: Path) -> None:
    """`authgate check` accepts it only as a name, with the address of the keys."""
    internal = "http://keycloak.identity.svc:8080/realms/shop"
    _, _, remedy = await mismatch(internal)
    assert "KC_HOSTNAME" in remedy
    assert remedy.endswith("set issuer.url to it and gate.jwksURL to the URL of the keys")
    entry = trusting(internal, jwksURL="https://keycloak.example/realms/shop/protocol/openid-connect/certs")
    assert load(written(tmp_path, {"jwt": [entry]}), {}).config.jwt[0].issuer.url == internal


async def test_a_template_is_suggested_with_its_tenants(tmp_path: Path) -> None:
    """Tokens never have the template, so `authgate check` accepts it only with gate.tenants."""
    template = "https://login.example.com/{tenantid}/v2.0"
    _, _, remedy = await mismatch(template)
    assert remedy.startswith("replace the tenant in issuer.url by your tenant's id")
    assert f"set issuer.url to {template} and gate.tenants to" in remedy
    entry = trusting(template, tenants=["11111111-2222-3333-4444-555555555555"])
    assert load(written(tmp_path, {"jwt": [entry]}), {}).config.jwt[0].issuer.url == template


async def test_another_issuer_of_access_tokens_is_a_warning(tmp_path: Path) -> None:
    """AD FS has one for ID tokens and one for access tokens. What the remedy suggests is valid."""
    async with published() as (issuer, server):
        keys = issuer.discovery()["jwks_uri"]
        trust = "http://adfs.example/adfs/services/trust"
        document = {**issuer.discovery(), "access_token_issuer": trust}
        server.faults.set(WELL_KNOWN, json_answer(document))
        findings = await examined(issuer.url)
        [finding] = findings.of(Level.WARNING)
        assert f"another issuer for access tokens: '{trust}'" in finding.sentence
        assert finding.remedy.endswith(f"set issuer.url to that text and gate.jwksURL to {keys}")
        entry = trusting(trust, jwksURL=keys)
        assert (await found(written(tmp_path, {"jwt": [entry]}))).worst is Level.GOOD
        server.faults.set(WELL_KNOWN, json_answer({**document, "access_token_issuer": issuer.url}))
        assert (await examined(issuer.url)).worst is Level.GOOD


# The command


def doctor(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `authgate doctor`."""
    command = [sys.executable, "-m", "authgate", "doctor", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_needs_no_configuration(tmp_path: Path) -> None:
    """A file that AUTHGATE_CONFIG names is not read. The exit status is 1 for a problem."""
    result = doctor(f"https://127.0.0.1:{free_port()}", AUTHGATE_CONFIG=str(tmp_path / "missing.yaml"))
    assert (result.returncode, result.stderr) == (1, "")
    assert re.search(r"bad +jwt 127\.0\.0\.1: discovery: ", result.stdout)
    assert result.stdout.endswith("1 problem found\n")


async def test_the_command_prints_json() -> None:
    """In the same form as for a configuration."""
    async with published() as (issuer, _):
        result = await asyncio.to_thread(doctor, issuer.url, "--output", "json")
    assert (result.returncode, json.loads(result.stdout)["good"]) == (0, True)
