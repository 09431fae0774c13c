"""The findings of `authgate doctor` for working issuers and clusters, and for every kind of failure."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from authgate.dev.issuer import WELL_KNOWN, Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.kube import Permission
from authgate.dev.kube_api import DISCOVERY_PATH, JWKS_PATH, SELF_ACCESS_PATH
from authgate.dev.tls import throwaway_certificate
from authgate.tools.doctor import Level
from tests.support.doctor import found
from tests.support.embedded_server import EmbeddedServer
from tests.support.faults import Answer, Drop, Hold, broken_json, failing, html, json_answer
from tests.support.openid import OpenIDSite
from tests.support.process import free_port
from tests.support.service import cluster, knowing, of_cluster, published, trusting, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.doctor import Findings
    from tests.support.faults import Fault
    from tests.support.scenario import Scenario

GATE = "system:serviceaccount:authgate:authgate"
LEEWAYS = {"ahead": 1, "behind": -1}


class ShiftedClock:
    """The system's clock with an offset in seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> float:
        return time.time() + self._seconds

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture
async def scenario(tmp_path: Path) -> AsyncIterator[Scenario]:
    """A cluster whose gate may send TokenReviews."""
    async with cluster(tmp_path / "cluster") as scenario:
        yield scenario


async def of_issuer(folder: Path, issuer: Issuer | str, **gate: Any) -> Findings:
    """Return the findings for one issuer."""
    return await found(written(folder, {"jwt": [trusting(issuer, **gate)]}))


async def of_scenario(folder: Path, scenario: Scenario, clock: Any = None, **review: Any) -> Findings:
    """Return the findings for a cluster. `review` is added to its tokenReview."""
    document = {"cluster": of_cluster(scenario, **review)}
    return await found(written(folder, document), clock=clock)


# issuers


async def test_a_working_issuer_has_no_problems(tmp_path: Path) -> None:
    """Its document is reachable, names the issuer, and leads to a key."""
    async with published() as (issuer, server):
        findings = await of_issuer(tmp_path, issuer)
    assert findings.worst is Level.GOOD
    assert [(finding.subject, finding.sentence) for finding in findings.all] == [
        ("jwt corp: discovery", f"{server.url}{WELL_KNOWN} responds"),
        ("jwt corp: issuer", f"the discovery document names {issuer.url}, as configured"),
        ("jwt corp: keys", f"1 usable key from {issuer.jwks_uri}, for ES256"),
    ]


async def test_an_issuer_that_is_down(tmp_path: Path) -> None:
    """No server listens at its address."""
    findings = await of_issuer(tmp_path, f"http://127.0.0.1:{free_port()}")
    [finding] = findings.all
    assert (finding.level, finding.subject) == (Level.BAD, "jwt corp: discovery")
    assert "issuer.url" in finding.remedy


@pytest.mark.parametrize(
    "fault",
    [failing(500), failing(404), html(404), Drop(), Answer(302, b"", {"Location": "https://x.example/"})],
    ids=["500", "404", "page", "drop", "redirect"],
)
async def test_a_missing_discovery_document(tmp_path: Path, fault: Fault) -> None:
    """This covers several kinds of answers instead of it."""
    async with published() as (issuer, server):
        server.faults.set(WELL_KNOWN, fault)
        findings = await of_issuer(tmp_path, issuer)
    assert [(it.level, it.subject) for it in findings.all] == [(Level.BAD, "jwt corp: discovery")]


async def test_an_issuer_that_hangs(tmp_path: Path) -> None:
    """doctor waits as long as authgate would."""
    async with published() as (issuer, server):
        server.faults.set(WELL_KNOWN, Hold())
        findings = await of_issuer(tmp_path, issuer, keys={"timeout": "200ms"})
    assert "no complete response within 0.2 s" in findings.about("discovery").sentence


