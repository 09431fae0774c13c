"""The gate's pods: their permissions, probes and shutdown, and when they are replaced."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from authgate.config import load
from tests.chart.conftest import NAMESPACE
from tests.chart.dry_run import DryRun, RefusedError
from tests.chart.sidecars import app_chart, gate_of
from tests.support.helm import MINIMAL, Helm, HelmError, Object, Rendering, values_of


def pod_of(rendered: Rendering) -> Object:
    """Return a pod as the Deployment would create it."""
    template = rendered.one("Deployment")["spec"]["template"]
    metadata = {**template["metadata"], "name": "pod", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def with_config(**sections: Any) -> dict[str, Any]:
    """Return the minimal values with further sections of the gate's configuration."""
    return {"config": {**MINIMAL["config"], **sections}}


@pytest.mark.parametrize("case", ["minimal", "tls", "placed", "everything", "other-cluster", "assigned-user"])
async def test_pods_meet_the_restricted_level(helm: Helm, dry_run: DryRun, case: str) -> None:
    """A namespace that enforces the Pod Security level "restricted" accepts the gate's pods."""
    made = await dry_run.create(pod_of(helm.template(values_of(case))))
    assert made.object["metadata"]["namespace"] == NAMESPACE


async def test_the_level_is_enforced(helm: Helm, dry_run: DryRun) -> None:
    """The same namespace rejects a pod that may run as root."""
    pod = pod_of(helm.template())
    del pod["spec"]["containers"][0]["securityContext"]["runAsNonRoot"]
    with pytest.raises(RefusedError, match='violates PodSecurity "restricted'):
        await dry_run.create(pod)


def test_the_namespace_may_assign_the_user(helm: Helm, tmp_path: Path) -> None:
    """With runAsUser null, no pod and no sidecar names a user or group, so that OpenShift can choose them."""
    values = values_of("assigned-user")
    rendered = helm.template(values)
    chart = app_chart(tmp_path / "app", {"mode": "sidecar", **values})
    embedded = helm.template({}, chart=chart, release="app", namespace=NAMESPACE).one("Pod")
    containers = [*rendered.pod["containers"], *rendered.one("Pod")["spec"]["containers"], gate_of(embedded)]
    assert len(containers) == 3
    for container in containers:
        assert container["securityContext"].keys() & {"runAsUser", "runAsGroup"} == set()
        assert container["securityContext"]["runAsNonRoot"] is True
    injection = helm.template({**values_of("injection"), "securityContext": values["securityContext"]})
    (policy,) = injection.all("MutatingAdmissionPolicy")
    assert "runAsUser" in yaml.safe_dump(helm.template(values_of("injection")).one("MutatingAdmissionPolicy"))
    assert "runAsUser" not in yaml.safe_dump(policy)


def test_nothing_is_writable_and_everything_is_bounded(helm: Helm) -> None:
    """The root file system is read-only, memory has a limit, and variables of Services are not set."""
    pod = helm.template().pod
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert "memory" in container["resources"]["limits"]
    assert pod["enableServiceLinks"] is False


def test_the_token_has_an_explicit_lifetime(helm: Helm) -> None:
    """No token is mounted by default. The gate's own is projected at its usual path, with the configured lifetime."""
    rendered = helm.template({**MINIMAL, "tokenExpirationSeconds": 1200})
    pod = rendered.pod
    (volume,) = [item for item in pod["volumes"] if "projected" in item]
    mounts = {item["name"]: item["mountPath"] for item in pod["containers"][0]["volumeMounts"]}
    sources = {kind: source for item in volume["projected"]["sources"] for kind, source in item.items()}

    assert pod["automountServiceAccountToken"] is False
    assert rendered.one("ServiceAccount")["automountServiceAccountToken"] is False
    assert mounts[volume["name"]] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert sources["serviceAccountToken"] == {"path": "token", "expirationSeconds": 1200}
    assert sources["configMap"]["name"] == "kube-root-ca.crt"
    assert sources["downwardAPI"]["items"][0]["path"] == "namespace"


@pytest.mark.parametrize("case", ["oidc", "other-cluster"])
def test_a_gate_that_needs_no_account_has_no_token(helm: Helm, case: str) -> None:
    """A gate that sends no requests to its own cluster has no token for it."""
    assert [item for item in helm.template(values_of(case)).pod["volumes"] if "projected" in item] == []


def test_a_client_certificate_stays_in_memory(helm: Helm) -> None:
    """A kubeconfig's certificate needs a file, so there is a volume in memory for it."""
    pod = helm.template(values_of("other-cluster")).pod
    (mount,) = [item for item in pod["containers"][0]["volumeMounts"] if item["mountPath"] == "/tmp"]
    (volume,) = [item for item in pod["volumes"] if item["name"] == mount["name"]]
    assert volume["emptyDir"]["medium"] == "Memory"


