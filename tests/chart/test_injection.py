"""Gates that the API server adds to pods with the label for injection."""

import asyncio
import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from authgate.listen_address import ListenAddress
from tests.chart.conftest import NAMESPACE
from tests.chart.dry_run import DryRun, RefusedError
from tests.chart.sidecars import RESTRICTED, app_chart, configuration_of, gate_of
from tests.support.helm import Helm, Kubectl, Object, values_of
from tests.support.kube import ControlPlane
from tests.support.process import until

AUDIENCE, POLICY = "authgate.dev/audience", "authgate.dev/policy"
PORT, ADMIN_PORT = "authgate.dev/port", "authgate.dev/admin-port"


def pod(annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    """A pod with the label for injection, which also meets the restricted level without a gate."""
    container = {"name": "app", "image": "app", "securityContext": dict(RESTRICTED)}
    metadata: Object = {"name": "app", "namespace": NAMESPACE, "labels": {"authgate.dev/inject": "true"}}
    if annotations is not None:
        metadata["annotations"] = annotations
    body = {"serviceAccountName": "app", "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


def _app(port: int, name: str = "app", protocol: str = "TCP") -> Object:
    ports = [{"containerPort": port, "protocol": protocol}]
    return {"name": name, "image": "app", "securityContext": dict(RESTRICTED), "ports": ports}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def injection(helm: Helm, kubectl: Kubectl, plane: ControlPlane) -> AsyncIterator[dict[str, Any]]:
    """The values of an injection that is installed and in effect."""
    values = values_of("injection")
    policies = [
        item
        for item in helm.template(values).objects
        if item["apiVersion"].startswith("admissionregistration")
    ]
    kubectl.apply(policies)

    async def becomes(asked: Object) -> str:
        async with DryRun(plane) as server:
            try:
                made = await server.create(asked)
            except RefusedError:
                return "refused"
            return "injected" if "initContainers" in made.object["spec"] else "untouched"

    async def in_force() -> bool:
        """Whether the API server applies both policies, which it loads in any order."""
        return (await becomes(pod()), await becomes(pod({POLICY: "nobody"}))) == ("injected", "refused")

    try:
        await until(in_force, within=30)
        yield values
    finally:
        for item in policies:
            await asyncio.to_thread(kubectl.run, "delete", item["kind"], item["metadata"]["name"])


@pytest.fixture
def server(injection: dict[str, Any], dry_run: DryRun) -> DryRun:
    """The API server while injection is installed."""
    assert injection["sidecarInjection"]["enabled"]
    return dry_run


async def test_a_pod_gets_a_gate(server: DryRun) -> None:
    """A pod with the label gets the gate, in a namespace that enforces the restricted level, and its volume."""
    made = (await server.create(pod())).object
    container = gate_of(made)
    assert container["securityContext"]["runAsUser"] == 65532
    assert [item["name"] for item in made["spec"]["volumes"]] == ["authgate-account"]
    assert configuration_of(container).server.listen == (ListenAddress("127.0.0.1", 15080),)


async def test_an_injected_gate_equals_an_embedded_one(
    helm: Helm, server: DryRun, injection: dict[str, Any], tmp_path: Path
) -> None:
    """Injected and embedded gates differ only in their configuration."""
    chart = app_chart(tmp_path / "app", {"mode": "sidecar", "config": {"cluster": {"audiences": ["a"]}}})
    embedded = helm.template({}, chart=chart, release="app", namespace=NAMESPACE).one("Pod")
    there = (await server.create(embedded)).object["spec"]
    here = (await server.create(pod())).object["spec"]
    for spec in (there, here):
        (container,) = spec["initContainers"]
        del container["env"]
    assert (here["initContainers"], here["volumes"]) == (there["initContainers"], there["volumes"])


async def test_the_pods_own_containers_and_volumes_are_kept(server: DryRun) -> None:
    """The pod's init containers and volumes remain, before those of the gate."""
    (own,) = pod()["spec"]["containers"]
    volumes = [{"name": "data", "emptyDir": {}}]
    made = (await server.create(pod(initContainers=[{**own, "name": "first"}], volumes=volumes))).object
    assert [item["name"] for item in made["spec"]["initContainers"]] == ["first", "authgate"]
    assert [item["name"] for item in made["spec"]["volumes"]] == ["data", "authgate-account"]


async def test_annotations_change_the_ports(server: DryRun) -> None:
    """A pod whose app uses the sidecar's ports can set other ports for the sidecar."""
    asked = pod({PORT: "8180", ADMIN_PORT: "9190"}, containers=[_app(15080), _app(15081, "other")])
    container = gate_of((await server.create(asked)).object)
    addresses = configuration_of(container).server
    assert addresses.listen == (ListenAddress("127.0.0.1", 8180),)
    assert addresses.admin == ListenAddress("0.0.0.0", 9190)
    assert [port["containerPort"] for port in container["ports"]] == [8180, 9190]


async def test_other_ports_and_protocols_do_not_collide(server: DryRun) -> None:
    """An app can use common ports, and the sidecar's port numbers for UDP."""
    asked = pod(containers=[_app(8080), _app(9090, "metrics"), _app(15080, "udp", "UDP")])
    assert gate_of((await server.create(asked)).object)["name"] == "authgate"


async def test_without_annotations_the_values_apply(server: DryRun) -> None:
    """Audience and policy are those of the values."""
    config = configuration_of(gate_of((await server.create(pod())).object))
    (cluster,) = config.clusters
    assert cluster.audiences == ("my-audience",)
    assert config.policies["default"].allow is not None
    assert config.policies["default"].allow[0].service_accounts == ("prod/*",)


async def test_annotations_select_audience_and_policy(server: DryRun) -> None:
    """A pod names its own audience and one of the policies. Their texts are unchanged."""
    annotations = {AUDIENCE: 'shop\'s $(USER) "x"', POLICY: "staff"}
    config = configuration_of(gate_of((await server.create(pod(annotations))).object))
    (cluster,) = config.clusters
    assert cluster.audiences == ('shop\'s $(USER) "x"',)
    (entry,) = config.policies["default"].allow or ()
    assert entry.groups == ("corp:R&D <all>", "corp:$(USER)")
    assert entry.users == ('corp:o\'neill "Jack"',)


async def test_the_rest_of_the_configuration_is_shared(server: DryRun) -> None:
    """sidecarInjection.config applies to every injected gate, whatever its annotations."""
    config = configuration_of(gate_of((await server.create(pod({AUDIENCE: "a"}))).object))
    (cluster,) = config.clusters
    assert cluster.token_review.mode == "always"
    assert [item.issuer.url for item in config.jwt] == ["https://login.example.com"]
    assert config.log.audit == "all"


async def test_the_kubelet_can_pull_the_image(server: DryRun) -> None:
    """The pull secrets of the values are added once to those of the pod."""
    made = (await server.create(pod())).object
    assert made["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    for own in ("registry", "its-own"):
        made = (await server.create(pod(imagePullSecrets=[{"name": own}]))).object
        assert [item["name"] for item in made["spec"]["imagePullSecrets"]] == list(
            dict.fromkeys([own, "registry"])
        )


async def test_a_pod_without_the_label_is_unchanged(server: DryRun) -> None:
    """The pod gets no gate."""
    plain = pod()
    del plain["metadata"]["labels"]
    assert "initContainers" not in (await server.create(plain)).object["spec"]


async def test_a_pod_with_a_gate_gets_no_second_one(server: DryRun) -> None:
    """A pod that was injected before, or embeds a gate, is unchanged."""
    once = (await server.create(pod())).object
    again = copy.deepcopy(once)
    again["metadata"] = pod()["metadata"]
    del again["status"]
    assert (await server.create(again)).object["spec"] == once["spec"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        pytest.param(
            pod({POLICY: "nobody"}),
            "the annotation authgate.dev/policy is not one of the policies: default, staff",
            id="an unknown policy",
        ),
        pytest.param(pod({AUDIENCE: ""}), "add the annotation authgate.dev/audience", id="no audience"),
        pytest.param(
            pod({PORT: "70000"}),
            "authgate.dev/port and authgate.dev/admin-port must be ports between 1 and 65535",
            id="a port out of range",
        ),
        pytest.param(
            pod({ADMIN_PORT: "http"}), "authgate.dev/admin-port must be ports between", id="a port by name"
        ),
        pytest.param(pod({PORT: "15081"}), "give authgate the same port twice", id="one port for both"),
        pytest.param(
            pod(containers=[_app(8000), _app(15080, "web")]),
            "the container web declares port 15080, which authgate uses in this pod: change it, or give authgate"
            " another port with the annotation authgate.dev/port",
            id="an app on the verify port",
        ),
        pytest.param(
            pod({ADMIN_PORT: "9090"}, initContainers=[{**_app(9090, "metrics"), "restartPolicy": "Always"}]),
            "the container metrics declares port 9090, which authgate uses in this pod: change it, or give authgate"
            " another port with the annotation authgate.dev/admin-port",
            id="another sidecar on the admin port",
        ),
        pytest.param(pod(hostNetwork=True), "does not work with hostNetwork", id="the node's network"),
    ],
)
async def test_a_pod_that_cannot_get_its_gate_is_rejected(
    server: DryRun, asked: Object, sentence: str
) -> None:
    """It is rejected with a message, and does not run without the gate."""
    asked["metadata"]["namespace"] = (
        "default"  # the level of this namespace does not reject the host's network first
    )
    with pytest.raises(RefusedError) as refused:
        await server.create(asked)
    assert sentence in str(refused.value)


async def test_older_clusters_get_the_older_api(helm: Helm) -> None:
    """Kubernetes 1.34 and 1.35 serve the policies as v1beta1."""
    rendered = helm.template(values_of("injection"), "--kube-version", "1.35.0")
    assert rendered.one("MutatingAdmissionPolicy")["apiVersion"] == "admissionregistration.k8s.io/v1beta1"
    assert rendered.one("ValidatingAdmissionPolicy")["apiVersion"] == "admissionregistration.k8s.io/v1"