@pytest.mark.parametrize(
    "fault",
    [
        json_answer({"issuer": "https://other.example", "jwks_uri": "https://x.example"}),
        html(),
        broken_json(),
    ],
    ids=["other issuer", "page", "broken"],
)
async def test_a_discovery_document_of_another_issuer(tmp_path: Path, fault: Fault) -> None:
    """It is reachable, but does not name the configured issuer."""
    async with published() as (issuer, server):
        server.faults.set(WELL_KNOWN, fault)
        findings = await of_issuer(tmp_path, issuer)
    assert findings.about("discovery").level is Level.GOOD
    assert findings.about("issuer").level is Level.BAD
    assert "issuer.url" in findings.about("issuer").remedy


async def test_advertised_keys_that_cannot_be_reached(tmp_path: Path) -> None:
    """The remedy names the setting for another address."""
    async with published() as (issuer, server):
        server.faults.set(
            WELL_KNOWN, json_answer({**issuer.discovery(), "jwks_uri": f"{server.url}/missing"})
        )
        findings = await of_issuer(tmp_path, issuer)
    assert findings.about("issuer").level is Level.GOOD
    assert findings.about("keys").level is Level.BAD
    assert "gate.jwksURL" in findings.about("keys").remedy


async def test_a_key_set_without_usable_keys(tmp_path: Path) -> None:
    """A weak key is not usable."""
    weak = {"kty": "RSA", "kid": "weak", "n": "AQAB", "e": "AQAB"}
    async with EmbeddedServer() as server:
        server.faults.set("/keys", json_answer({"keys": [weak]}))
        findings = await of_issuer(tmp_path, "https://issuer.example", jwksURL=f"{server.url}/keys")
    assert findings.about("address").level is Level.GOOD
    assert (findings.about("keys").level, "2048" in findings.about("keys").remedy) == (Level.BAD, True)


async def test_a_key_that_is_skipped(tmp_path: Path) -> None:
    """It is a warning, because the other keys are usable."""
    async with EmbeddedServer() as server:
        issuer = Issuer("https://issuer.example", SigningKey.generate("ES256"))
        keys: Any = issuer.jwks()["keys"]
        server.faults.set("/keys", json_answer({"keys": [*keys, {"kty": "oct", "kid": "hmac", "k": "AA"}]}))
        findings = await of_issuer(tmp_path, issuer, jwksURL=f"{server.url}/keys")
    [skipped] = findings.of(Level.WARNING)
    assert skipped.sentence.startswith("skipped: ")
    assert findings.worst is Level.WARNING


async def test_keys_without_an_allowed_algorithm(tmp_path: Path) -> None:
    """Every token would be rejected."""
    async with published() as (issuer, _):
        findings = await of_issuer(tmp_path, issuer, algorithms=["RS256"])
    assert findings.about("keys").level is Level.BAD
    assert "gate.algorithms" in findings.about("keys").remedy


async def test_static_keys(tmp_path: Path) -> None:
    """No request is sent."""
    issuer = Issuer("https://issuer.example", SigningKey.generate("ES256"))
    [finding] = (await found(written(tmp_path, {"jwt": [knowing(issuer)]}))).all
    assert (finding.level, finding.sentence) == (
        Level.GOOD,
        "1 usable key from the configuration, for ES256",
    )


