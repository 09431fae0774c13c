from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.unit.cli.conftest import Run

EXAMPLES = sorted((Path(__file__).parents[3] / "deploy" / "examples").glob("*.yaml"))
GOOD = """
jwt:
- issuer: {url: https://issuer.example, audiences: [my-app]}
  claimMappings: {username: {claim: sub, prefix: "corp:"}}
"""
NOWHERE = {"server": {"listen": ["127.0.0.1:0"], "admin": "127.0.0.1:0"}}
BAD = """
cluster:
  audience: [my-audience]
  audiences: my-audience
server:
  prxy: nginx
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A valid configuration file."""
    path = tmp_path / "authgate.yaml"
    path.write_text(GOOD)
    return path


def _written(path: Path, **sections: object) -> Path:
    """Return a file with further sections. It is JSON, and so YAML."""
    path.write_text(json.dumps({**yaml.safe_load(GOOD), **NOWHERE, **sections}, indent=1))
    return path


def test_a_valid_configuration_passes(run: Run, file: Path) -> None:
    """The exit status is 0, and the message names the file."""
    result = run("check", "--config", _written(file))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{file}: the configuration is valid\n"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_pass(run: Run, example: Path) -> None:
    """The examples that users can copy are valid."""
    assert run("check", "--config", example).exit_code == 0


def test_the_file_may_be_named_by_the_environment(run: Run, file: Path) -> None:
    """`AUTHGATE_CONFIG` replaces --config."""
    assert run("check", env={"AUTHGATE_CONFIG": str(file)}).exit_code == 0


def test_the_environment_alone_may_be_complete(run: Run) -> None:
    """In a pod one variable is a complete configuration."""
    assert run("check", env={"AUTHGATE_CLUSTER__AUDIENCES": "my-audience"}).exit_code == 0


def test_every_problem_is_listed_with_path_value_and_nearest_name(run: Run, file: Path) -> None:
    """One run finds all mistakes."""
    file.write_text(BAD)
    result = run("check", "--config", file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        f"{file}:3: cluster.audience: is not a known field; did you mean audiences?",
        f'{file}:4: cluster.audiences: must be a list, such as [a, b]; got "my-audience"',
        f"{file}:6: server.prxy: is not a known field; did you mean proxy?",
        "3 problems found",
    ]


def test_a_script_gets_the_problems_as_json(run: Run, file: Path) -> None:
    """Path, value, suggestion and line have names."""
    file.write_text(BAD)
    result = run("check", "--config", file, "--output", "json")
    shown = json.loads(result.stdout)
    assert (result.exit_code, shown["valid"], shown["warnings"]) == (1, False, [])
    assert shown["problems"][2] == {
        "path": "server.prxy",
        "message": "is not a known field",
        "value": "",
        "suggestion": "proxy",
        "line": 6,
    }


def test_warnings_do_not_fail(run: Run, file: Path) -> None:
    """A setting with a warning may be intended."""
    file.write_text(GOOD.replace("corp:", ""))
    result = run("check", "--config", file)
    assert result.exit_code == 0
    assert result.stderr.startswith(f"{file}:4: warning: jwt[0].claimMappings.username.prefix: ")


def test_a_missing_file_is_one_sentence(run: Run, tmp_path: Path) -> None:
    """There is no traceback for a wrong path."""
    result = run("check", "--config", tmp_path / "none.yaml")
    assert result.exit_code == 1
    assert (
        result.stderr.splitlines()[0]
        == f"{tmp_path / 'none.yaml'}: cannot be read: No such file or directory"
    )


def test_keys_in_a_file_are_read(run: Run, file: Path, tmp_path: Path) -> None:
    """A key file that would prevent the gate from starting is reported."""
    keys = tmp_path / "keys.json"
    keys.write_text('{"keys": [{"kty": "RSA", "n": "AQ", "e": "AQAB"}]}')
    file.write_text(f"{GOOD}  gate: {{name: corp, staticKeys: {{file: {keys}}}}}\n")
    result = run("check", "--config", file)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{file}:5: jwt[0].gate.staticKeys: no usable key; key 0: ")


