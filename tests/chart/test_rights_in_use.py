"""The chart grants exactly the required rights: with them a feature works, and without one authgate names it."""

import asyncio
import copy
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chart.conftest import NAMESPACE
from tests.support.gate import AUDIENCE, Gate
from tests.support.helm import CHART, Helm, Kubectl, Object, values_of
from tests.support.kube import ControlPlane
from tests.support.kube_api import KubeAPI, KubeError
from tests.support.process import until
from tests.support.watching import comes_to_see, watched

_RBAC = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}


@dataclass(frozen=True, slots=True)
class Installed:
    """A gate as the chart installs it: its account, its configuration, and its rights, which are not created yet."""

    account: str
    file: Path
    folder: Path
    rights: list[Object]


async def install(helm: Helm, plane: ControlPlane, folder: Path, release: str, **values: Any) -> Installed:
    """Render a release, and create its account and the files of its pod."""
    rendered = helm.template(values, release=release)
    name = rendered.one("ServiceAccount")["metadata"]["name"]
    await plane.admin.create_service_account(NAMESPACE, name)
    token = await plane.admin.request_token(NAMESPACE, name, [])
    (config,) = [item for item in rendered.all("ConfigMap") if "authgate.yaml" in item["data"]]
    file = folder / "authgate.yaml"
    file.write_text(config["data"]["authgate.yaml"])
    return Installed(
        account=f"system:serviceaccount:{NAMESPACE}:{name}",
        file=file,
        folder=plane.write_in_cluster_folder(folder / "account", token=token, namespace=NAMESPACE),
        rights=[item for item in rendered.objects if item["kind"] in _RBAC],
    )


def gate_of(installed: Installed, plane: ControlPlane) -> Gate:
    """Run the gate as its pod would."""
    return Gate(installed.file, plane.in_cluster_environment(), installed.folder)


async def app_token(plane: ControlPlane, name: str) -> str:
    """Return a token of a new account for the gate."""
    await plane.admin.create_service_account(NAMESPACE, name)
    return await plane.admin.request_token(NAMESPACE, name, [AUDIENCE])


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return what the gate has logged so far."""
    return "\n".join(str(vars(record).get("attributes")) for record in caplog.records)


def cluster(**section: Any) -> dict[str, Any]:
    """Return a configuration for the gate's own cluster."""
    return {"cluster": {"audiences": [AUDIENCE], **section}}


