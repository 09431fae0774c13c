"""`authgate token` with an embedded cluster: the token on standard output, everything else on standard error."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from authgate.cluster.own_token import read_own_token
from authgate.dev.kube import Permission
from authgate.tools.explain.decode import decode
from tests.support.faults import Answer, Drop, failing, html, json_answer, redirect
from tests.support.service import cluster
from tests.support.token_requests import token_request_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.faults import Fault
    from tests.support.scenario import Scenario

PATH = token_request_path("default", "demo")
GATE = "system:serviceaccount:authgate:authgate"
_NO_NAMESPACE = json_answer(
    {
        "kind": "Status",
        "message": 'namespaces "default" not found',
        "details": {"name": "default", "kind": "namespaces"},
    },
    404,
)


@pytest.fixture
async def scenario(tmp_path: Path) -> AsyncIterator[Scenario]:
    """A cluster whose gate may request tokens of its accounts."""
    async with cluster(tmp_path / "cluster") as scenario:
        scenario.state.allow(GATE, Permission.REQUEST_TOKENS)
        yield scenario


async def requested(
    scenario: Scenario, *words: object, account: str = "demo", audience: str = "my-audience", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run `authgate token` for an account, with additional options."""
    command = [sys.executable, "-m", "authgate", "token", account, "-n", "default", "--audience", audience]
    command += ["--kubeconfig", str(scenario.kubeconfig), *map(str, words)]

    def run() -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **env}
        return subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=60, env=environment
        )

    return await asyncio.to_thread(run)


async def test_only_the_token_is_printed(scenario: Scenario) -> None:
    """Standard output can be used as a token without changes."""
    result = await requested(scenario)
    assert (result.returncode, result.stderr) == (0, "")
    [token] = result.stdout.splitlines()
    says = read_own_token(token)
    assert (says.subject, says.audiences) == ("system:serviceaccount:default:demo", ("my-audience",))
    assert (says.expires or 0) - (says.issued or 0) == 3600


async def test_scripts_get_the_token_request(scenario: Scenario) -> None:
    """The JSON has kubectl's names, so the same script can read both."""
    result = await requested(scenario, "--output", "json", "--duration", "600")
    printed = json.loads(result.stdout)
    assert (printed["kind"], printed["spec"]["audiences"]) == ("TokenRequest", ["my-audience"])
    assert (printed["spec"]["expirationSeconds"], printed["status"]["lifetimeSeconds"]) == (600, 600)
    assert read_own_token(printed["status"]["token"]).issuer == scenario.issuer_url
    assert printed["status"]["expirationTimestamp"].endswith("Z")


async def test_a_token_can_have_several_audiences(scenario: Scenario) -> None:
    """The option can be repeated."""
    result = await requested(scenario, "--audience", "other")
    assert read_own_token(result.stdout.strip()).audiences == ("my-audience", "other")


@pytest.mark.parametrize("kind", ["pod", "secret"])
async def test_a_token_can_be_bound(scenario: Scenario, kind: str) -> None:
    """The object is a pod of the account or a Secret."""
    account = scenario.state.service_account("bound")
    scenario.state.pod(account, "it")
    scenario.state.secret("it")
    result = await requested(scenario, f"--bound-{kind}", "it", account="bound")
    assert (result.returncode, result.stderr) == (0, "")
    assert dict(decode(result.stdout.strip(), 0).kubernetes)[kind] == "it"


async def test_a_missing_role_is_printed(scenario: Scenario) -> None:
    """It is printed as YAML for kubectl on standard error, with a binding for the caller."""
    scenario.state.forbid(GATE, Permission.REQUEST_TOKENS)
    result = await requested(scenario)
    assert (result.returncode, result.stdout) == (1, "")
    sentence, _, manifest = result.stderr.partition("\n")
    assert f"{GATE} is not allowed to request tokens of ServiceAccount demo" in sentence
    role, binding = yaml.safe_load_all(manifest)
    assert role["metadata"] == {"name": "token-of-demo", "namespace": "default"}
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["serviceaccounts/token"],
            "resourceNames": ["demo"],
            "verbs": ["create"],
        }
    ]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "authgate", "namespace": "authgate"}]


async def test_the_printed_role_can_name_a_user(scenario: Scenario) -> None:
    """A caller who is not a ServiceAccount is bound by username."""
    scenario.kubeconfig.with_name("authgate.token").write_text(scenario.state.static_token("jane: d'oe"))
    result = await requested(scenario)
    _, binding = yaml.safe_load_all(result.stderr.partition("\n")[2])
    assert binding["subjects"] == [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane: d'oe"}
    ]