def test_unusable_keys_of_a_cluster_are_a_problem(run: Run, file: Path) -> None:
    """They can be checked without a network. The API server of a cluster is not called."""
    keys = file.with_name("keys.json")
    keys.write_text('{"keys": [{"kty": "RSA", "n": "AQ", "e": "AQAB"}]}')
    static = f"issuers: [x], tokenReview: {{mode: never}}, staticKeys: {{file: {keys}}}"
    file.write_text(
        f"cluster: [{{audiences: [a], context: nowhere}}, {{name: away, audiences: [a], {static}}}]\n"
    )
    result = run("check", "--config", file)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{file}:1: cluster[1].staticKeys: no usable key; key 0: ")


def test_a_control_character_in_the_file_does_not_reach_the_terminal(run: Run, file: Path) -> None:
    """Problems quote values of the file, escaped."""
    file.write_text('"a\\e[2Jb": 1\n' + GOOD)
    result = run("check", "--config", file)
    assert result.exit_code == 1
    assert all(char.isprintable() or char == "\n" for char in result.stderr)


KUBECONFIG = {
    "current-context": "a",
    "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
}
UNUSABLE: dict[str, tuple[dict[str, object], dict[str, object], str]] = {
    "server-without-tls": ({"server": "http://10.0.0.1"}, {}, "plain http is accepted on loopback only"),
    "missing-token-file": ({}, {"tokenFile": "none"}, "cannot be read"),
    "missing-ca": ({"certificate-authority": "none"}, {}, "cannot be read"),
    "ca-that-is-none": ({"certificate-authority-data": "YQ=="}, {}, "does not contain a PEM certificate"),
    "certificate-without-key": ({}, {"client-certificate-data": "YQ=="}, "client-key: is missing"),
    "exec-plugin-of-another-version": (
        {},
        {"exec": {"apiVersion": "v0", "command": "a"}},
        "apiVersion: must be",
    ),
}


def _kubeconfig(file: Path, cluster: dict[str, object], user: Mapping[str, object]) -> str:
    path = file.with_name("kubeconfig")
    clusters = [{"name": "a", "cluster": {"server": "https://127.0.0.1:1", **cluster}}]
    users = [{"name": "a", "user": user}]
    path.write_text(json.dumps({**KUBECONFIG, "clusters": clusters, "users": users}))
    return str(path)


