"""deploy/kustomize builds, equals the chart's rendering, and is accepted by an API server."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from authgate.config import load
from tests.chart.dry_run import DryRun
from tests.support.helm import MINIMAL, ROOT, Helm, Kubectl, Object, values_of
from tests.support.tools import require_tool

FOLDER = ROOT / "deploy" / "kustomize"

_POLICIES = yaml.safe_load((FOLDER / "components/policies/authgate.yaml").read_text())

BUILDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "base": ("authgate", MINIMAL),
    "overlays/shared": (
        "authgate",
        {"config": _POLICIES, "replicas": 3, "image": {"repository": "registry.example.com/authgate"}},
    ),
    "overlays/namespace-admin": ("my-namespace", values_of("namespace-admin")),
}
"""The folders that can be applied, with the namespace and the equal values of the chart."""


def build(folder: Path) -> list[Object]:
    """Return the objects of `kubectl kustomize`."""
    kubectl = require_tool("kubectl", "it contains kustomize; run `make cluster-tools` (needs Go)")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def test_every_kustomization_is_tested() -> None:
    """Every folder is applied by a test, or is a component of one that is."""
    folders = {str(path.parent.relative_to(FOLDER)) for path in FOLDER.rglob("kustomization.yaml")}
    assert folders == {*BUILDS, "components/policies"}


@pytest.mark.parametrize("name", BUILDS)
def test_a_build_equals_the_chart(helm: Helm, name: str) -> None:
    """It contains the chart's objects, except the namespace and the name of the ConfigMap."""
    namespace, values = BUILDS[name]
    rendered = helm.template(values, "--skip-tests", release="authgate", namespace=namespace)
    built = [item for item in build(FOLDER / name) if item["kind"] != "Namespace"]
    assert _comparable(built) == _comparable(rendered.objects)


def _comparable(objects: list[Object]) -> dict[tuple[str, str], Object]:
    """Return the objects by kind and name, without what differs: labels of Helm, and how a change restarts pods."""
    compared = {}
    for item in objects:
        metadata = item["metadata"]
        for label in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
            metadata.get("labels", {}).pop(label, None)
        if item["kind"] == "ConfigMap":
            metadata["name"] = "configuration"
            item["data"] = yaml.safe_load(item["data"]["authgate.yaml"])
            metadata.pop("labels", None)
        if item["kind"] == "Deployment":
            template = item["spec"]["template"]
            template["metadata"]["annotations"].pop("checksum/config", None)
            for volume in template["spec"]["volumes"]:
                if volume["name"] == "authgate-config":
                    volume["configMap"]["name"] = "configuration"
        compared[item["kind"], metadata["name"]] = item
    return compared


@pytest.mark.parametrize("name", BUILDS)
async def test_the_api_server_accepts_a_build(dry_run: DryRun, kubectl: Kubectl, name: str) -> None:
    """There is no unknown field or warning, and the pods meet the Pod Security level "restricted"."""
    namespace, _ = BUILDS[name]
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    wanted = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": level}}
    kubectl.run("apply", "--server-side", "--force-conflicts", "--filename=-", text=yaml.safe_dump(wanted))
    objects = [item for item in build(FOLDER / name) if item["kind"] != "Namespace"]
    (deployment,) = [item for item in objects if item["kind"] == "Deployment"]
    template = deployment["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": "pod", "namespace": namespace},
        "spec": template["spec"],
    }
    made = await dry_run.create_all([*objects, pod])
    assert [item.warnings for item in made if item.warnings] == []


@pytest.mark.parametrize("name", BUILDS)
def test_the_pods_mount_the_configuration(name: str) -> None:
    """The Deployment references the generated name, and the gate can start with the configuration."""
    objects = build(FOLDER / name)
    (held,) = [item for item in objects if item["kind"] == "ConfigMap"]
    (deployment,) = [item for item in objects if item["kind"] == "Deployment"]
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    assert [item["configMap"]["name"] for item in volumes if "configMap" in item] == [
        held["metadata"]["name"]
    ]
    (file,) = [path for path in FOLDER.rglob("authgate.yaml") if path.read_text() == held["data"][path.name]]
    assert load(file, {}).config.cluster is not None


def test_a_changed_configuration_restarts_the_pods(tmp_path: Path) -> None:
    """Another configuration is another name of the ConfigMap, so the pods' template changes."""
    for folder in ("kubernetes", "kustomize"):
        shutil.copytree(ROOT / "deploy" / folder, tmp_path / folder)
    before = build(tmp_path / "kustomize" / "base")
    file = tmp_path / "kustomize" / "base" / "authgate.yaml"
    file.write_text(file.read_text().replace("my-audience", "another"))
    after = build(tmp_path / "kustomize" / "base")
    templates = [
        [item["spec"]["template"] for item in objects if item["kind"] == "Deployment"]
        for objects in (before, after)
    ]
    assert templates[0] != templates[1]
