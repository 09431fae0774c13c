"""A real API server accepts the objects of every combination of values under ci/."""

from pathlib import Path

import pytest
import yaml

from authgate import __version__
from authgate.config import load
from tests.chart.dry_run import DryRun
from tests.support.helm import CASES, CHART, Helm, case_name

each_case = pytest.mark.parametrize("case", CASES, ids=case_name)


def test_there_are_enough_cases() -> None:
    """At least the expected number of combinations is found."""
    assert len(CASES) >= 15


def test_the_chart_installs_this_version(helm: Helm) -> None:
    """Without a tag the image has the chart's version, which is also the version for an app's chart."""
    (container,) = helm.template().pod["containers"]
    assert container["image"] == f"authgate:{__version__}"
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["version"] == __version__


@pytest.mark.parametrize("version", ["helm", "helm4"])
@each_case
def test_lint_is_clean(request: pytest.FixtureRequest, version: str, case: Path) -> None:
    """`helm lint --strict` reports only the missing icon."""
    helm: Helm = request.getfixturevalue(version)
    messages = [line for line in helm.lint(case).splitlines() if line.startswith("[")]
    assert messages == ["[INFO] Chart.yaml: icon is recommended"]


@each_case
def test_template_is_clean(helm: Helm, helm4: Helm, case: Path) -> None:
    """`helm template` has no warnings, and Helm 3 and 4 render the same objects."""
    rendered, by_the_next = helm.template(case), helm4.template(case)
    assert (rendered.warnings, by_the_next.warnings) == ("", "")
    assert by_the_next.objects == rendered.objects


@each_case
async def test_the_api_server_accepts_every_object(helm: Helm, dry_run: DryRun, case: Path) -> None:
    """Every rendered object could be created, without an unknown field or a warning."""
    made = await dry_run.create_all(helm.template(case).objects)
    assert [(item.object["kind"], item.warnings) for item in made if item.warnings] == []


@each_case
def test_the_gate_accepts_its_configuration(helm: Helm, case: Path, tmp_path: Path) -> None:
    """The ConfigMap has the values' `config`, which is valid for the gate."""
    given = yaml.safe_load(case.read_text()).get("config", {})
    held = [item["data"] for item in helm.template(case).all("ConfigMap") if "authgate.yaml" in item["data"]]
    if not held:
        assert yaml.safe_load(case.read_text())["mode"] == "sidecar"
        return
    text = held[0]["authgate.yaml"]
    assert yaml.safe_load(text) == given
    if "/etc/" in text:
        return  # it names files of a Secret, which do not exist here
    file = tmp_path / "authgate.yaml"
    file.write_text(text)
    load(file, {})