@pytest.mark.parametrize(
    ("account", "words", "sentence"),
    [
        ("nobody", (), "ServiceAccount nobody in namespace default does not exist"),
        ("demo", ("--bound-pod", "deleted"), "pod deleted does not exist in namespace default"),
        ("demo", ("--bound-secret", "deleted"), "secret deleted does not exist in namespace default"),
        ("demo", ("--duration", "2000000h"), "the API server rejects --duration"),
        ("demo", ("--bound-pod", "others"), "the API server rejects the request with 400"),
    ],
    ids=["account", "pod", "secret", "long", "another account's pod"],
)
async def test_an_error_names_the_remedy(
    scenario: Scenario, account: str, words: tuple[str, ...], sentence: str
) -> None:
    """It is one line with the server's message."""
    scenario.state.pod(scenario.state.service_account("other"), "others")
    result = await requested(scenario, *words, account=account)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"authgate: no token: {sentence}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (600, "the token's lifetime is 10m instead of the requested 1h"),
        (86400, "the token's lifetime is 24h instead of the requested 1h"),
    ],
    ids=["shortened", "extended"],
)
async def test_a_changed_lifetime_is_reported(scenario: Scenario, given: int, message: str) -> None:
    """The API server changes a lifetime silently, so the command reports it."""
    account = scenario.state.service_account("demo")
    token = scenario.state.account_token(account, lifetime=given)
    status = {"token": token, "expirationTimestamp": "2030-01-01T00:00:00Z"}
    document: Any = {"kind": "TokenRequest", "spec": {"expirationSeconds": 3600}, "status": status}
    scenario.server.faults.set(PATH, json_answer(document, 201))
    result = await requested(scenario)
    assert (result.returncode, result.stdout) == (0, f"{token}\n")
    assert message in result.stderr


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (failing(500), "the API server answered 500"),
        (failing(429), "the API server answered 429"),
        (html(), "the answer is not a usable TokenRequest"),
        (html(403), "create this Role"),
        (_NO_NAMESPACE, "namespace default does not exist"),
        (redirect("https://elsewhere.example"), "a redirect, which is never followed"),
        (Answer(201, b"x" * 2_000_000), "the answer is longer than"),
        (Drop(), "without an answer"),
    ],
    ids=["500", "429", "page", "403 page", "no namespace", "redirect", "flood", "drop"],
)
async def test_a_server_that_misbehaves_is_reported(scenario: Scenario, fault: Fault, words: str) -> None:
    """The exit status is 1, and the error is on standard error only."""
    scenario.server.faults.set(PATH, fault)
    result = await requested(scenario)
    assert (result.returncode, result.stdout) == (1, "")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


async def test_a_rejected_credential_is_reported(scenario: Scenario) -> None:
    """The caller's own credential may be forged or expired."""
    scenario.kubeconfig.with_name("authgate.token").write_text("nonsense")
    result = await requested(scenario)
    assert result.returncode == 1
    assert "does not accept the gate's own credential" in result.stderr


async def test_a_missing_cluster_is_reported(scenario: Scenario, tmp_path: Path) -> None:
    """Outside a pod and without a kubeconfig, the command knows no API server."""
    result = await requested(scenario, "--kubeconfig", tmp_path / "none")
    assert (result.returncode, result.stdout) == (1, "")
    assert "none" in result.stderr


async def test_the_context_is_used(scenario: Scenario) -> None:
    """A missing context is an error."""
    assert (await requested(scenario, "--context", "dev")).returncode == 0
    assert "has no entry named 'prod'" in (await requested(scenario, "--context", "prod")).stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--namespace", "../kube-system"),
        ("--bound-pod", "A"),
        ("--bound-pod", "a", "--bound-secret", "b"),
        ("--duration", "soon"),
        ("--duration", "0"),
        ("--duration", "10"),
        ("--duration", "9m59s"),
        ("--duration", "600500ms"),
        ("--duration", "9" * 5000),
        ("--audience", ""),
    ],
    ids=[
        "path",
        "name",
        "two objects",
        "word",
        "nothing",
        "no unit",
        "short",
        "fraction",
        "huge",
        "no audience",
    ],
)
async def test_a_usage_error_sends_no_request(scenario: Scenario, words: tuple[str, ...]) -> None:
    """The exit status is 2."""
    result = await requested(scenario, *words)
    assert (result.returncode, result.stdout) == (2, "")
    assert not scenario.server.counts
