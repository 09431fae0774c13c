"""Kubeconfig files: merge them, choose one context, and report each error with its path in the file.

kubernetes_asyncio's own loader is not used: its messages quote whole users with their tokens, it reads `tokenFile`
once, and it leaves keys in temporary files. Precedence is as in client-go (`tools/clientcmd/loader.go`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from authgate.cluster.connection import (
    Authorization,
    ClientCertificate,
    ClusterConfigError,
    Connection,
    ExecPlugin,
    TokenFile,
    header_safe,
    server_url,
)
from authgate.http_proxy import ProxyError, read_proxy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from authgate.http_proxy import Proxy

_MAX_BYTES: Final = 10 << 20
_EXEC_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


@dataclass(frozen=True, slots=True)
class _Section:
    """One mapping of a file: returns typed members, and names them in errors without their values."""

    members: Mapping[str, Any]
    where: str
    folder: Path

    def error(self, name: str, problem: str) -> ClusterConfigError:
        return ClusterConfigError(f"{self.where}.{name}: {problem}")

    def text(self, name: str) -> str:
        value = self.members.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.error(name, "must be a string; put it in quotes")
        return value

    def required(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise self.error(name, "is missing")
        return value

    def flag(self, name: str) -> bool:
        value = self.members.get(name, False)
        if not isinstance(value, bool):
            raise self.error(name, "must be true or false")
        return value

    def section(self, name: str) -> _Section:
        value = self.members.get(name)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self.error(name, "must be a mapping")
        return _Section(value, f"{self.where}.{name}", self.folder)

    def sections(self, name: str) -> list[_Section]:
        value = self.members.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(name, "must be a list of mappings")
        return [
            _Section(item, f"{self.where}.{name}[{_label(item, index)}]", self.folder)
            for index, item in enumerate(value)
        ]

    def path(self, name: str) -> Path | None:
        value = self.text(name)
        return self.folder / value if value else None

    def file_or_data(self, name: str) -> Path | bytes | None:
        data = self.text(f"{name}-data")
        if not data:
            return self.path(name)
        try:
            return base64.b64decode("".join(data.split()), validate=True)
        except binascii.Error:
            raise self.error(f"{name}-data", "is not base64") from None


def _label(item: Mapping[str, Any], index: int) -> str:
    name = item.get("name")
    return name if isinstance(name, str) else str(index)


def kubeconfig_paths(kubeconfig: str | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files to read: the explicit one, else those of $KUBECONFIG, else ~/.kube/config."""
    home = Path(environ.get("HOME") or "/")
    if kubeconfig is not None:
        return (_expanded(kubeconfig, home),)
    listed = [part for part in environ.get("KUBECONFIG", "").split(":") if part]
    return tuple(_expanded(part, home) for part in listed) or (home / ".kube" / "config",)


def _expanded(path: str, home: Path) -> Path:
    return home / path[2:] if path.startswith("~/") else Path(path)


def read_kubeconfig(paths: Sequence[Path], context: str | None) -> Connection:
    """Return the connection of `context`, or of the current context; raises `ClusterConfigError`.

    If several files define the same entry, the first one wins. `paths` is not empty.
    """
    files = [_read(path) for path in paths]
    wanted = context or next((name for file in files if (name := file.text("current-context"))), "")
    if not wanted:
        raise ClusterConfigError(
            f"{files[0].where}.current-context: is not set; run 'kubectl config use-context NAME' or set a context"
        )
    chosen = _named(files, "contexts", wanted).section("context")
    cluster = _named(files, "clusters", chosen.required("cluster")).section("cluster")
    user_name = chosen.text("user")
    anonymous = _Section({}, f"{chosen.where}.user", chosen.folder)
    user = _named(files, "users", user_name).section("user") if user_name else anonymous
    return _connection(cluster, user, f"context {wanted!r} of {files[0].where}")


