"""The plain manifests under deploy/, which are rendered from the chart."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart.dry_run import DryRun
from tests.chart.sidecars import configuration_of, gate_of
from tests.support.helm import CHART, ROOT, Helm, Kubectl, Object
from tests.support.tools import require_tool

MANIFESTS = ("kubernetes/authgate.yaml", "sidecar/app.yaml")


def _objects(name: str) -> list[Object]:
    return [item for item in yaml.safe_load_all((ROOT / "deploy" / name).read_text()) if item]


def test_the_manifests_are_current(tmp_path: Path) -> None:
    """`make manifests` would not change the files."""
    require_tool("helm", "it renders the manifests; run `make cluster-tools` (needs Go)")
    subprocess.run([ROOT / "deploy" / "kubernetes" / "render", tmp_path], check=True)
    for name in MANIFESTS:
        assert (tmp_path / name).read_text() == (ROOT / "deploy" / name).read_text(), (
            f"{name}: make manifests"
        )


@pytest.mark.parametrize("name", MANIFESTS)
async def test_the_api_server_accepts_the_manifests(dry_run: DryRun, kubectl: Kubectl, name: str) -> None:
    """They apply unchanged to an empty cluster, in order, and their pods meet the security level they set."""
    namespace, *objects = _objects(name)
    kubectl.run("apply", "--server-side", "--force-conflicts", "--filename=-", text=yaml.safe_dump(namespace))
    assert [item.warnings for item in await dry_run.create_all(objects) if item.warnings] == []
    for item in objects:
        if item["kind"] == "Deployment":
            template = item["spec"]["template"]
            metadata = {**template["metadata"], "name": "pod", "namespace": item["metadata"]["namespace"]}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
            await dry_run.create(pod)


def test_no_object_has_labels_of_helm() -> None:
    """No object claims to be managed or run by helm."""
    text = "".join((ROOT / "deploy" / name).read_text() for name in MANIFESTS)
    assert "helm.sh/" not in text
    assert "managed-by" not in text


@pytest.fixture
def pod() -> Object:
    """The template of the app's pods."""
    (deployment,) = [item for item in _objects("sidecar/app.yaml") if item["kind"] == "Deployment"]
    template = deployment["spec"]["template"]
    assert isinstance(template, dict)
    return template


def test_only_the_proxy_is_reachable(pod: Object) -> None:
    """The proxy reaches the gate and the app on loopback. Only the proxy listens on the network."""
    (nginx,) = [item["data"] for item in _objects("sidecar/app.yaml") if item["kind"] == "ConfigMap"]
    (asked,) = configuration_of(gate_of(pod)).server.listen
    assert asked.host == "127.0.0.1"
    assert f"server {asked};" in nginx["authgate.conf"]
    assert "server 127.0.0.1:3000;" in nginx["authgate.conf"]
    assert "listen 127.0.0.1:3000;" in nginx["app.conf"]
    assert [
        port["containerPort"] for item in pod["spec"]["containers"] for port in item.get("ports", ())
    ] == [8000]


def test_only_the_gate_holds_the_accounts_token(pod: Object) -> None:
    """The account may review tokens, so neither nginx nor the app gets its token."""
    holders = [
        item["name"]
        for item in (*pod["spec"]["initContainers"], *pod["spec"]["containers"])
        if any(mount["name"] == "authgate-account" for mount in item["volumeMounts"])
    ]
    assert holders == ["authgate"]
    assert pod["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", ["proxy.conf", "app.conf"])
def test_nginx_accepts_its_configuration(tmp_path: Path, name: str) -> None:
    """nginx accepts the files of the ConfigMap: the snippet of deploy/proxies and the files around it."""
    (files,) = [item["data"] for item in _objects("sidecar/app.yaml") if item["kind"] == "ConfigMap"]
    snippet = (ROOT / "deploy" / "proxies" / "nginx" / "authgate.conf").read_text().strip() + "\n"
    assert files["authgate.conf"] == snippet.replace("server 127.0.0.1:8080;", "server 127.0.0.1:15080;")
    for key, text in files.items():
        (tmp_path / key).write_text(text.replace("/tmp/", f"{tmp_path}/"))
    nginx = require_tool("nginx", "the configuration is shown to the real one")
    command: list[str | Path] = [nginx, "-e", "stderr", "-t", "-c", tmp_path / name, "-g", "daemon off;"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_app_chart_finds_its_dependency(helm: Helm, tmp_path: Path) -> None:
    """`helm dependency update` and `helm lint` work on the example as on a user's own chart."""
    for folder in ("helm/authgate", "deploy/sidecar", "deploy/proxies"):
        subprocess.run(["cp", "-R", ROOT / folder, _under(tmp_path, folder)], check=True)
    chart = tmp_path / "deploy" / "sidecar" / "chart"
    helm.run("dependency", "update", chart)
    assert [item.name for item in (chart / "charts").iterdir()] == [f"authgate-{_version()}.tgz"]
    helm.lint({}, chart)


def test_kustomize_renders_the_chart_without_the_test(helm: Helm, tmp_path: Path) -> None:
    """The kustomization of the chart's README builds, with the objects of `helm template --skip-tests`."""
    text = (CHART / "README.md").read_text()
    kustomization = text.split("# kustomization.yaml\n")[1].split("```")[0]
    (tmp_path / "kustomization.yaml").write_text(kustomization)
    shutil.copytree(CHART, tmp_path / "helm" / "authgate")
    kubectl = require_tool("kubectl", "it contains kustomize; run `make cluster-tools` (needs Go)")
    program = require_tool("helm", "kustomize runs it; run `make cluster-tools` (needs Go)")
    command: list[str | Path] = [kubectl, "kustomize", "--enable-helm", "--helm-command", program, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = [(item["kind"], item["metadata"]["name"]) for item in yaml.safe_load_all(done.stdout)]
    rendered = helm.template(
        {"config": {"cluster": {"audiences": ["my-audience"]}}}, "--skip-tests", release="authgate"
    )
    assert sorted(built) == sorted((item["kind"], item["metadata"]["name"]) for item in rendered.objects)


def _under(base: Path, folder: str) -> Path:
    (base / folder).parent.mkdir(parents=True, exist_ok=True)
    return base / folder


def _version() -> str:
    return str(yaml.safe_load((CHART / "Chart.yaml").read_text())["version"])
