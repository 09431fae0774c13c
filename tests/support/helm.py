"""Run helm: the rendered objects of the chart, or its error message."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.tools import cache_bin, require_tool

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "authgate"
CASES = tuple(sorted((CHART / "ci").glob("*-values.yaml")))
"""Files with values that the chart must accept."""

MINIMAL: Mapping[str, Any] = {"config": {"cluster": {"audiences": ["my-audience"]}}}
"""The minimal values of the chart."""

Object = dict[str, Any]


def case_name(case: Path) -> str:
    """Return the name of a file under `ci/`, such as "minimal"."""
    return case.name.removesuffix("-values.yaml")


def values_of(name: str) -> dict[str, Any]:
    """Return the values of a file under `ci/`."""
    loaded = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def prometheus_operator_crds() -> Path:
    """Return the folder of the Prometheus operator's CRDs, which `tests/cluster/tools/build` downloads."""
    found = sorted((cache_bin().parent / "crds").glob("prometheus-operator-*"))
    if not found:
        # No program has this name, so the test is skipped or fails as for a missing program.
        require_tool("prometheus-operator-crds", "run `make cluster-tools` (needs Go), which fetches them")
    return found[-1]


class HelmError(Exception):
    """helm failed. The text is its output."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """The output of `helm template`."""

    text: str
    warnings: str

    @property
    def objects(self) -> list[Object]:
        """All objects, in helm's order."""
        # libyaml's loader, if it is installed, is ten times as fast as Python's.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return [item for item in yaml.load_all(self.text, loader) if item is not None]

    def all(self, kind: str) -> list[Object]:
        """Return the objects of a kind."""
        return [item for item in self.objects if item["kind"] == kind]

    def one(self, kind: str) -> Object:
        """Return the only object of a kind."""
        found = self.all(kind)
        assert len(found) == 1, f"{len(found)} objects of kind {kind}"
        return found[0]

    @property
    def kinds(self) -> set[str]:
        """The kinds of all objects."""
        return {item["kind"] for item in self.objects}

    @property
    def pod(self) -> Object:
        """The spec of the gate's pods."""
        spec = self.one("Deployment")["spec"]["template"]["spec"]
        assert isinstance(spec, dict)
        return spec


class Helm:
    """Run helm without the user's own settings, plugins and clusters."""

    def __init__(self, folder: Path, kubeconfig: Path | None = None, program: str = "helm") -> None:
        self._program = require_tool(
            program, "the chart is rendered by the real one; run `make cluster-tools` (needs Go)"
        )
        self._folder = folder
        self._rendered: dict[tuple[str | Path, ...], Rendering] = {}
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            **{f"HELM_{kind}_HOME": str(folder / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")},
            "KUBECONFIG": str(kubeconfig or os.devnull),
        }

    def run(self, *arguments: str | Path) -> tuple[str, str]:
        """Run helm; return its standard output and standard error. Raise HelmError if it fails."""
        done = subprocess.run(
            [self._program, *arguments], env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise HelmError(done.stderr + done.stdout)
        return done.stdout, done.stderr

    def template(
        self,
        values: Mapping[str, Any] | Path = MINIMAL,
        *arguments: str,
        chart: Path = CHART,
        release: str = "gate",
        namespace: str = "authgate",
    ) -> Rendering:
        """Return the rendered chart for these values, including the objects of `helm test`. It is rendered once."""
        file = self.write(values)
        key: tuple[str | Path, ...] = (file.read_text(), chart, release, namespace, *arguments)
        if key not in self._rendered:
            where = ("--namespace", namespace, "--values", file)
            self._rendered[key] = Rendering(*self.run("template", release, chart, *where, *arguments))
        return self._rendered[key]

    def lint(self, values: Mapping[str, Any] | Path = MINIMAL, chart: Path = CHART) -> str:
        """Return the output of `helm lint --strict`; raise HelmError if it reports a problem."""
        return "".join(self.run("lint", "--strict", chart, "--values", self.write(values)))

    def write(self, values: Mapping[str, Any] | Path) -> Path:
        """Write the values to a file; return its path. A path is returned unchanged."""
        if isinstance(values, Path):
            return values
        with tempfile.NamedTemporaryFile("w", dir=self._folder, suffix=".yaml", delete=False) as file:
            yaml.safe_dump(dict(values), file)
        return Path(file.name)


class Kubectl:
    """Run kubectl as the administrator of a control plane."""

    def __init__(self, kubeconfig: Path) -> None:
        self._command: Sequence[str | Path] = (
            require_tool("kubectl", "it shows objects to the API server as users do"),
            "--kubeconfig",
            kubeconfig,
            "--cache-dir",
            kubeconfig.parent / "kubectl-cache",
        )

    def run(self, *arguments: str | Path, text: str = "") -> str:
        """Return its output for this standard input; raise KubectlError for an error or a warning."""
        done = subprocess.run(
            [*self._command, *arguments], input=text, capture_output=True, text=True, check=False
        )
        if done.returncode != 0 or done.stderr:
            raise KubectlError(done.stderr)
        return done.stdout

    def apply(self, objects: Sequence[Object]) -> None:
        """Create or change objects. They are not deleted afterwards."""
        self.run(
            "apply", "--filename=-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )


class KubectlError(Exception):
    """kubectl failed or warned. The text is its standard error."""
