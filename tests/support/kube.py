"""A real Kubernetes control plane (etcd and kube-apiserver) on loopback ports.

No other part of Kubernetes runs, such as a controller or a kubelet.
"""

import csv
import json
import secrets
import signal
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import trustme

from tests.support.kube_api import KubeAPI, KubeError
from tests.support.kube_audit import AuditLog
from tests.support.kube_keys import AccountKeys, Algorithm
from tests.support.process import ChildProcess, free_port, until
from tests.support.tools import require_tool

CLUSTER_ISSUER = "https://kubernetes.default.svc.cluster.local"
"""The issuer of a cluster from kubeadm, which is also the API server's own audience."""

FORMER_ISSUER = "https://former.example"
"""The earlier issuer of a cluster that has changed to `CLUSTER_ISSUER`."""

AWAY_ISSUER = "https://away.example"
"""The issuer of another cluster."""

REVIEWER = "authgate-reviewer"
"""A user who may only review tokens and access. It may not even read the cluster's signing keys."""


@dataclass(frozen=True, slots=True)
class PlaneOptions:
    """Options of a control plane."""

    issuers: tuple[str, ...] = (CLUSTER_ISSUER,)
    """`--service-account-issuer`: new tokens and discovery have the first one, and all are accepted."""
    api_audiences: tuple[str, ...] = (CLUSTER_ISSUER,)
    algorithm: Algorithm = "RS256"
    """The algorithm of the signing key."""
    authentication_config: str | None = None
    """The text of an AuthenticationConfiguration. It cannot be combined with `--oidc-*` in `extra_args`."""
    extra_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StaticUser:
    """A line of the API server's `--token-auth-file`."""

    token: str
    name: str
    uid: str
    groups: tuple[str, ...] = ()