@pytest.mark.parametrize(("cluster", "user", "words"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_kubeconfig_that_serve_rejects_is_a_problem(
    run: Run, file: Path, cluster: dict[str, object], user: dict[str, object], words: str
) -> None:
    """The problem has the line that names the file."""
    section = {"audiences": ["a"], "kubeconfig": _kubeconfig(file, cluster, user)}
    result = run("check", "--config", _written(file, cluster=section))
    assert result.exit_code == 1
    assert ": cluster.kubeconfig: " in result.stderr
    assert words in result.stderr


def test_a_context_that_a_kubeconfig_does_not_have_is_a_problem(run: Run, file: Path) -> None:
    """This is checked for each cluster."""
    kubeconfig = _kubeconfig(file, {}, {})
    clusters = [
        {"name": name, "audiences": ["a"], "kubeconfig": kubeconfig, "context": name}
        for name in ("a", "b", "c")
    ]
    result = run("check", "--config", _written(file, cluster=clusters))
    assert result.exit_code == 1
    assert [line.split(" ")[1] for line in result.stderr.splitlines()[:2]] == [
        "cluster[1].kubeconfig:",
        "cluster[2].kubeconfig:",
    ]


def test_a_cluster_that_cannot_be_found_from_here_is_a_warning(run: Run, file: Path) -> None:
    """The gate will find it in a pod, so the exit status is 0. The warning states that nothing was checked."""
    result = run(
        "check", "--config", _written(file, cluster={"audiences": ["a"]}), env={"HOME": str(file.parent)}
    )
    assert result.exit_code == 0
    assert ": warning: cluster: " in result.stderr
    assert "was not found from here, so it was not checked" in result.stderr


def test_an_exec_plugin_that_is_not_installed_here_is_a_warning(run: Run, file: Path) -> None:
    """The plugin runs at the first request, so `serve` starts without it."""
    plugin: dict[str, object] = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-program"}
    }
    section = {"audiences": ["a"], "kubeconfig": _kubeconfig(file, {}, plugin)}
    result = run("check", "--config", _written(file, cluster=section))
    assert result.exit_code == 0
    assert "needs the program no-such-program" in result.stderr


def test_two_files_with_one_signing_key_are_a_problem(run: Run, file: Path) -> None:
    """A key may be listed only once."""
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    files = [file.with_name(name) for name in ("one.pem", "two.pem")]
    for one in files:
        one.write_bytes(key)
    signing = {"issuer": "https://gate.example", "keyFiles": [str(one) for one in files]}
    result = run("check", "--config", _written(file, signing=signing, identityToken={"audience": "apps"}))
    assert result.exit_code == 1
    assert ": signing.keyFiles: " in result.stderr
    assert "two files hold the same key" in result.stderr


@pytest.mark.parametrize("section", ["server", "exchange"])
def test_a_tls_certificate_that_openssl_rejects_is_a_problem(run: Run, file: Path, section: str) -> None:
    """A certificate that can be parsed may still be too weak."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gate.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pair = {"certFile": file.with_name("tls.crt"), "keyFile": file.with_name("tls.key")}
    pair["certFile"].write_bytes(certificate.public_bytes(Encoding.PEM))
    pair["keyFile"].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    tls = {name: str(path) for name, path in pair.items()}
    signing = {"issuer": "https://gate.example"}
    exchange = {"listen": "127.0.0.1:0", "audiences": {"default": ["apps"]}}
    sections: dict[str, object] = {"signing": signing, "exchange": exchange, "server": NOWHERE["server"]}
    sections[section] = {**sections[section], "tls": tls}  # type: ignore[dict-item]
    result = run("check", "--config", _written(file, **sections))
    assert result.exit_code == 1
    assert f": {section}.tls: " in result.stderr


def test_a_comment_in_a_ca_file_may_have_any_characters(run: Run, file: Path) -> None:
    """OpenSSL accepts only ASCII, so comments are removed first."""
    pem = trustme.CA().cert_pem.bytes().decode()
    issuer = yaml.safe_load(GOOD)["jwt"][0]
    issuer["issuer"]["certificateAuthority"] = f"# Prüfstelle\n{pem}"
    assert run("check", "--config", _written(file, jwt=[issuer])).exit_code == 0


def test_an_address_that_is_not_available_here_is_a_warning(run: Run, file: Path) -> None:
    """It may be free on another machine, or when the other program has ended."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = {
            "listen": [f"unix:{file.parent}/none/gate.sock", f"unix:{file}", "192.0.2.1:0"],
            "admin": f"127.0.0.1:{taken.getsockname()[1]}",
        }
        result = run("check", "--config", _written(file, server=server))
    shown = [line for line in result.stderr.splitlines() if "cannot be opened on this machine now" in line]
    assert result.exit_code == 0
    assert [line.split(" ")[2] for line in shown] == [
        "server.listen[0]:",
        "server.listen[1]:",
        "server.listen[2]:",
        "server.admin:",
    ]
    assert ["does not exist" in shown[0], "not a socket exists there" in shown[1], "in use" in shown[3]] == [
        True
    ] * 3


def test_the_file_may_be_an_argument(run: Run, file: Path) -> None:
    """It takes precedence over the environment. Two files are wrong usage."""
    assert run("check", file, env={"AUTHGATE_CONFIG": "none.yaml"}).exit_code == 0
    assert run("check", file, "--config", file).exit_code == 2


@pytest.mark.parametrize("words", [("-",), ("--config", "-")], ids=["argument", "option"])
def test_the_file_may_be_standard_input(run: Run, words: tuple[str, ...]) -> None:
    """A pipe needs no temporary file. Messages call it <stdin>."""
    assert run("check", *words, stdin=GOOD).stdout == "<stdin>: the configuration is valid\n"
    assert run("check", *words, stdin=BAD).stderr.startswith("<stdin>:3: cluster.audience: is not")
    assert run("check", *words, stdin="a: [").stderr.startswith("<stdin>:1: is not valid YAML")
    assert run("check", *words, stdin=b"\xff").stderr.startswith("<stdin>: is not UTF-8")