def _read(path: Path) -> _Section:
    import yaml  # not needed in a pod

    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ClusterConfigError(f"kubeconfig {path}: cannot be read: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise ClusterConfigError(f"kubeconfig {path}: longer than {_MAX_BYTES} bytes")
    try:
        content = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Only the line: the rest of a YAML error quotes the file, including its tokens.
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        line = f" (line {mark.line + 1})" if mark else ""
        raise ClusterConfigError(f"kubeconfig {path}: not valid YAML{line}") from None
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise ClusterConfigError(f"kubeconfig {path}: must be a mapping with clusters, users and contexts")
    return _Section(content, str(path), path.absolute().parent)


def _named(files: Sequence[_Section], kind: str, name: str) -> _Section:
    known: list[str] = []
    for file in files:
        for entry in file.sections(kind):
            if entry.required("name") == name:
                return entry
            known.append(entry.required("name"))
    listed = f"; it has {', '.join(known[:10])}" if known else ""
    raise ClusterConfigError(f"{files[0].where}.{kind}: has no entry named {name!r}{listed}")


def _connection(cluster: _Section, user: _Section, origin: str) -> Connection:
    ca, skip = cluster.file_or_data("certificate-authority"), cluster.flag("insecure-skip-tls-verify")
    if ca is not None and skip:
        raise cluster.error(
            "insecure-skip-tls-verify", "contradicts certificate-authority; remove one of them"
        )
    return Connection(
        origin=origin,
        server=server_url(cluster.required("server"), f"{cluster.where}.server"),
        ca=ca,
        unsafe_skip_verify=skip,
        server_name=cluster.text("tls-server-name") or None,
        proxy=_proxy(cluster),
        client_certificate=_client_certificate(user),
        credential=_credential(user),
    )


def _proxy(cluster: _Section) -> Proxy | None:
    value = cluster.text("proxy-url")
    if not value:
        return None
    try:
        if "://" in value:
            return read_proxy(value, "the kubeconfig's proxy-url")
    except ProxyError:
        pass  # its message does not name the file
    raise cluster.error("proxy-url", "must be a URL such as http://proxy:3128; SOCKS is not supported")


def _client_certificate(user: _Section) -> ClientCertificate | None:
    certificate, key = user.file_or_data("client-certificate"), user.file_or_data("client-key")
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "client-key" if key is None else "client-certificate"
        raise user.error(missing, "is missing; a client certificate needs both")
    return ClientCertificate(certificate, key)


def _credential(user: _Section) -> Authorization | TokenFile | ExecPlugin | None:
    if "auth-provider" in user.members:
        raise user.error(
            "auth-provider", "Kubernetes 1.26 removed it; use the provider's exec plugin instead"
        )
    if (path := user.path("tokenFile")) is not None:
        return TokenFile(path)
    if token := user.text("token").strip():
        return Authorization(f"Bearer {header_safe(token, f'{user.where}.token')}")
    if user.members.get("exec") is not None:
        return _exec_plugin(user.section("exec"))
    if username := user.text("username"):
        pair = f"{username}:{user.text('password')}".encode()
        return Authorization(f"Basic {base64.b64encode(pair).decode('ascii')}")
    return None


def _exec_plugin(spec: _Section) -> ExecPlugin:
    version = spec.required("apiVersion")
    if version not in _EXEC_VERSIONS:
        raise spec.error("apiVersion", f"must be {' or '.join(_EXEC_VERSIONS)}, is {version!r}")
    args = spec.members.get("args") or []
    if not isinstance(args, list) or not all(isinstance(arg, str) for arg in args):
        raise spec.error("args", "must be a list of strings; put numbers in quotes")
    command = spec.required("command")
    if "/" in command:  # client-go: relative to the file, unless it is looked up in $PATH
        command = str(spec.folder / command)
    env = tuple((item.required("name"), item.text("value")) for item in spec.sections("env"))
    return ExecPlugin(version, command, tuple(args), env)