async def test_token_reviews_need_their_binding(
    helm: Helm, kubectl: Kubectl, plane: ControlPlane, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without it nothing is decided, and the log names it. With it tokens are reviewed."""
    config = cluster(tokenReview={"mode": "always"})
    installed = await install(helm, plane, tmp_path, "reviews", config=config)
    token = await app_token(plane, "reviewed")
    async with gate_of(installed, plane) as gate:
        await gate.has_keys(within=30)
        assert await gate.verdict(token) == (503, "review_forbidden")
        assert "not allowed to create tokenreviews" in logged(caplog)
        assert f"bind the ClusterRole system:auth-delegator to {installed.account}" in logged(caplog)
        kubectl.apply(installed.rights)
        await gate.passes(token, within=30)


async def test_a_namespace_admin_can_install_it(
    helm: Helm, kubectl: Kubectl, plane: ControlPlane, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the ClusterRole admin in one namespace, the release is installed and works, and the log has no problems."""
    await plane.admin.create_service_account(NAMESPACE, "namespace-admin")
    # No controller aggregates the ClusterRole admin here, so the roles that it consists of are bound.
    subject = (f"--serviceaccount={NAMESPACE}:namespace-admin", "--namespace", NAMESPACE)
    for part in ("admin", "edit", "view"):
        kubectl.run("create", "rolebinding", part, f"--clusterrole=system:aggregate-to-{part}", *subject)
    own = await plane.admin.request_token(NAMESPACE, "namespace-admin", [])
    admin = plane.client(own)

    async def bound() -> bool:
        """Whether the API server's authorizer knows all three bindings."""
        rights = (
            ("list", "", "pods"),
            ("create", "", "configmaps"),
            ("create", "rbac.authorization.k8s.io", "roles"),
        )
        return all([await _may(admin, *right) for right in rights])

    await until(bound, within=30)
    as_admin = Helm(tmp_path / "helm", plane.write_kubeconfig(tmp_path / "kubeconfig", token=own))
    (tmp_path / "helm").mkdir()
    values = values_of("namespace-admin")
    file = as_admin.write(values)
    release = ("one-namespace", "--namespace", NAMESPACE)
    notes, _ = await asyncio.to_thread(
        as_admin.run, "install", *release[:1], CHART, *release[1:], "--values", file
    )
    await asyncio.to_thread(as_admin.run, "uninstall", *release)
    assert "Warning" not in notes

    # With a policy, so that there is no warning about a gate that allows every valid token.
    policies = {"default": {"allow": [{"serviceAccounts": [f"{NAMESPACE}/*"]}]}}
    values["config"] = {**cluster(tokenReview={"mode": "never"}), "policies": policies}
    installed = await install(helm, plane, tmp_path, "one-namespace", **values)
    assert installed.rights == []
    token = await app_token(plane, "local")
    with caplog.at_level("INFO"):
        async with gate_of(installed, plane) as gate:
            await gate.becomes_ready(within=30)
            await gate.passes(token, within=30)
            assert await gate.verdict(plane.keys.expired(token)) == (401, "token_expired")
            assert await gate.verdict(token[:-8] + "AAAAAAAA") == (401, "signature_invalid")
    assert [
        record.getMessage() for record in caplog.records if record.levelname in {"WARNING", "ERROR"}
    ] == []


async def _may(account: KubeAPI, verb: str, group: str, resource: str) -> bool:
    """Return whether an account has a right in the namespace of the releases."""
    attributes = {"namespace": NAMESPACE, "verb": verb, "group": group, "resource": resource}
    answer = await account.call(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {"spec": {"resourceAttributes": attributes}},
    )
    return answer["status"]["allowed"] is True


async def test_access_reviews_need_their_binding(
    helm: Helm, kubectl: Kubectl, plane: ControlPlane, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the binding the cluster's RBAC cannot be used. With it, RBAC denies the request."""
    config = cluster(tokenReview={"mode": "never"})
    config |= {
        "policies": {"default": {"accessReview": {"nonResource": "request"}}},
        "server": {"proxy": "nginx"},
    }
    installed = await install(helm, plane, tmp_path, "access", config=config)
    token = await app_token(plane, "reader")
    as_nginx_asks = [("X-Original-URI", "/metrics"), ("X-Original-Method", "GET")]
    async with gate_of(installed, plane) as gate:
        await gate.has_keys(within=30)
        answer = await gate.request(token, headers=as_nginx_asks)
        assert answer.verdict == (503, "access_review_forbidden")
        assert "not allowed to create subjectaccessreviews" in logged(caplog)
        assert f"bind the ClusterRole system:auth-delegator to {installed.account}" in logged(caplog)
        kubectl.apply(installed.rights)

        async def denied() -> bool:
            return (await gate.request(token, headers=as_nginx_asks)).verdict == (403, "access_denied")

        await until(denied, within=30)


_WATCHED = ("serviceaccounts", "pods", "secrets", "nodes")


@pytest.mark.parametrize("missing", _WATCHED)
async def test_a_missing_permission_to_watch_is_reported(
    helm: Helm, kubectl: Kubectl, plane: ControlPlane, tmp_path: Path, missing: str
) -> None:
    """If the role lacks a watched resource, TokenReview decides, and /readyz names the missing permission."""
    config = cluster(revocation="watch", watch={"secrets": True})
    installed = await install(helm, plane, tmp_path, f"no-{missing}", config=config)
    kubectl.apply([without(item, missing) for item in installed.rights])
    token = await app_token(plane, f"app-{missing}")
    async with gate_of(installed, plane) as gate:

        async def names_only_this_permission() -> (
            bool
        ):  # the API server's authorizer learns of the others late
            report = await watched(gate)
            return [name for name in _WATCHED if f"with the verbs list and watch on {name}" in report] == [
                missing
            ]

        await until(names_only_this_permission, within=30)
        await gate.passes(token, within=30)


def without(item: Object, resource: str) -> Object:
    """Return the object without one resource in its rules."""
    changed = copy.deepcopy(item)
    for rule in changed.get("rules", ()):
        rule["resources"].remove(resource)
    return changed


@pytest.mark.parametrize(
    "watch", [{"secrets": True}, {"namespaces": ["default", "kube-system"]}], ids=["cluster", "namespaces"]
)
async def test_the_rendered_roles_are_enough_for_the_watch(
    helm: Helm, kubectl: Kubectl, plane: ControlPlane, tmp_path: Path, watch: dict[str, Any]
) -> None:
    """With exactly these roles every watch works."""
    release = f"sees-{'all' if 'secrets' in watch else 'some'}"
    config = cluster(revocation="watch", watch=watch)
    installed = await install(helm, plane, tmp_path, release, config=config)
    kubectl.apply(installed.rights)
    async with gate_of(installed, plane) as gate:
        await comes_to_see(gate, within=30)


async def test_a_gate_outside_needs_public_discovery(
    helm: Helm, kubectl: Kubectl, plane: ControlPlane, tmp_path: Path
) -> None:
    """A gate outside is anonymous to the API server. It gets no keys without the binding, and verifies with it."""
    bindings = helm.template(values_of("public-discovery"), release="public").all("ClusterRoleBinding")
    public = [item for item in bindings if item["roleRef"]["name"].endswith("issuer-discovery")]
    kubeconfig = plane.write_kubeconfig(tmp_path / "kubeconfig")
    section = cluster(kubeconfig=str(kubeconfig), tokenReview={"mode": "never"})
    token = await app_token(plane, "traveller")
    file = tmp_path / "authgate.yaml"
    file.write_text(str(section))  # the repr of a dict of texts is YAML
    async with Gate(file) as gate:
        assert (await gate.request(token)).status == 503
        assert "system:service-account-issuer-discovery" in (await gate.admin("/readyz?verbose")).body
        kubectl.apply(public)
        await gate.becomes_ready(within=30)
        await gate.passes(token, within=30)


async def test_token_requests_need_the_listed_subjects(
    helm: Helm, kubectl: Kubectl, plane: ControlPlane, tmp_path: Path
) -> None:
    """A listed subject can request tokens of that account. Before, `authgate token` prints the missing Role."""
    await plane.admin.create_service_account(NAMESPACE, "deployer")
    for name in ("shop", "other"):
        await plane.admin.create_service_account(NAMESPACE, name)
    own = await plane.admin.request_token(NAMESPACE, "deployer", [])
    kubeconfig = plane.write_kubeconfig(tmp_path / "kubeconfig", token=own)
    refused = await token_of("shop", kubeconfig)
    assert refused.returncode == 1
    assert "serviceaccounts/token" in refused.stderr
    assert f"system:serviceaccount:{NAMESPACE}:deployer is not allowed to request tokens" in refused.stderr

    objects = helm.template(values_of("token-requests"), release="requests").objects
    kubectl.apply([item for item in objects if ":tokenrequest:" in item["metadata"]["name"]])

    async def listed() -> bool:
        try:
            await plane.client(own).request_token(NAMESPACE, "shop", [AUDIENCE])
        except KubeError:
            return False
        return True

    await until(listed, within=30)
    assert [(await token_of(name, kubeconfig)).returncode for name in ("shop", "other")] == [0, 1]


async def test_a_missing_namespace_is_named(kubectl: Kubectl, plane: ControlPlane, tmp_path: Path) -> None:
    """`authgate token` names the namespace that does not exist, instead of the account."""
    assert kubectl is not None, "it created the namespace"
    kubeconfig = plane.write_kubeconfig(tmp_path / "kubeconfig", token=plane.admin_user.token)
    refused = await token_of("shop", kubeconfig, "nowhere")
    assert refused.returncode == 1
    assert refused.stderr == (
        'authgate: no token: namespace nowhere does not exist (namespaces "nowhere" not found); check --namespace,'
        " and see 'kubectl get namespaces'\n"
    )
    assert "ServiceAccount shop in namespace" in (await token_of("shop", kubeconfig, "default")).stderr


async def token_of(
    account: str, kubeconfig: Path, namespace: str = NAMESPACE
) -> subprocess.CompletedProcess[str]:
    """Request a token of an account as the kubeconfig's user."""
    command = [sys.executable, "-m", "authgate", "token", account, "-n", namespace, "--audience", AUDIENCE]
    command += ["--kubeconfig", str(kubeconfig)]
    return await asyncio.to_thread(
        subprocess.run, command, check=False, capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )
