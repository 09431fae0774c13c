"""`authgate config convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from authgate.config import load

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

KUBERNETES = """
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous: {enabled: false}
jwt:
- issuer: {url: "https://example.com", audiences: [app]}
  claimMappings:
    username: {claim: sub, prefix: "corp:"}
"""
FROM = ("--from", "authentication-configuration")
TO = ("--to", "authentication-configuration")


@pytest.fixture
def kubernetes(tmp_path: Path) -> Path:
    """A file that kube-apiserver accepts."""
    file = tmp_path / "authentication.yaml"
    file.write_text(KUBERNETES)
    return file


def test_the_result_and_the_notes_are_printed_separately(run: Run, kubernetes: Path) -> None:
    """Standard output can be redirected to a file. Notes about omissions are on standard error."""
    result = run("config", "convert", kubernetes, *FROM)
    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout)["jwt"][0]["issuer"]["url"] == "https://example.com"
    assert ":4: note: anonymous: is omitted: " in result.stderr


def test_the_result_is_written_to_a_file(run: Run, kubernetes: Path, tmp_path: Path) -> None:
    """It is a valid configuration. Nothing is printed to standard output."""
    output = tmp_path / "authgate.yaml"
    result = run("config", "convert", kubernetes, *FROM, "--output", output)
    assert (result.exit_code, result.stdout) == (0, "")
    assert load(output, {}).config.jwt[0].claim_mappings.username.prefix == "corp:"


def test_standard_input_is_read(run: Run) -> None:
    """Another program can write the input."""
    result = run("config", "convert", "-", *FROM, stdin=KUBERNETES)
    assert result.exit_code == 0
    assert "https://example.com" in result.stdout


def test_an_imported_configuration_is_exported_unchanged(run: Run, kubernetes: Path, tmp_path: Path) -> None:
    """The export equals the original file."""
    output = tmp_path / "authgate.yaml"
    run("config", "convert", kubernetes, *FROM, "-o", output)
    result = run("config", "convert", output, *TO)
    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout)["jwt"] == yaml.safe_load(KUBERNETES)["jwt"]
    [note] = result.stderr.splitlines()
    assert ":15: note: jwt[0].gate.algorithms: is omitted: kube-apiserver accepts RS256" in note


def test_problems_of_an_invalid_result_are_listed(run: Run, tmp_path: Path) -> None:
    """The result is still written, to be corrected by hand. The exit status is 1."""
    file = tmp_path / "authentication.yaml"
    file.write_text(KUBERNETES.replace("[app]", "[]"))
    result = run("config", "convert", file, *FROM)
    assert result.exit_code == 1
    assert "audiences: []" in result.stdout
    assert "problem: jwt[0].issuer.audiences" in result.stderr


def test_an_invalid_configuration_is_not_exported(run: Run, tmp_path: Path) -> None:
    """Its problems are printed instead."""
    file = tmp_path / "authgate.yaml"
    file.write_text("jwt: [{issuer: {url: 'https://example.com'}}]\n")
    result = run("config", "convert", file, *TO)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "jwt[0].issuer.audiences" in result.stderr


@pytest.mark.parametrize("options", [(), (*FROM, *TO)], ids=["neither", "both"])
def test_exactly_one_direction_must_be_given(run: Run, kubernetes: Path, options: tuple[str, ...]) -> None:
    """Formats are never guessed."""
    result = run("config", "convert", kubernetes, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--from" in result.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("a: [", "is not valid YAML", id="bad YAML"),
        pytest.param("kind: Pod", "must be AuthenticationConfiguration", id="another document"),
        pytest.param(b"\xff", "is not UTF-8", id="not UTF-8"),
        pytest.param("#" * (1024 * 1024 + 1), "larger than 1024 KiB", id="too long"),
    ],
)
def test_unreadable_input_is_an_error(run: Run, text: str | bytes, sentence: str) -> None:
    """The exit status is 1, and nothing is on standard output."""
    result = run("config", "convert", "-", *FROM, stdin=text)
    assert (result.exit_code, result.stdout) == (1, "")
    assert sentence in result.stderr


def test_inaccessible_files_are_an_error(run: Run, kubernetes: Path, tmp_path: Path) -> None:
    """The message has the name of the file and the reason."""
    missing = run("config", "convert", tmp_path / "missing.yaml", *FROM)
    assert (missing.exit_code, "No such file" in missing.stderr) == (1, True)
    folder = run("config", "convert", kubernetes, *FROM, "--output", tmp_path)
    assert (folder.exit_code, "cannot write" in folder.stderr) == (1, True)


def test_a_vault_role_needs_the_methods_configuration(run: Run, tmp_path: Path) -> None:
    """Both files are required because the issuer is in the method's configuration. The result has a policy."""
    role, config = tmp_path / "role.json", tmp_path / "config.json"
    role.write_text('{"data": {"role_type": "jwt", "bound_audiences": ["vault"], "token_ttl": 60}}')
    config.write_text('{"data": {"oidc_discovery_url": "https://issuer.example"}}')
    alone = run("config", "convert", role, "--from", "vault-role")
    assert (alone.exit_code, "--auth-config" in alone.stderr) == (2, True)
    both = run("config", "convert", role, "--from", "vault-role", "--auth-config", config, "--policy", "demo")
    assert both.exit_code == 0, both.stderr
    assert yaml.safe_load(both.stdout)["policies"] == {"demo": {"role": {"boundAudiences": ["vault"]}}}
    assert "data.token_ttl (line 1): is omitted" in both.stderr


ENVOY = """
providers:
  login:
    issuer: https://login.example.com
    remote_jwks: {http_uri: {uri: "https://login.example.com/keys", cluster: login, timeout: 1s}}
rules:
- match: {prefix: /}
  requires: {provider_name: login}
"""
KUBE_RBAC_PROXY = """
kind: Pod
metadata: {name: app}
spec:
  containers:
  - name: kube-rbac-proxy
    args: [--auth-token-audiences=app]
"""


def test_the_caller_adds_an_audience(run: Run) -> None:
    """Without it, the result is written but not valid, because the input accepts every audience."""
    words = ("config", "convert", "-", "--from", "envoy-jwt-authn")
    without = run(*words, stdin=ENVOY)
    assert without.exit_code == 1
    assert "problem: jwt[0].issuer.audiences" in without.stderr
    several = run(*words, "--audience", "app", "--audience", "api", stdin=ENVOY)
    assert several.exit_code == 0, several.stderr
    assert yaml.safe_load(several.stdout)["jwt"][0]["issuer"]["audiences"] == ["app", "api"]


def test_the_proxy_is_never_guessed(run: Run) -> None:
    """Rules need the name of the proxy, whose headers are trusted. Without it, the result is not valid."""
    words = ("config", "convert", "-", "--from", "kube-rbac-proxy")
    without = run(*words, stdin=KUBE_RBAC_PROXY)
    assert without.exit_code == 1
    assert "problem: policies.default.rules (line " in without.stderr
    assert "needs server.proxy" in without.stderr
    named = run(*words, "--proxy", "nginx", "--policy", "app", stdin=KUBE_RBAC_PROXY)
    assert named.exit_code == 0, named.stderr
    result = yaml.safe_load(named.stdout)
    assert (result["server"], list(result["policies"])) == ({"proxy": "nginx"}, ["app"])


def test_notes_are_comments_of_the_result(run: Run) -> None:
    """They remain with the file, so that a reviewer sees what was omitted."""
    result = run("config", "convert", "-", "--from", "envoy-jwt-authn", "--audience", "app", stdin=ENVOY)
    comments = [line for line in result.stdout.splitlines() if line.startswith("#")]
    assert comments[0] == "# Converted from envoy-jwt-authn."
    assert any(
        "line 5: providers.login.remote_jwks.http_uri.cluster: is omitted: " in line for line in comments
    )
    assert "<stdin>:5: note: providers.login.remote_jwks.http_uri.cluster: is omitted: " in result.stderr
