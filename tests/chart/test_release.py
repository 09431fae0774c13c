"""A release on a real API server that helm installs, upgrades and removes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chart.conftest import NAMESPACE
from tests.support.helm import CHART, Helm, Kubectl, values_of
from tests.support.kube import ControlPlane
from tests.support.process import until

RELEASE = "life"


@pytest.fixture
def release(cluster_helm: Helm) -> Iterator[Helm]:
    """Helm, which removes the release after the test."""
    yield cluster_helm
    cluster_helm.run("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found")


def _put(helm: Helm, values: dict[str, object]) -> str:
    """Install or upgrade, and return helm's output."""
    file = helm.write(values)
    output, _ = helm.run("upgrade", "--install", RELEASE, CHART, "--namespace", NAMESPACE, "--values", file)
    return output


_WAY = (
    "minimal",
    "everything",
    "watch",
    "watch-namespaces",
    "service-monitor",
    "injection",
    "token-requests",
    "minimal",
)
"""Values whose objects differ in kind and in immutable fields."""


def test_a_release_is_installed_upgraded_and_rolled_back(release: Helm) -> None:
    """The upgrades are between any combinations of features."""
    revisions = [_put(release, values_of(case)) for case in _WAY]
    assert [f"REVISION: {number}" in output for number, output in enumerate(revisions, 1)] == [True] * len(
        _WAY
    )


def test_the_next_major_version_of_helm_can_upgrade(
    release: Helm, plane: ControlPlane, tmp_path: Path
) -> None:
    """Helm 4, with server-side apply, upgrades a release of Helm 3, and Helm 3 upgrades one of Helm 4."""
    _put(release, values_of("minimal"))
    helm4 = Helm(tmp_path, plane.ca_file.with_name("admin.json"), program="helm4")
    assert "REVISION: 2" in _put(helm4, values_of("everything"))
    assert "REVISION: 3" in _put(helm4, values_of("minimal"))


@pytest.mark.parametrize(
    ("case", "command"),
    [
        ("minimal", f"helm test {RELEASE} --namespace {NAMESPACE}\n"),
        ("mutual-tls", f"kubectl --namespace {NAMESPACE} logs deployment/{RELEASE}-authgate"),
        (
            "injection",
            "kubectl run authgate-try --image=any --labels=authgate.dev/inject=true --dry-run=server",
        ),
    ],
)
def test_the_notes_contain_the_next_command(release: Helm, case: str, command: str) -> None:
    """They are printed after an installation."""
    assert command in _put(release, values_of(case))


def test_the_notes_name_the_pull_secrets(release: Helm) -> None:
    """Injected pods need the Secrets in their own namespaces."""
    assert "Create them in each namespace:\n  registry\n" in _put(release, values_of("injection"))


@pytest.mark.parametrize("program", ["helm", "helm4"])
async def test_nothing_remains_after_a_test_and_an_uninstall(
    plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, release: Helm, program: str
) -> None:
    """`helm test` deletes the pod of a successful test, so no pod remains after `helm uninstall`."""
    helm = Helm(tmp_path, plane.ca_file.with_name("admin.json"), program=program)
    _put(helm, values_of("minimal"))
    test = asyncio.create_task(asyncio.to_thread(helm.run, "test", RELEASE, "--namespace", NAMESPACE))

    def pods() -> str:
        return kubectl.run("get", "pods", "--namespace", NAMESPACE, "--output", "name")

    async def succeeds() -> bool:
        """Whether the pod exists. Mark it as succeeded, because no kubelet runs here."""
        if test.done() or not pods():
            return test.done()
        status = '{"status": {"phase": "Succeeded"}}'
        name = pods().strip()
        kubectl.run(
            "patch",
            name,
            "--namespace",
            NAMESPACE,
            "--subresource=status",
            "--type=merge",
            f"--patch={status}",
        )
        return True

    await until(succeeds, within=30)
    output, _ = await test
    assert "Phase:          Succeeded" in output
    assert pods() == ""


@pytest.mark.parametrize(
    ("case", "warning"),
    [
        ("public-discovery", "can now read the cluster's issuer and public keys without a token"),
        ("existing-account", "Unless gatekeeper is bound to system:auth-delegator otherwise"),
    ],
)
def test_the_notes_warn(release: Helm, case: str, warning: str) -> None:
    """They warn about an open cluster and about missing rights."""
    assert warning in _put(release, values_of(case))


def test_without_reviews_no_missing_permission_is_reported(release: Helm) -> None:
    """The values of a namespace's admin are complete, so the notes have no warning."""
    assert "Warning" not in _put(release, values_of("namespace-admin"))
