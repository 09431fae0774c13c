"""An authgate sidecar that another chart adds to its app's pod."""

from pathlib import Path
from typing import Any

import pytest

from authgate.listen_address import ListenAddress
from tests.chart.conftest import NAMESPACE
from tests.chart.dry_run import DryRun
from tests.chart.sidecars import app_chart, configuration_of, environment_of, gate_of
from tests.support.helm import MINIMAL, Helm, HelmError, Rendering

SIDECAR: dict[str, Any] = {"mode": "sidecar", **MINIMAL}


def embed(helm: Helm, folder: Path, values: dict[str, Any], **how: Any) -> Rendering:
    """Return the objects of an app's chart that embeds the gate."""
    return helm.template(
        {}, chart=app_chart(folder / "app", values, **how), release="app", namespace=NAMESPACE
    )


async def test_the_api_server_accepts_the_pod(helm: Helm, dry_run: DryRun, tmp_path: Path) -> None:
    """A pod with an embedded gate can be created where the restricted level is enforced."""
    made = await dry_run.create(embed(helm, tmp_path, SIDECAR).one("Pod"))
    assert gate_of(made.object)["restartPolicy"] == "Always"


def test_no_other_object_is_created(helm: Helm, tmp_path: Path) -> None:
    """The dependency adds no object to the app's chart."""
    assert embed(helm, tmp_path, SIDECAR).kinds == {"Pod"}


def test_the_configuration_is_in_the_environment(helm: Helm, tmp_path: Path) -> None:
    """Every section of `config` reaches authgate, also texts that Kubernetes would expand."""
    config = {
        "apiVersion": "authgate.dev/v1alpha1",
        "cluster": {"audiences": ["a,b", "$(HOME) and $$"]},
        "policies": {"default": {"allow": [{"users": ['it\'s "<&>" é']}]}},
        "limits": {"maxTokenBytes": 20000},
        "log": {"audit": "all"},
    }
    gate = configuration_of(gate_of(embed(helm, tmp_path, {"mode": "sidecar", "config": config}).one("Pod")))
    (cluster,) = gate.clusters
    assert cluster.audiences == ("a,b", "$(HOME) and $$")
    assert gate.policies["default"].allow is not None
    assert gate.policies["default"].allow[0].users == ('it\'s "<&>" é',)
    assert (gate.limits.max_token_bytes, gate.log.audit) == (20000, "all")


def test_it_listens_on_loopback_and_stops_at_once(helm: Helm, tmp_path: Path) -> None:
    """Only the pod's own proxy and the probes reach it, and there is no shutdown delay."""
    container = gate_of(embed(helm, tmp_path, SIDECAR).one("Pod"))
    gate = configuration_of(container)
    assert gate.server.listen == (ListenAddress("127.0.0.1", 15080),)
    assert gate.shutdown.delay == 0
    assert gate.server.admin == ListenAddress("0.0.0.0", 15081)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"authgate-verify": 15080, "authgate-admin": 15081}


def test_a_configured_delay_is_kept(helm: Helm, tmp_path: Path) -> None:
    """The shutdown delay of the configuration is unchanged."""
    config = {**MINIMAL["config"], "shutdown": {"delay": "2s"}}
    pod = embed(helm, tmp_path, {"mode": "sidecar", "config": config}).one("Pod")
    assert configuration_of(gate_of(pod)).shutdown.delay == 2


def test_it_can_listen_on_a_socket(helm: Helm, tmp_path: Path) -> None:
    """The unix socket is in a volume that the proxy's container can mount, too."""
    values = {**SIDECAR, "sidecar": {"listen": "unix:/run/authgate/authgate.sock"}}
    pod = embed(helm, tmp_path, values).one("Pod")
    container = gate_of(pod)
    assert configuration_of(container).server.listen == (ListenAddress(unix="/run/authgate/authgate.sock"),)
    assert {"name": "authgate-socket", "mountPath": "/run/authgate"} in container["volumeMounts"]
    assert "emptyDir" in next(item for item in pod["spec"]["volumes"] if item["name"] == "authgate-socket")


def test_it_can_have_files_and_variables(helm: Helm, tmp_path: Path) -> None:
    """Volumes, mounts and variables of the values also apply to the embedded gate."""
    values = {
        "mode": "sidecar",
        "config": {"cluster": {"audiences": ["a"], "kubeconfig": "/etc/ca/kubeconfig"}},
        "volumes": [{"name": "ca", "secret": {"secretName": "ca"}}],
        "volumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
        "env": [{"name": "SSL_CERT_FILE", "value": "/etc/ca/ca.crt"}],
    }
    pod = embed(helm, tmp_path, values).one("Pod")
    container = gate_of(pod)
    assert environment_of(container)["SSL_CERT_FILE"] == "/etc/ca/ca.crt"
    expected = {"authgate-account", "authgate-certificate", "ca"}
    assert {item["name"] for item in container["volumeMounts"]} == expected
    assert {item["name"] for item in pod["spec"]["volumes"]} == expected


def test_the_dependency_can_have_an_alias(helm: Helm, tmp_path: Path) -> None:
    """With another name the templates get that dependency's context instead of the dot."""
    pod = embed(helm, tmp_path, SIDECAR, alias="gate", context=".Subcharts.gate").one("Pod")
    assert configuration_of(gate_of(pod)).cluster is not None


@pytest.mark.parametrize(
    ("values", "how", "sentence"),
    [
        pytest.param(
            SIDECAR,
            {"alias": "gate"},
            "pass .Subcharts.<alias> instead of the dot",
            id="an alias and the dot",
        ),
        pytest.param({"mode": "sidecar"}, {}, "config accepts no tokens", id="no audience"),
        pytest.param(
            {"mode": "sidecar", "config": {**MINIMAL["config"], "server": {"listen": ["127.0.0.1:1"]}}},
            {},
            "config.server.listen has no effect in a sidecar: set sidecar.listen",
            id="two addresses",
        ),
        pytest.param(
            {"mode": "sidecar", "config": {"cluster": {"audiences": ["a"], "kubeconfig": "/east/config"}}},
            {},
            "config.cluster.kubeconfig is /east/config, which is not mounted",
            id="a file that is nowhere",
        ),
        pytest.param(
            {"mode": "sidecar", "config": {"cluster": {"audience": "a"}}},
            {},
            "at '/config/cluster': additional properties 'audience' not allowed",
            id="a typo",
        ),
    ],
)
def test_an_impossible_sidecar_is_rejected(
    helm: Helm, tmp_path: Path, values: dict[str, Any], how: dict[str, Any], sentence: str
) -> None:
    """The app's chart is not rendered if the gate could not work."""
    with pytest.raises(HelmError) as refused:
        embed(helm, tmp_path, values, **how)
    assert sentence in str(refused.value)
