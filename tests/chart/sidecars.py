"""The gate in a pod: its container, and the configuration in its environment."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from authgate.config import Config, load
from tests.support.helm import CHART, Object

RESTRICTED: Mapping[str, Any] = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""The settings that the Pod Security level "restricted" requires of the app's own container."""

_POD = """
apiVersion: v1
kind: Pod
metadata: {{name: app, namespace: {{{{ .Release.Namespace }}}}}}
spec:
  serviceAccountName: app
  initContainers: {{{{- include "authgate.sidecar" {context} | nindent 4 }}}}
  containers:
  - name: app
    image: app
    securityContext: {security}
  volumes: {{{{- include "authgate.sidecarVolumes" {context} | nindent 4 }}}}
"""


def app_chart(
    folder: Path,
    values: Mapping[str, Any],
    *,
    alias: str = "authgate",
    context: str = ".",
    depend: bool = True,
) -> Path:
    """Write an app's chart that embeds the gate as its author would; `values` are for the gate's chart."""
    (folder / "templates").mkdir(parents=True)
    chart: dict[str, Any] = {"apiVersion": "v2", "name": "app", "version": "0.1.0"}
    if depend:
        version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
        chart["dependencies"] = [{"name": "authgate", "version": version, "alias": alias}]
        shutil.copytree(CHART, folder / "charts" / "authgate")
    (folder / "Chart.yaml").write_text(yaml.safe_dump(chart))
    (folder / "values.yaml").write_text(yaml.safe_dump({alias: dict(values)}))
    (folder / "templates" / "pod.yaml").write_text(
        _POD.format(context=context, security=json.dumps(RESTRICTED))
    )
    return folder


def gate_of(pod: Object) -> Object:
    """The gate's container in a pod: a native sidecar."""
    (container,) = [item for item in pod["spec"]["initContainers"] if item["name"] == "authgate"]
    assert isinstance(container, dict)
    assert container["restartPolicy"] == "Always"
    return container


def environment_of(container: Object) -> dict[str, str]:
    """Return a container's variables as its process sees them: Kubernetes turns "$$" into "$" and expands "$(NAME)"."""
    found = {item["name"]: item["value"] for item in container["env"]}
    for value in found.values():
        assert "$(" not in value.replace("$$", "")
    return {name: value.replace("$$", "$") for name, value in found.items()}


def configuration_of(container: Object) -> Config:
    """Return the configuration that the gate reads from its environment, which must be valid."""
    return load(None, environment_of(container)).config