def test_probes_ask_the_admin_port(helm: Helm) -> None:
    """The startup, readiness and liveness probes use the address in the configuration."""
    (container,) = helm.template(values_of("addresses")).pod["containers"]
    asked = {
        kind: (container[f"{kind}Probe"]["httpGet"]["path"], container[f"{kind}Probe"]["httpGet"]["port"])
        for kind in ("startup", "readiness", "liveness")
    }
    assert asked == {
        "startup": ("/livez", "admin"),
        "readiness": ("/readyz", "admin"),
        "liveness": ("/livez", "admin"),
    }
    assert {"name": "admin", "containerPort": 9999} in container["ports"]


def test_the_service_uses_a_reachable_listener(helm: Helm) -> None:
    """The Service uses the first listener that is not on loopback, and does not have the admin port."""
    rendered = helm.template(values_of("addresses"))
    (container,) = rendered.pod["containers"]
    assert {"name": "verify", "containerPort": 8888} in container["ports"]
    assert [port["targetPort"] for port in rendered.one("Service")["spec"]["ports"]] == ["verify"]


def test_grpc_has_a_port_of_its_own(helm: Helm) -> None:
    """The Service names its protocol, and it is open to the same peers as HTTP."""
    values = values_of("grpc")
    rendered = helm.template(values)
    (port,) = [item for item in rendered.one("Service")["spec"]["ports"] if item["name"] == "grpc"]
    assert port == {"name": "grpc", "port": 9001, "targetPort": "grpc", "appProtocol": "grpc"}
    assert {"name": "grpc", "containerPort": 9001} in rendered.pod["containers"][0]["ports"]
    asked, *_ = rendered.one("NetworkPolicy")["spec"]["ingress"]
    assert asked["ports"] == [{"port": "verify"}, {"port": "grpc"}]


def test_the_exchange_has_a_port_of_its_own(helm: Helm) -> None:
    """The Service has the port for exchanges, and it is open to the configured peers."""
    values = values_of("exchange")
    rendered = helm.template(values)
    (port,) = [item for item in rendered.one("Service")["spec"]["ports"] if item["name"] == "exchange"]
    assert (port["port"], port["targetPort"]) == (8081, "exchange")
    assert {"name": "exchange", "containerPort": 8081} in rendered.pod["containers"][0]["ports"]
    *_, opened = rendered.one("NetworkPolicy")["spec"]["ingress"]
    assert opened == {"ports": [{"port": "exchange"}], "from": values["networkPolicy"]["exchange"]}


@pytest.mark.parametrize(
    ("shutdown", "seconds"),
    [
        pytest.param({}, 5 + 10 + 5, id="defaults"),
        pytest.param({"delay": "0s"}, 0 + 10 + 5, id="no delay"),
        pytest.param({"delay": 0, "timeout": 2.5}, 0 + 3 + 5, id="numbers"),
        pytest.param({"delay": "1m30s", "timeout": "500ms"}, 90 + 1 + 5, id="units"),
        pytest.param({"delay": "1.5m", "timeout": "1h"}, 90 + 3600 + 5, id="fractions"),
    ],
)
def test_a_pod_has_enough_time_for_its_shutdown(helm: Helm, shutdown: dict[str, Any], seconds: int) -> None:
    """The kubelet waits for the configured delay and timeout, and 5 s more, before it kills the pod."""
    assert helm.template(with_config(shutdown=shutdown)).pod["terminationGracePeriodSeconds"] == seconds


def test_a_changed_configuration_replaces_the_pods(helm: Helm) -> None:
    """It changes the pods' template, which starts a rollout. A changed number of replicas does not."""

    def template(values: dict[str, Any]) -> Object:
        made = helm.template(values).one("Deployment")["spec"]["template"]
        assert isinstance(made, dict)
        return made

    first = template(with_config())
    assert template(with_config(log={"level": "debug"})) != first
    assert template({**with_config(), "replicas": 5}) == first


@pytest.mark.parametrize(
    ("server", "interval"), [({}, 0), ({"reloadInterval": "1m"}, 60)], ids=["by rollouts", "by the gate, too"]
)
def test_a_configuration_takes_effect_by_rollout_or_by_reload(
    helm: Helm, tmp_path: Path, server: dict[str, Any], interval: float
) -> None:
    """Running gates reload the file that the kubelet replaces only if configured to."""
    rendered = helm.template(with_config(server=server))
    (config,) = [item for item in rendered.all("ConfigMap") if "authgate.yaml" in item["data"]]
    file = tmp_path / "authgate.yaml"
    file.write_text(config["data"]["authgate.yaml"])
    environment = {item["name"]: item["value"] for item in rendered.pod["containers"][0].get("env", ())}
    assert load(file, environment).config.server.reload_interval == interval


