"""A release on a real API server: installed, changed and removed by helm itself."""

from collections.abc import Iterator

import pytest

from tests.chart.conftest import NAMESPACE
from tests.support.helm import CHART, MINIMAL, Helm, values_of

RELEASE = "life"


@pytest.fixture
def release(cluster_helm: Helm) -> Iterator[Helm]:
    """Helm, which removes the release when the test is over."""
    yield cluster_helm
    cluster_helm.run("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found")


def _put(helm: Helm, values: dict[str, object]) -> str:
    """Installs or upgrades; returns what helm tells the user."""
    file = helm.write(values)
    said, _ = helm.run("upgrade", "--install", RELEASE, CHART, "--namespace", NAMESPACE, "--values", file)
    return said


def test_it_lives(release: Helm) -> None:
    """A release is installed, upgraded with every feature that stores something, and goes back."""
    _put(release, dict(MINIMAL))
    assert "REVISION: 2" in _put(release, values_of("everything"))
    assert "REVISION: 3" in _put(release, dict(MINIMAL))


@pytest.mark.parametrize(
    ("case", "command"),
    [
        ("minimal", f"helm test {RELEASE} --namespace {NAMESPACE} --logs"),
        ("mutual-tls", f"kubectl --namespace {NAMESPACE} logs deployment/{RELEASE}-authgate"),
        (
            "injection",
            "kubectl run authgate-try --image=any --labels=authgate.dev/inject=true --dry-run=server",
        ),
    ],
)
def test_the_notes_say_the_next_command(release: Helm, case: str, command: str) -> None:
    """Whoever installs reads what to type next."""
    assert command in _put(release, values_of(case))


@pytest.mark.parametrize(
    ("case", "warning"),
    [
        ("public-discovery", "can now read the cluster's issuer and public keys without a token"),
        ("existing-account", "Unless gatekeeper is bound to system:auth-delegator otherwise"),
    ],
)
def test_the_notes_warn(release: Helm, case: str, warning: str) -> None:
    """Whoever opens the cluster, or withholds a right, reads what that means."""
    assert warning in _put(release, values_of(case))
