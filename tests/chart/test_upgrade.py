"""Parts that an upgrade must not change: names, selectors and roles, which are immutable in Kubernetes.

The chart's first version is the one that later ones are held to: a change here leaves users who upgrade with a
Deployment that cannot be changed, two Services, or a binding that is refused.
"""

from pathlib import Path

import pytest

from tests.support.helm import CASES, Helm, Object, case_name, values_of

_SELECTOR = {
    "app.kubernetes.io/name": "authgate",
    "app.kubernetes.io/instance": "gate",
    "app.kubernetes.io/component": "gate",
}
_NAME = "gate-authgate"
_CLUSTER_NAME = "authgate:authgate:gate-authgate"
_NAMES: dict[str, set[str]] = {
    "ClusterRole": {f"{_CLUSTER_NAME}:watch", f"{_CLUSTER_NAME}:tokenrequest:<account>"},
    "ClusterRoleBinding": {
        f"{_CLUSTER_NAME}:auth-delegator",
        f"{_CLUSTER_NAME}:public-discovery",
        f"{_CLUSTER_NAME}:watch",
    },
    "ConfigMap": {_NAME, f"{_NAME}-dashboard"},
    "Deployment": {_NAME},
    "HorizontalPodAutoscaler": {_NAME},
    "MutatingAdmissionPolicy": {"sidecars.authgate.dev"},
    "MutatingAdmissionPolicyBinding": {"sidecars.authgate.dev"},
    "NetworkPolicy": {_NAME, f"{_NAME}-sidecars-0", f"{_NAME}-sidecars-1"},
    "Pod": {f"{_NAME}-test"},
    "PodDisruptionBudget": {_NAME},
    "PodMonitor": {_NAME, f"{_NAME}-injected"},
    "PrometheusRule": {_NAME},
    "Role": {f"{_CLUSTER_NAME}:watch"},
    "RoleBinding": {f"{_CLUSTER_NAME}:watch", f"{_CLUSTER_NAME}:tokenrequest:<account>"},
    "Service": {_NAME, f"{_NAME}-metrics"},
    "ServiceAccount": {_NAME},
    "ServiceMonitor": {_NAME},
    "ValidatingAdmissionPolicy": {"sidecars.authgate.dev"},
    "ValidatingAdmissionPolicyBinding": {"sidecars.authgate.dev"},
}
_ORDINARY = [case for case in CASES if case_name(case) != "named"]
"""The values that leave the names to the chart."""


def _name(item: Object) -> str:
    """Return an object's name, with `<account>` instead of an account."""
    name, colon, _ = str(item["metadata"]["name"]).partition(":tokenrequest:")
    return f"{name}{colon}<account>" if colon else name


def test_names_are_kept(helm: Helm) -> None:
    """Objects have only names of the first version, whatever the values, and all of these are in use."""
    made: dict[str, set[str]] = {}
    for case in _ORDINARY:
        for item in helm.template(case).objects:
            made.setdefault(item["kind"], set()).add(_name(item))
    assert made == _NAMES


@pytest.mark.parametrize("case", _ORDINARY, ids=case_name)
def test_selectors_are_kept(helm: Helm, case: Path) -> None:
    """A Deployment's selector is immutable, so no value changes it."""
    for item in helm.template(case).all("Deployment"):
        assert item["spec"]["selector"] == {"matchLabels": _SELECTOR}


def test_a_binding_keeps_its_role(helm: Helm) -> None:
    """A binding's role is immutable, so bindings of one name and namespace always have the same role."""
    roles: dict[tuple[str, str, str], set[str]] = {}
    for case in _ORDINARY:
        for item in helm.template(case).objects:
            if item["kind"] in ("RoleBinding", "ClusterRoleBinding"):
                place = (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])
                roles.setdefault(place, set()).add(f"{item['roleRef']['kind']} {item['roleRef']['name']}")
    assert [names for names in roles.values() if len(names) != 1] == []


def test_no_selector_has_the_version(helm: Helm) -> None:
    """Every upgrade changes the version, and the chart's label with it."""
    for item in helm.template(values_of("everything")).objects:
        selector: Object = item.get("spec", {}).get("selector", {})
        labels: Object = selector.get("matchLabels", selector)
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & labels.keys()