class ControlPlane:
    """Run etcd and kube-apiserver for the duration of `async with`. All files are in `folder`."""

    def __init__(self, folder: Path, options: PlaneOptions | None = None) -> None:
        self._folder = folder
        self._options = options or PlaneOptions()
        self._processes = AsyncExitStack()
        self._pki = folder / "pki"
        self._pki.mkdir(parents=True)
        self.host = "127.0.0.1"
        self.port = free_port()
        self.url = f"https://{self.host}:{self.port}"
        self.ca_file = self._pki / "ca.crt"
        self._write_serving_certificate()
        self._trust = ssl.create_default_context(cafile=self.ca_file)
        self.keys = AccountKeys(self._pki, self._options.algorithm)
        """The ServiceAccount keys. The API server reads them only at its start."""
        self.audit = AuditLog(folder)
        self.authentication_file = folder / "authentication.yaml"
        """The AuthenticationConfiguration, if the options have one. The API server reloads it after a change."""

        self.admin_user = StaticUser(secrets.token_hex(16), "admin", "admin-uid", ("system:masters",))
        self.reviewer_user = StaticUser(secrets.token_hex(16), REVIEWER, "reviewer-uid")
        # Three segments, so that it looks like a JWT.
        token = f"{secrets.token_hex(8)}.{secrets.token_hex(8)}.{secrets.token_hex(8)}"
        self.static_user = StaticUser(token, "robot", "robot-uid", ("robots", "builders"))
        self._write_token_file()

        self.admin = self.client(self.admin_user.token)
        """The API with the credential of an administrator."""
        self._etcd_url = f"http://127.0.0.1:{free_port()}"
        self._etcd = self._new_etcd()
        self._api = self._new_api()

    async def __aenter__(self) -> Self:
        async with self._processes:
            await self._processes.enter_async_context(self._etcd)
            await self._processes.enter_async_context(self._api)
            self._processes = self._processes.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._processes.aclose()

    def client(self, token: str | None) -> KubeAPI:
        """Return the API with this bearer token, or without a credential."""
        return KubeAPI(self.url, trust=self._trust, token=token)

    async def stop_api(self) -> None:
        """Kill the API server. Connections are then refused. etcd keeps the objects."""
        await self._api.stop()

    async def start_api(self) -> None:
        """Start the API server again on the same port; return when RBAC is in force."""
        await self._api.start()

    async def ensure_api(self) -> None:
        """Start the API server if it does not run, and resume it if it is suspended."""
        if self._api.running:
            self.resume()
        else:
            await self._api.start()

    def suspend(self) -> None:
        """Suspend the API server. The kernel accepts connections, and they get no response."""
        self._api.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a suspended API server."""
        self._api.send(signal.SIGCONT)

    def api_log(self) -> str:
        """Return the API server's output so far."""
        return self._api.output()

    async def gate_token(self, namespace: str, *, reviews: bool = True) -> str:
        """Return a token of a gate's own account. It may read the keys, and with `reviews` also review tokens."""
        await self.admin.create_service_account(namespace, "gate")
        token = await self.admin.request_token(namespace, "gate", [])
        if reviews:
            await self.let_review(namespace, "gate", token)
        return token

    async def let_review(self, namespace: str, name: str, token: str) -> None:
        """Allow an account to review tokens, and wait until its token can."""
        user = f"system:serviceaccount:{namespace}:{name}"
        await self.admin.bind_cluster_role(
            "system:auth-delegator", name=f"{namespace}-{name}", subjects=[user]
        )

        async def allowed() -> bool:
            try:
                await self.client(token).review_token("may-i")
            except KubeError as refused:
                if refused.status == 403:
                    return False
                raise
            return True

        await until(allowed, within=30)

    async def create_legacy_token(self, namespace: str, account: str, *, secret: str) -> str:
        """Create a Secret of type kubernetes.io/service-account-token; return its token without `aud` and `exp`.

        The claims are those of kube-controller-manager's token controller
        (kubernetes pkg/serviceaccount/legacy.go, LegacyClaims).
        """
        found = await self.admin.call("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}")
        uid = found["metadata"]["uid"]
        prefix = "kubernetes.io/serviceaccount"
        claims = {
            "iss": "kubernetes/serviceaccount",
            "sub": f"system:serviceaccount:{namespace}:{account}",
            f"{prefix}/namespace": namespace,
            f"{prefix}/secret.name": secret,
            f"{prefix}/service-account.name": account,
            f"{prefix}/service-account.uid": uid,
        }
        token = self.keys.sign(claims)
        await self.admin.create_secret(
            namespace,
            secret,
            kind="kubernetes.io/service-account-token",
            annotations={
                "kubernetes.io/service-account.name": account,
                "kubernetes.io/service-account.uid": uid,
            },
            values={"token": token},
        )
        return token

    def write_kubeconfig(
        self, path: Path, *, token: str | None = None, token_file: Path | None = None
    ) -> Path:
        """Write a kubeconfig with a token or a token file; return its path."""
        user = {"token": token} if token_file is None else {"tokenFile": str(token_file)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "test", "cluster": {"server": self.url, "certificate-authority": str(self.ca_file)}}
            ],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(document, indent=2))  # JSON is YAML
        return path

    def write_in_cluster_folder(self, folder: Path, *, token: str, namespace: str) -> Path:
        """Write the files of /var/run/secrets/kubernetes.io/serviceaccount; return the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "token").write_text(token)
        (folder / "ca.crt").write_bytes(self.ca_file.read_bytes())
        (folder / "namespace").write_text(namespace)
        return folder

    def in_cluster_environment(self) -> dict[str, str]:
        """Return the environment variables with the address of the API server."""
        return {"KUBERNETES_SERVICE_HOST": self.host, "KUBERNETES_SERVICE_PORT": str(self.port)}

    def _write_serving_certificate(self) -> None:
        authority = trustme.CA()
        serving = authority.issue_cert(self.host, "localhost", "kubernetes.default.svc")
        authority.cert_pem.write_to_path(self.ca_file)
        serving.private_key_pem.write_to_path(self._pki / "tls.key")
        for number, certificate in enumerate(serving.cert_chain_pems):
            certificate.write_to_path(self._pki / "tls.crt", append=number > 0)

    def _write_token_file(self) -> None:
        users = (self.admin_user, self.reviewer_user, self.static_user)
        with (self._folder / "tokens.csv").open("w", newline="") as file:
            csv.writer(file).writerows(
                (user.token, user.name, user.uid, ",".join(user.groups)) for user in users
            )

    def _new_etcd(self) -> ChildProcess:
        peer = f"http://127.0.0.1:{free_port()}"
        command: list[str | Path] = [
            require_tool("etcd", "a real control plane keeps its objects there"),
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--logger=zap",
            "--heartbeat-interval=10",
            "--election-timeout=100",
        ]
        return ChildProcess(command, log=self._folder / "etcd.log", ready=self._etcd_ready, grace=0)

    def _new_api(self) -> ChildProcess:
        command: list[str | Path] = [
            require_tool("kube-apiserver", "only the real one shows what the gate really meets"),
            f"--etcd-servers={self._etcd_url}",
            f"--bind-address={self.host}",
            f"--secure-port={self.port}",
            f"--advertise-address={self.host}",
            "--endpoint-reconciler-type=none",  # it cannot publish a loopback address
            f"--tls-cert-file={self._pki / 'tls.crt'}",
            f"--tls-private-key-file={self._pki / 'tls.key'}",
            f"--service-account-signing-key-file={self.keys.signing_file}",
            f"--service-account-key-file={self.keys.accepted_file}",
            *(f"--service-account-issuer={issuer}" for issuer in self._options.issuers),
            f"--api-audiences={','.join(self._options.api_audiences)}",
            f"--token-auth-file={self._folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            # It rejects pods until the default account exists, and no controller creates that account here.
            "--disable-admission-plugins=ServiceAccount",
            *self.audit.arguments(),
            *self._options.extra_args,
        ]
        if self._options.authentication_config is not None:
            self.authentication_file.write_text(self._options.authentication_config)
            command.append(f"--authentication-config={self.authentication_file}")
        # Without grace, because on SIGTERM it waits a minute for the clients of watches.
        return ChildProcess(
            command, log=self._folder / "apiserver.log", ready=self._api_ready, within=60, grace=0
        )

    async def _etcd_ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self._etcd_url}/health") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def _api_ready(self) -> bool:
        """Return whether RBAC is in force. `/readyz` succeeds earlier, while bindings are not yet known."""
        try:
            if not await self.admin.ready():
                return False
            await self.admin.bind_cluster_role("system:auth-delegator", name=REVIEWER, subjects=[REVIEWER])
            await self.client(self.reviewer_user.token).review_token("is-anybody-there")
        except KubeError as refused:
            if refused.status in (403, 429, 500, 503):
                return False
            raise
        except (aiohttp.ClientError, TimeoutError):
            return False
        return True