async def test_static_keys_that_cannot_be_used(tmp_path: Path) -> None:
    """The file contains keys, but they are too weak."""
    file = tmp_path / "keys.json"
    file.write_text('{"keys": [{"kty": "RSA", "n": "AQ", "e": "AQAB"}]}')
    finding = (await of_issuer(tmp_path, "https://issuer.example", staticKeys={"file": str(file)})).about(
        "keys"
    )
    assert (finding.level, "no usable key" in finding.sentence) == (Level.BAD, True)


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "unknown"])
async def test_a_private_authority(tmp_path: Path, trusted: bool) -> None:
    """The certificate is valid with certificateAuthority; without it, doctor names that setting."""
    certificate = throwaway_certificate()
    async with EmbeddedServer(certificate=certificate) as server:
        issuer = Issuer(server.url, SigningKey.generate("ES256"))
        server.add(OpenIDSite(issuer))
        entry = trusting(issuer)
        if trusted:
            entry["issuer"]["certificateAuthority"] = certificate.ca_pem.decode()
        findings = await found(written(tmp_path, {"jwt": [entry]}))
    if trusted:
        assert "trusted by certificateAuthority" in findings.about("discovery").sentence
    else:
        assert "issuer.certificateAuthority" in findings.about("certificate").remedy
    assert findings.worst is (Level.GOOD if trusted else Level.BAD)


@pytest.mark.parametrize("where", ["jwt", "cluster"])
async def test_an_authority_that_openssl_cannot_read(tmp_path: Path, where: str) -> None:
    """Spaces before the lines of a certificate: cryptography accepts them, and OpenSSL does not."""
    pem = throwaway_certificate().ca_pem.decode().replace("\n", "\n  ")
    entry = trusting("https://127.0.0.1:1")
    entry["issuer"]["certificateAuthority"] = f"  {pem}"
    far: dict[str, Any] = {"audiences": ["a"], "issuers": ["https://127.0.0.1:1"], "keysFrom": "issuer"}
    far |= {"tokenReview": {"mode": "never"}, "certificateAuthority": f"  {pem}"}
    findings = await found(written(tmp_path, {"jwt": [entry]} if where == "jwt" else {"cluster": far}))
    finding = findings.about("certificate")
    assert (finding.level, "OpenSSL does not accept" in finding.sentence) == (Level.BAD, True)
    assert "no spaces before" in finding.remedy


# clusters


async def test_a_working_cluster_has_no_problems(tmp_path: Path, scenario: Scenario) -> None:
    """doctor sends every kind of request that authgate would send."""
    findings = await of_scenario(tmp_path, scenario)
    assert [finding.subject for finding in findings.all] == [
        f"cluster home: {step}"
        for step in ("API server", "clock", "own token", "keys", "issuer", "TokenReview")
    ]
    assert findings.worst is Level.GOOD, findings
    assert findings.about("own token").sentence.startswith(f"{GATE}, for {scenario.issuer_url}, expires in ")
    assert findings.about("TokenReview").sentence == "the gate may create tokenreviews"


@pytest.mark.parametrize(
    ("review", "level"),
    [
        ({"mode": "fallback"}, Level.WARNING),
        ({"mode": "fallback", "legacyAudiences": ["https://kubernetes.default.svc"]}, Level.BAD),
        ({"mode": "always"}, Level.BAD),
        ({"mode": "never"}, Level.GOOD),
    ],
    ids=["fallback", "legacy", "always", "never"],
)
async def test_a_gate_that_may_not_review(
    tmp_path: Path, scenario: Scenario, review: dict[str, Any], level: Level
) -> None:
    """The severity depends on the configuration. The finding names the role and the command that grants it."""
    scenario.state.forbid(GATE, Permission.REVIEW_TOKENS)
    findings = await of_scenario(tmp_path, scenario, **review)
    assert findings.worst is level, findings
    if level is not Level.GOOD:
        remedy = findings.about("TokenReview").remedy
        assert "system:auth-delegator" in remedy
        assert "--serviceaccount=authgate:authgate" in remedy


