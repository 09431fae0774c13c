"""Reading kubeconfig files, and the error for each mistake."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from authgate.cluster.client import find_connection
from authgate.cluster.connection import (
    Authorization,
    ClientCertificate,
    ClusterConfigError,
    Connection,
    ConnectionSettings,
    ExecPlugin,
    TokenFile,
    pod_connection,
    present,
    server_url,
)
from authgate.cluster.kubeconfig import kubeconfig_paths, read_kubeconfig
from authgate.http_proxy import Proxy
from tests.support.fake_api import Kubeconfig

if TYPE_CHECKING:
    from pathlib import Path

SERVER = "https://api.example:6443"
EXEC = {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws"}


def read(
    folder: Path, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None
) -> Connection:
    """Read a kubeconfig with these entries."""
    path = folder / "config"
    Kubeconfig(SERVER, cluster or {}, user or {}).write(path)
    return read_kubeconfig((path,), None)


def test_a_cluster_is_read(tmp_path: Path) -> None:
    """Its CA file is relative to the kubeconfig."""
    cluster = {
        "certificate-authority": "ca.crt",
        "tls-server-name": "kubernetes",
        "proxy-url": "http://proxy:3128",
    }
    assert read(tmp_path, cluster) == Connection(
        origin=f"context 'x' of {tmp_path / 'config'}",
        server=SERVER,
        ca=tmp_path / "ca.crt",
        server_name="kubernetes",
        proxy=Proxy("http://proxy:3128", "", "the kubeconfig's proxy-url"),
    )


def test_embedded_data_takes_precedence_over_a_file(tmp_path: Path) -> None:
    """This is as in kubectl."""
    data = base64.b64encode(b"PEM").decode()
    cluster = {"certificate-authority": "ca.crt", "certificate-authority-data": data}
    assert read(tmp_path, cluster).ca == b"PEM"


def test_insecure_skip_tls_verify_is_read(tmp_path: Path) -> None:
    """Certificates are then not verified."""
    assert read(tmp_path, {"insecure-skip-tls-verify": True}).unsafe_skip_verify


@pytest.mark.parametrize(
    ("user", "credential"),
    [
        ({}, None),
        ({"token": " abc\n"}, Authorization("Bearer abc")),
        ({"username": "u", "password": "p"}, Authorization("Basic dTpw")),
        ({"username": "u"}, Authorization("Basic dTo=")),
        ({"exec": EXEC}, ExecPlugin(EXEC["apiVersion"], "aws")),
        (
            {"exec": {**EXEC, "args": ["a"], "env": [{"name": "N", "value": "V"}]}},
            ExecPlugin(EXEC["apiVersion"], "aws", ("a",), (("N", "V"),)),
        ),
        ({"exec": {**EXEC, "args": None, "env": None}}, ExecPlugin(EXEC["apiVersion"], "aws")),
        ({"exec": EXEC, "token": "abc"}, Authorization("Bearer abc")),
    ],
    ids=["none", "token", "basic", "no password", "exec", "exec args", "exec null", "token wins"],
)
def test_each_kind_of_credential_is_read(tmp_path: Path, user: dict[str, Any], credential: object) -> None:
    """Each kind of credential is read."""
    assert read(tmp_path, None, user).credential == credential


def test_a_token_file_takes_precedence_over_a_token(tmp_path: Path) -> None:
    """This is as in kubectl. The path is relative to the kubeconfig."""
    assert read(tmp_path, None, {"token": "abc", "tokenFile": "t"}).credential == TokenFile(tmp_path / "t")


def test_the_path_of_a_plugin_is_relative_to_the_file(tmp_path: Path) -> None:
    """A plugin with a slash in its name is relative to the kubeconfig."""
    plugin = read(tmp_path, None, {"exec": {**EXEC, "command": "bin/login"}}).credential
    assert isinstance(plugin, ExecPlugin)
    assert plugin.command == str(tmp_path / "bin" / "login")


def test_a_client_certificate_is_read(tmp_path: Path) -> None:
    """A client certificate and its key may come from a file and from data."""
    user = {"client-certificate": "c.crt", "client-key-data": base64.b64encode(b"KEY").decode()}
    assert read(tmp_path, None, user).client_certificate == ClientCertificate(tmp_path / "c.crt", b"KEY")


@pytest.mark.parametrize(
    ("cluster", "user", "problem"),
    [
        ({"server": ""}, {}, r"clusters\[c\].cluster.server: is missing"),
        ({"server": 7}, {}, r"clusters\[c\].cluster.server: must be a string"),
        ({"server": "api.example:6443"}, {}, "must be a URL such as https://host:port"),
        ({"certificate-authority-data": "%%%"}, {}, "certificate-authority-data: is not base64"),
        ({"insecure-skip-tls-verify": "yes"}, {}, "must be true or false"),
        (
            {"insecure-skip-tls-verify": True, "certificate-authority": "ca"},
            {},
            "contradicts certificate-authority",
        ),
        ({"proxy-url": "socks5://proxy:1080"}, {}, "proxy-url: .*SOCKS is not supported"),
        ({"proxy-url": "http://[::1"}, {}, "proxy-url: must be a URL"),
        ({}, {"token": "secret words"}, r"users\[u\].user.token: .*printable ASCII"),
        ({}, {"token": ["secret"]}, r"users\[u\].user.token: must be a string"),
        ({}, {"client-certificate": "secret"}, "client-key: is missing"),
        ({}, {"client-key": "secret"}, "client-certificate: is missing"),
        ({}, {"auth-provider": {"name": "secret"}}, "use the provider's exec plugin"),
        ({}, {"exec": ["secret"]}, "exec: must be a mapping"),
        ({}, {"exec": {**EXEC, "apiVersion": "v0"}}, "exec.apiVersion: must be client.authentication"),
        ({}, {"exec": {**EXEC, "command": ""}}, "exec.command: is missing"),
        ({}, {"exec": {**EXEC, "args": [1]}}, "exec.args: must be a list of strings"),
        ({}, {"exec": {**EXEC, "env": ["secret"]}}, "exec.env: must be a list of mappings"),
        ({}, {"exec": {**EXEC, "env": [{"value": "secret"}]}}, r"exec.env\[0\].name: is missing"),
    ],
)
def test_a_mistake_is_reported_with_its_path(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], problem: str
) -> None:
    """The error has the path in the file, and no value."""
    with pytest.raises(ClusterConfigError, match=problem) as caught:
        read(tmp_path, cluster, user)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "current-context: is not set; run 'kubectl config use-context NAME'"),
        ("[]", "must be a mapping with clusters, users and contexts"),
        ("current-context: [", r"not valid YAML \(line 1\)"),
        ("a: b\n\tsecret: 1", r"not valid YAML \(line 2\)"),
        ("\x00secret", "not valid YAML$"),
        ("a: !!python/object:os.system {}", r"not valid YAML \(line 1\)"),
        ("current-context: [x]", "current-context: must be a string"),
        ("current-context: x", "contexts: has no entry named 'x'$"),
        ("current-context: x\ncontexts: {}", "contexts: must be a list of mappings"),
        ("current-context: x\ncontexts: [{}]", r"contexts\[0\].name: is missing"),
        ("current-context: x\ncontexts: [{name: y}]", "has no entry named 'x'; it has y"),
        ("current-context: x\ncontexts: [{name: x}]", r"contexts\[x\].context.cluster: is missing"),
        (
            "current-context: x\ncontexts: [{name: x, context: {cluster: c}}]",
            "clusters: has no entry named 'c'$",
        ),
    ],
    ids=[
        *(
            "empty",
            "list",
            "open bracket",
            "tab",
            "NUL",
            "tag",
            "context type",
            "no contexts",
            "contexts type",
        ),
        *("no name", "other name", "no cluster name", "no cluster"),
    ],
)
def test_a_file_that_is_not_a_kubeconfig_is_an_error(tmp_path: Path, text: str, problem: str) -> None:
    """The error has the line, but not the text."""
    (tmp_path / "config").write_text(text)
    with pytest.raises(ClusterConfigError, match=problem) as caught:
        read_kubeconfig((tmp_path / "config",), None)
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """The error names an explicit file that does not exist."""
    access = ConnectionSettings(kubeconfig=str(tmp_path / "none"))
    with pytest.raises(ClusterConfigError, match="none: cannot be read: No such file"):
        find_connection(access)


def test_a_huge_file_is_rejected(tmp_path: Path) -> None:
    """A file that is too large for a kubeconfig is refused."""
    with (tmp_path / "config").open("wb") as file:
        file.truncate(11 << 20)
    with pytest.raises(ClusterConfigError, match="longer than"):
        read_kubeconfig((tmp_path / "config",), None)


def test_a_configured_context_is_used(tmp_path: Path) -> None:
    """A configured context takes precedence over the current one."""
    document = {
        "current-context": "a",
        "contexts": [{"name": name, "context": {"cluster": name}} for name in "ab"],
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}"}} for name in "ab"],
    }
    (tmp_path / "config").write_text(json.dumps(document))
    assert read_kubeconfig((tmp_path / "config",), "b").server == "https://b"


def test_files_are_merged_as_in_kubectl(tmp_path: Path) -> None:
    """The first definition of an entry is used, missing files are skipped, and paths are relative to their file."""
    (tmp_path / "one").mkdir()
    Kubeconfig("https://first", {"certificate-authority": "ca"}).write(tmp_path / "one" / "config")
    Kubeconfig("https://second").write(tmp_path / "two")
    listed = ":".join(str(tmp_path / name) for name in ("none", "one/config", "two"))
    found = find_connection(ConnectionSettings(environ={"KUBECONFIG": listed}))
    assert (found.server, found.ca) == ("https://first", tmp_path / "one" / "ca")


@pytest.mark.parametrize(
    ("kubeconfig", "environ", "paths"),
    [
        ("x", {"KUBECONFIG": "a:b"}, ["x"]),
        ("~/x", {"HOME": "/h"}, ["/h/x"]),
        (None, {"KUBECONFIG": "/a::/b:"}, ["/a", "/b"]),
        (None, {"KUBECONFIG": "", "HOME": "/h"}, ["/h/.kube/config"]),
        (None, {}, ["/.kube/config"]),
    ],
    ids=["explicit", "home", "listed", "default", "no home"],
)
def test_the_path_of_the_kubeconfig(
    kubeconfig: str | None, environ: dict[str, str], paths: list[str]
) -> None:
    """It is the explicit file, else $KUBECONFIG, else the one in the home folder."""
    assert [str(path) for path in kubeconfig_paths(kubeconfig, environ)] == paths


POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def account(folder: Path) -> Path:
    """A pod's ServiceAccount folder."""
    (folder / "token").write_text("abc")
    (folder / "ca.crt").write_text("PEM")
    return folder


