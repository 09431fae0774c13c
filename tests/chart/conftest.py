"""Helm, and a real API server that knows the kinds of the Prometheus operator."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chart.dry_run import DryRun
from tests.support.helm import Helm, Kubectl, KubectlError, prometheus_operator_crds
from tests.support.kube import ControlPlane
from tests.support.process import until

NAMESPACE = "authgate"
"""The namespace of releases here; its pods must meet the Pod Security level "restricted"."""


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def helm4(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The next major version of Helm, without a cluster."""
    return Helm(tmp_path_factory.mktemp("helm4"), program="helm4")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    """A control plane for all tests of the chart."""
    async with ControlPlane(tmp_path_factory.mktemp("chart-plane")) as running:
        running.write_kubeconfig(running.ca_file.with_name("admin.json"), token=running.admin_user.token)
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kubectl(plane: ControlPlane) -> Kubectl:
    """kubectl for the control plane, which has the namespace and the kinds for monitoring."""
    admin = Kubectl(plane.ca_file.with_name("admin.json"))
    admin.run("apply", "--server-side", "--filename", prometheus_operator_crds())

    async def established() -> bool:
        try:
            admin.run("wait", "--for=condition=Established", "crd", "--all", "--timeout=5s")
        except KubectlError:  # kubectl gives up on a kind that has no conditions yet
            return False
        return True

    await until(established, within=60)
    admin.run("create", "namespace", NAMESPACE)
    admin.run("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    return admin


@pytest.fixture(scope="session")
def cluster_helm(plane: ControlPlane, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm as the administrator of the control plane."""
    return Helm(tmp_path_factory.mktemp("cluster-helm"), plane.ca_file.with_name("admin.json"))


@pytest.fixture
async def dry_run(plane: ControlPlane, kubectl: Kubectl) -> AsyncIterator[DryRun]:
    """The API server, which validates objects without storing them."""
    assert kubectl is not None, "it made the namespace"
    async with DryRun(plane) as server:
        yield server