@pytest.mark.parametrize("mode", ["fallback", "always"])
async def test_legacy_audiences_are_compared(tmp_path: Path, scenario: Scenario, mode: str) -> None:
    """A value that is not the API server's audience rejects every legacy token, so it is a problem with its remedy."""
    (audience,) = scenario.state.api_audiences
    wrong = (await of_scenario(tmp_path, scenario, mode=mode, legacyAudiences=["kubernetes"])).about(
        "legacyAudiences"
    )
    assert wrong.level is Level.BAD
    assert f"the API server's audience is {audience}, but legacyAudiences is" in wrong.sentence
    assert wrong.remedy == f"set cluster.tokenReview.legacyAudiences to ['{audience}']"
    right = await of_scenario(tmp_path, scenario, mode=mode, legacyAudiences=["other", audience])
    assert right.worst is Level.GOOD
    assert (
        right.about("legacyAudiences").sentence == f"the API server's audience is {audience}, as configured"
    )


async def test_an_unknown_audience_is_no_problem(tmp_path: Path, scenario: Scenario) -> None:
    """A credential without audiences cannot be compared."""
    scenario.kubeconfig.with_name("authgate.token").write_text(scenario.state.static_token(GATE))
    finding = (await of_scenario(tmp_path, scenario, legacyAudiences=["api"])).about("legacyAudiences")
    assert (finding.level, "no token here names it" in finding.sentence) == (Level.GOOD, True)


@pytest.mark.parametrize("allowed", [True, False])
async def test_access_reviews_are_checked_if_a_policy_uses_them(
    tmp_path: Path, scenario: Scenario, allowed: bool
) -> None:
    """Without the permission, requests get 503."""
    if not allowed:
        scenario.state.forbid(GATE, Permission.REVIEW_TOKENS)
    policy = {"accessReview": {"resource": {"verb": "get", "resource": "services"}}}
    document = {"cluster": of_cluster(scenario), "policies": {"default": policy}}
    finding = (await found(written(tmp_path, document))).about("SubjectAccessReview")
    assert finding.level is (Level.GOOD if allowed else Level.BAD)
    assert ("system:auth-delegator" in finding.remedy) is not allowed


@pytest.mark.parametrize("namespaces", [[], ["prod"]], ids=["all", "one"])
async def test_a_watch_without_permission(tmp_path: Path, scenario: Scenario, namespaces: list[str]) -> None:
    """The finding names the object and the missing rule. TokenReview decides instead."""
    where = {"namespace": namespaces[0]} if namespaces else {}
    for verb in ("list", "watch"):
        scenario.state.grant(GATE, verb=verb, resource="pods", **where)
    section = {**of_cluster(scenario), "revocation": "watch", "watch": {"namespaces": namespaces}}
    findings = await found(written(tmp_path, {"cluster": section}))
    in_one = " in prod" if namespaces else ""
    [seen] = [it for it in findings.of(Level.GOOD) if it.subject == "cluster home: watch"]
    assert seen.sentence == f"the gate may list and watch pods{in_one}"
    [blind] = findings.of(Level.WARNING)
    assert f"may not list and watch serviceaccounts{in_one}" in blind.sentence
    assert ("a Role and" if namespaces else "a ClusterRole and") in blind.remedy
    assert ("nodes" in blind.remedy) is not bool(namespaces)


@pytest.mark.parametrize(
    "fault", [failing(500), html(201), failing(403), Drop()], ids=["500", "page", "403", "drop"]
)
async def test_a_permission_that_cannot_be_checked(tmp_path: Path, scenario: Scenario, fault: Fault) -> None:
    """doctor does not assume that it is granted."""
    scenario.server.faults.set(SELF_ACCESS_PATH, fault)
    findings = await of_scenario(tmp_path, scenario, mode="always")
    assert findings.about("TokenReview").level is Level.BAD
    assert "cannot check whether" in findings.about("TokenReview").sentence


@pytest.mark.parametrize(
    ("mode", "level"), [("fallback", Level.WARNING), ("always", Level.WARNING), ("never", Level.BAD)]
)
async def test_keys_that_the_gate_may_not_read(
    tmp_path: Path, scenario: Scenario, mode: str, level: Level
) -> None:
    """TokenReview decides instead, if it is allowed."""
    scenario.state.forbid("system:serviceaccounts", Permission.DISCOVER)
    findings = await of_scenario(tmp_path, scenario, mode=mode)
    assert findings.worst is level
    assert findings.about("discovery").level is level
    assert "system:service-account-issuer-discovery" in findings.about("discovery").remedy
    assert findings.about("issuer").sentence.startswith(f"tokens of {scenario.issuer_url} are assigned to")


async def test_neither_keys_nor_reviews(tmp_path: Path, scenario: Scenario) -> None:
    """No token can be decided, and doctor reports both problems."""
    scenario.server.faults.set(JWKS_PATH, failing(500))
    scenario.state.forbid(GATE, Permission.REVIEW_TOKENS)
    findings = await of_scenario(tmp_path, scenario)
    assert {finding.subject for finding in findings.of(Level.BAD)} == {
        "cluster home: keys",
        "cluster home: TokenReview",
    }


async def test_a_cluster_whose_issuer_is_unknown(tmp_path: Path, scenario: Scenario) -> None:
    """Without discovery, an own token or a setting, authgate does not know which tokens are the cluster's."""
    robot = scenario.state.static_token("robot")
    scenario.state.allow("robot", Permission.REVIEW_TOKENS)
    scenario.kubeconfig.with_name("authgate.token").write_text(robot)
    findings = await of_scenario(tmp_path, scenario)
    assert (findings.about("issuer").level, findings.about("own token").level) == (Level.BAD, Level.GOOD)
    assert "cluster.issuers" in findings.about("issuer").remedy


async def test_another_issuer_than_the_own_tokens(tmp_path: Path, scenario: Scenario) -> None:
    """This happens during a migration. cluster.issuers is made for it."""
    renamed: Any = {"issuer": "https://new.example", "jwks_uri": "https://new.example/keys"}
    scenario.server.faults.set(DISCOVERY_PATH, json_answer(renamed))
    finding = (await of_scenario(tmp_path, scenario)).about("issuer")
    assert (finding.level, scenario.issuer_url in finding.remedy) == (Level.WARNING, True)

    document = {"cluster": {**of_cluster(scenario), "issuers": [scenario.issuer_url]}}
    assert (await found(written(tmp_path, document))).about("issuer").level is Level.GOOD


async def test_an_issuer_of_the_cluster_that_is_also_listed_under_jwt(
    tmp_path: Path, scenario: Scenario
) -> None:
    """authgate would reject tokens with the cluster's keys."""
    async with EmbeddedServer() as server:
        url = f"{server.url}"
        renamed: Any = {"issuer": url, "jwks_uri": f"{url}/keys"}
        scenario.server.faults.set(DISCOVERY_PATH, json_answer(renamed))
        document = {"cluster": of_cluster(scenario), "jwt": [trusting(url)]}
        findings = await found(written(tmp_path, document))
    [finding] = [it for it in findings.all if it.subject == "cluster home: issuer"]
    assert (finding.level, finding.remedy.startswith("remove the jwt entry")) == (Level.BAD, True)


async def test_an_api_server_that_is_down(tmp_path: Path, scenario: Scenario) -> None:
    """Checks that need it are skipped. The own token is still checked."""
    await scenario.server.stop()
    findings = await of_scenario(tmp_path, scenario)
    assert [(it.subject, it.level) for it in findings.all] == [
        ("cluster home: API server", Level.BAD),
        ("cluster home: own token", Level.GOOD),
    ]


async def test_an_authority_that_is_not_the_servers(tmp_path: Path, scenario: Scenario) -> None:
    """The sentence names the certificate, and the remedy names the setting."""
    scenario.ca_file.write_bytes(throwaway_certificate().ca_pem)
    finding = (await of_scenario(tmp_path, scenario)).about("API server")
    assert (finding.level, "is not trusted" in finding.sentence) == (Level.BAD, True)
    assert "certificate authority" in finding.remedy


async def test_a_server_that_is_not_verified(tmp_path: Path, scenario: Scenario) -> None:
    """Disabled verification is a warning."""
    text = scenario.kubeconfig.read_text()
    line = f"certificate-authority: {scenario.ca_file}"
    scenario.kubeconfig.write_text(text.replace(line, "insecure-skip-tls-verify: true"))
    findings = await of_scenario(tmp_path, scenario)
    assert findings.about("CA").level is Level.WARNING
    assert "certificate chains" not in findings.about("API server").sentence


@pytest.mark.parametrize("direction", LEEWAYS.values(), ids=LEEWAYS)
@pytest.mark.parametrize(
    ("seconds", "level"), [(10, Level.GOOD), (45, Level.WARNING), (100, Level.BAD)], ids=["10", "45", "100"]
)
async def test_a_wrong_clock(
    tmp_path: Path, scenario: Scenario, direction: int, seconds: int, level: Level
) -> None:
    """An offset of more than half the leeway is a warning. With more than the leeway, requests fail."""
    findings = await of_scenario(tmp_path, scenario, ShiftedClock(direction * seconds))
    assert findings.about("clock").level is level
    if level is not Level.GOOD:
        assert ("ahead of" if direction > 0 else "behind") in findings.about("clock").sentence


@pytest.mark.parametrize("date", ["yesterday", "Mon, 99 Jan 2026 00:00:00 GMT"], ids=["word", "no day"])
async def test_a_server_without_a_clock(tmp_path: Path, scenario: Scenario, date: str) -> None:
    """The clocks cannot be compared. This is not a problem."""
    scenario.server.faults.set("/version", Answer(200, b"{}", {"Date": date}))
    assert (await of_scenario(tmp_path, scenario)).about("clock").level is Level.WARNING


def renewed(scenario: Scenario, **how: Any) -> str:
    """Give the gate another token of its account."""
    account = scenario.state.service_account("authgate", "authgate")
    token = scenario.state.account_token(account, scenario.state.api_audiences, **how)
    scenario.kubeconfig.with_name("authgate.token").write_text(token)
    return token


async def test_an_own_token_that_has_expired(tmp_path: Path, scenario: Scenario) -> None:
    """The server rejects it, and doctor reads the expiry in the token."""
    renewed(scenario, lifetime=-300)
    findings = await of_scenario(tmp_path, scenario)
    assert findings.about("own token").level is Level.BAD
    assert findings.about("own token").sentence.startswith("the token expired 5 min ago")
    assert "renew the credential" in findings.about("API server").remedy


async def test_an_own_token_that_expires_soon(tmp_path: Path, scenario: Scenario) -> None:
    """The program that writes its file has stopped doing so."""
    renewed(scenario, lifetime=30)
    [finding] = (await of_scenario(tmp_path, scenario)).of(Level.WARNING)
    assert (finding.subject, finding.remedy) == (
        "cluster home: own token",
        "check what writes the token file",
    )


async def test_an_own_token_that_nothing_renews(tmp_path: Path, scenario: Scenario) -> None:
    """It is in the kubeconfig and expires some day."""
    file = scenario.kubeconfig.with_name("authgate.token")
    text = scenario.kubeconfig.read_text().replace(f"tokenFile: {file}", f"token: {file.read_text()}")
    scenario.kubeconfig.write_text(text)
    [finding] = (await of_scenario(tmp_path, scenario)).of(Level.WARNING)
    assert "nothing renews it" in finding.sentence


@pytest.mark.parametrize(("mode", "level"), [("fallback", Level.WARNING), ("never", Level.GOOD)])
async def test_no_credential(tmp_path: Path, scenario: Scenario, mode: str, level: Level) -> None:
    """It is not needed if only local keys decide and they are public."""
    scenario.state.allow("system:unauthenticated", Permission.DISCOVER)
    file = scenario.kubeconfig.with_name("authgate.token")
    scenario.kubeconfig.write_text(scenario.kubeconfig.read_text().replace(f"tokenFile: {file}", ""))
    scenario.kubeconfig.write_text(scenario.kubeconfig.read_text().replace("user:\n    \n", "user: {}\n"))
    findings = await of_scenario(tmp_path, scenario, mode=mode)
    assert findings.about("own token").level is level
    assert "anonymous" in findings.about("own token").sentence


async def test_a_credential_of_another_kind(tmp_path: Path, scenario: Scenario) -> None:
    """A password has no readable expiry."""
    file = scenario.kubeconfig.with_name("authgate.token")
    text = scenario.kubeconfig.read_text().replace(
        f"tokenFile: {file}", "username: ada\n    password: secret"
    )
    scenario.kubeconfig.write_text(text)
    finding = (await of_scenario(tmp_path, scenario)).about("own token")
    assert (finding.level, "another kind of credential" in finding.sentence) == (Level.GOOD, True)


async def test_a_kubeconfig_without_a_cluster(tmp_path: Path) -> None:
    """The finding names what is missing."""
    file = tmp_path / "kubeconfig"
    file.write_text("kind: Config\n")
    document = {"cluster": {"audiences": ["a"], "kubeconfig": str(file)}}
    [finding] = (await found(written(tmp_path, document))).all
    assert (finding.level, finding.subject) == (Level.BAD, "cluster home: access")


# the command


async def doctor(file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `authgate doctor` as a program."""
    command = [sys.executable, "-m", "authgate", "doctor", "--config", str(file), *words]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=60, env=dict(os.environ)
        )

    return await asyncio.to_thread(run)


async def test_the_command_prints_a_line_for_each_finding(tmp_path: Path, scenario: Scenario) -> None:
    """Below each problem it prints the fix. Warnings do not change exit status 0."""
    scenario.state.forbid(GATE, Permission.REVIEW_TOKENS)
    result = await doctor(written(tmp_path, {"cluster": of_cluster(scenario)}))
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("good     cluster home: API server: https://127.0.0.1:")
    [place] = [number for number, line in enumerate(lines) if line.startswith("warning ")]
    assert lines[place + 1].startswith(
        "         -> bind the ClusterRole system:auth-delegator: kubectl create "
    )
    assert lines[-1] == "no problems found"


async def test_the_command_fails_if_requests_would_fail(tmp_path: Path, scenario: Scenario) -> None:
    """The exit status is 1."""
    await scenario.server.stop()
    result = await doctor(written(tmp_path, {"cluster": of_cluster(scenario)}))
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.splitlines()[-1] == "1 problem found"


async def test_a_script_gets_findings_as_json(tmp_path: Path) -> None:
    """Each has a level, a subject, a sentence and a remedy."""
    file = written(tmp_path, {"jwt": [trusting(f"http://127.0.0.1:{free_port()}")]})
    result = await doctor(file, "--output", "json")
    told = json.loads(result.stdout)
    assert (result.returncode, told["good"]) == (1, False)
    [finding] = told["findings"]
    assert set(finding) == {"level", "subject", "sentence", "remedy"}
    assert (finding["level"], finding["subject"]) == ("bad", "jwt corp: discovery")


async def test_the_own_token_is_in_no_output(tmp_path: Path, scenario: Scenario) -> None:
    """This includes parts of the token."""
    token = renewed(scenario)
    file = written(tmp_path, {"cluster": of_cluster(scenario)})
    for words in ((), ("-o", "json")):
        result = await doctor(file, *words)
        assert [part for part in token.split(".") if part in result.stdout + result.stderr] == []


async def test_an_invalid_configuration_is_not_examined(tmp_path: Path) -> None:
    """Its errors are reported instead."""
    result = await doctor(written(tmp_path, {"cluster": {"audience": "x"}}))
    assert (result.returncode, result.stdout) == (1, "")
    assert "cluster.audience" in result.stderr