def test_a_pod_uses_its_service_account(tmp_path: Path) -> None:
    """In a pod the API server comes from the environment, and CA and token from the ServiceAccount's folder."""
    access = ConnectionSettings(service_account_dir=str(account(tmp_path)), environ=POD)
    assert find_connection(access) == Connection(
        origin="the pod's ServiceAccount",
        server="https://10.0.0.1:443",
        ca=tmp_path / "ca.crt",
        credential=TokenFile(tmp_path / "token"),
    )


def test_a_pod_can_use_ipv6(tmp_path: Path) -> None:
    """An IPv6 address of the API server is put in brackets."""
    environ = {**POD, "KUBERNETES_SERVICE_HOST": "fd00::1"}
    found = pod_connection(ConnectionSettings(service_account_dir=str(account(tmp_path)), environ=environ))
    assert found is not None
    assert found.server == "https://[fd00::1]:443"


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
def test_a_pod_without_service_account_files_has_no_cluster(tmp_path: Path, missing: str) -> None:
    """The error names the expected folder."""
    (account(tmp_path) / missing).unlink()
    access = ConnectionSettings(service_account_dir=str(tmp_path), environ={**POD, "HOME": str(tmp_path)})
    with pytest.raises(ClusterConfigError, match=r"automountServiceAccountToken.*cluster\.kubeconfig"):
        find_connection(access)


