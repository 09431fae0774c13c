"""A release has one version everywhere, a section of the changelog, and workflows with pinned actions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from authgate import __version__

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))


@pytest.mark.parametrize("chart", ["helm/authgate", "deploy/sidecar/chart"])
def test_charts_have_the_version_of_the_package(chart: str) -> None:
    """The chart, its appVersion, and the version on which the example chart depends."""
    document = yaml.safe_load((ROOT / chart / "Chart.yaml").read_text())
    versions = {document["version"], document.get("appVersion", __version__)}
    versions |= {each["version"] for each in document.get("dependencies", [])}
    assert versions == {__version__}


def test_the_changelog_has_a_section_for_this_version() -> None:
    """The release notes are this section."""
    notes = subprocess.run(
        [ROOT / ".ci/release-notes", __version__], check=True, capture_output=True, text=True
    )
    assert "### " in notes.stdout


def test_a_version_without_a_section_has_no_release_notes() -> None:
    """A prefix of a version is a different version."""
    for version in ("0", __version__[:-1], f"{__version__}0"):
        notes = subprocess.run(
            [ROOT / ".ci/release-notes", version], check=False, capture_output=True, text=True
        )
        assert (notes.returncode, notes.stdout) == (1, "")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_pin_actions_and_start_without_permissions(workflow: Path) -> None:
    """An action is pinned by commit. Only a job gets a permission to write, and every job has a time limit."""
    text = workflow.read_text()
    for action in re.findall(r"uses: (\S+)", text):
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action), action
    document = yaml.safe_load(text)
    assert set(document["permissions"].values() if document["permissions"] else []) <= {"read"}
    assert all("timeout-minutes" in job for job in document["jobs"].values())


def test_workflows_run_only_targets_that_exist() -> None:
    """A renamed target of the Makefile must be renamed in the workflows."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {name for path in WORKFLOWS for name in re.findall(r"run: make ([a-z0-9-]+)", path.read_text())}
    assert used <= targets


def test_the_published_chart_uses_the_published_image() -> None:
    """The chart's default tag is its version, without the v of the git tag."""
    release = yaml.safe_load((ROOT / ".github/workflows/release.yaml").read_text())
    pushed = next(step["with"] for step in release["jobs"]["image"]["steps"] if step.get("id") == "push")
    assert pushed["tags"] == "${{ env.IMAGE }}:${{ steps.base.outputs.version }}"
    assert 'make release-check CHART_IMAGE="$IMAGE"' in str(release["jobs"]["build"]["steps"])


def test_the_page_of_licences_is_current(tmp_path: Path) -> None:
    """After a change of the lock, run `make licences`."""
    page = ROOT / "docs/dependencies.md"
    copy = tmp_path / "docs/.site/licences.py"
    copy.parent.mkdir(parents=True)
    copy.write_text((ROOT / "docs/.site/licences.py").read_text())
    (tmp_path / "requirements").symlink_to(ROOT / "requirements")
    subprocess.run([sys.executable, copy], check=True)
    assert (tmp_path / "docs/dependencies.md").read_text() == page.read_text()
    assert "None" not in page.read_text()