@pytest.mark.parametrize(
    ("case", "replicas", "minimum"), [("minimal", 2, None), ("single", 1, None), ("autoscaled", None, 3)]
)
def test_the_number_of_replicas_is_set_by_the_chart_or_the_autoscaler(
    helm: Helm, case: str, replicas: int | None, minimum: int | None
) -> None:
    """The Deployment has a number of replicas unless the autoscaler is enabled."""
    rendered = helm.template(values_of(case))
    scaled = [item["spec"]["minReplicas"] for item in rendered.all("HorizontalPodAutoscaler")]
    assert rendered.one("Deployment")["spec"].get("replicas") == replicas
    assert scaled == ([] if minimum is None else [minimum])


def test_gates_are_spread_and_remain_available(helm: Helm) -> None:
    """Gates spread over nodes and zones. A drain evicts one at a time, and a rollout never reduces their number."""
    rendered = helm.template()
    spread = [item["topologyKey"] for item in rendered.pod["topologySpreadConstraints"]]
    assert spread == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert rendered.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert rendered.one("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_selectors_match_only_the_gates(helm: Helm) -> None:
    """The Service, the disruption budget and the network policy select the gate's pods, not the test's."""
    rendered = helm.template(values_of("everything"))
    gate = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    test = rendered.one("Pod")["metadata"]["labels"]
    selectors = [
        rendered.one("Service")["spec"]["selector"],
        rendered.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        rendered.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        rendered.one("Deployment")["spec"]["selector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= gate.items()
        assert not selector.items() <= test.items()


def test_the_image_can_be_pinned(helm: Helm) -> None:
    """A digest takes precedence over the tag."""
    values = copy.deepcopy(values_of("named"))
    digest = values["image"]["digest"]
    values["image"]["tag"] = "ignored"
    (container,) = helm.template(values).pod["containers"]
    assert container["image"] == f"images.example.com/platform/authgate@{digest}"


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({}, "495Mi"),
        ({"limits": {"maxConnections": 1000}, "cache": {"maxBytes": 67_108_864}}, "232Mi"),
        ({"limits": {"maxUnfinishedHeaderBytes": 8_388_608}}, "439Mi"),
        ({"server": {"workers": 3}}, "1433Mi"),
        ({"server": {"grpc": "0.0.0.0:9001"}}, "729Mi"),
        ({"server": {"tls": {"certFile": "/tls/tls.crt", "keyFile": "/tls/tls.key"}}}, "2448Mi"),
    ],
    ids=["defaults", "small", "few heads", "workers", "two listeners", "tls"],
)
def test_the_memory_limit_follows_from_the_bounds(helm: Helm, config: dict[str, Any], limit: str) -> None:
    """With a limit below the memory that clients can make the gate use, they could have it killed."""
    values = with_config(**config)
    if "tls" in config.get("server", {}):
        values = {**values_of("tls"), "config": {**values_of("tls")["config"], **config}}
        config["server"]["tls"] = values_of("tls")["config"]["server"]["tls"]
    (container,) = helm.template(values).pod["containers"]
    assert container["resources"]["limits"]["memory"] == limit


def test_a_configured_memory_limit_is_kept(helm: Helm) -> None:
    """The gate warns at startup if it is too low."""
    rendered = helm.template({**MINIMAL, "resources": {"limits": {"memory": "200Mi"}}})
    assert rendered.pod["containers"][0]["resources"]["limits"] == {"memory": "200Mi"}


def test_a_sidecars_admin_port_is_open_only_to_monitoring(helm: Helm) -> None:
    """The app's own ports are open to the peers of its rules, and the gate's admin port to Prometheus."""
    shop, billing = helm.template(values_of("sidecar-network-policy")).all("NetworkPolicy")
    assert shop["metadata"]["namespace"] == "default"
    assert shop["spec"]["podSelector"] == {"matchLabels": {"authgate.dev/inject": "true"}}
    assert billing["spec"]["podSelector"] == {"matchLabels": {"app": "billing"}}
    for policy in (shop, billing):
        (admin,) = [
            rule
            for rule in policy["spec"]["ingress"]
            if {"port": 15081} in rule["ports"] and "protocol" not in rule["ports"][0]
        ]
        assert admin["from"] == values_of("sidecar-network-policy")["networkPolicy"]["monitoring"]


@pytest.mark.parametrize(
    "ports",
    [
        [{"port": 15081}],
        [{"port": 15000, "endPort": 15100}],
        [{"protocol": "TCP"}],
        [{"port": "authgate-admin"}],
    ],
    ids=["by number", "in a range", "every port", "by name"],
)
def test_a_rule_that_opens_the_admin_port_is_rejected(helm: Helm, ports: list[dict[str, Any]]) -> None:
    """Such a rule would defeat the purpose of the policy."""
    values = {**MINIMAL, "networkPolicy": {"sidecars": [{"ingress": [{"ports": ports}]}]}}
    with pytest.raises(HelmError) as refused:
        helm.template(values)
    assert "opens the admin port 15081" in str(refused.value)