@pytest.mark.parametrize("chosen", ["kubeconfig", "context"])
def test_a_pod_can_use_a_kubeconfig(tmp_path: Path, chosen: str) -> None:
    """An explicit kubeconfig or context takes precedence over the pod's ServiceAccount."""
    path = Kubeconfig(SERVER).write(tmp_path / "config")
    access = ConnectionSettings(
        kubeconfig=path if chosen == "kubeconfig" else None,
        context="x" if chosen == "context" else None,
        service_account_dir=str(account(tmp_path)),
        environ={**POD, "KUBECONFIG": path},
    )
    assert find_connection(access).server == SERVER


def test_a_path_that_cannot_be_checked_counts_as_present(tmp_path: Path) -> None:
    """Reading it then reports the reason."""
    assert (present(tmp_path), present(tmp_path / "x"), present(tmp_path / ("x" * 5000))) == (
        True,
        False,
        True,
    )


@pytest.mark.parametrize(
    ("url", "result"),
    [
        ("https://api:6443/", "https://api:6443"),
        ("https://rancher/k8s/c-1", "https://rancher/k8s/c-1"),
        ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("http://[::1]:8001", "http://[::1]:8001"),
        ("http://localhost:8001", "http://localhost:8001"),
    ],
)
def test_https_and_http_on_loopback_are_accepted(url: str, result: str) -> None:
    """A path is kept, without a slash at its end."""
    assert server_url(url, "server") == result


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1:8080",
        "http://localhost.example",
        "ftp://api",
        "api:6443",
        "https://",
        "https://api:99999",
        "https://[::1",
        "https://user:pass@api",
        "https://api/?a=b",
        "https://api/#a",
    ],
)
def test_any_other_server_url_is_rejected(url: str) -> None:
    """The error has the field's name."""
    with pytest.raises(ClusterConfigError, match=r"^server: "):
        server_url(url, "server")
