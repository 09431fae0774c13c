"""The access that the chart grants: rights in the cluster, and network connections."""

from pathlib import Path
from typing import Any

import pytest

from tests.chart.conftest import NAMESPACE
from tests.support.helm import CASES, MINIMAL, Helm, Kubectl, Object, case_name, values_of
from tests.support.kube import ControlPlane
from tests.support.kube_api import KubeAPI, KubeError
from tests.support.process import until

_RBAC = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}
_DELEGATOR = "system:auth-delegator"
_DISCOVERY = "system:service-account-issuer-discovery"
_PUBLIC = f"{_DISCOVERY}: system:unauthenticated"


def _granted(objects: list[Object]) -> set[str]:
    """Return every binding as "role: subject", and the rules of the chart's own roles as "role may …"."""
    given: set[str] = set()
    for item in objects:
        where = f" in {item['metadata']['namespace']}" if item["kind"] in ("Role", "RoleBinding") else ""
        if item["kind"] in ("ClusterRoleBinding", "RoleBinding"):
            for subject in item["subjects"]:
                namespace = f"{subject['namespace']}/" if "namespace" in subject else ""
                given.add(f"{item['roleRef']['name']}{where}: {namespace}{subject['name']}")
        elif item["kind"] in _RBAC:
            for rule in item["rules"]:
                assert rule["apiGroups"] == [""]
                named = [f"of {name}" for name in rule.get("resourceNames", ())]
                allowed = " ".join([*rule["verbs"], *sorted(rule["resources"]), *named])
                given.add(f"{item['metadata']['name']}{where} may {allowed}")
    return given


_WATCH = f"authgate:{NAMESPACE}:gate-authgate:watch"
_TOKENS = f"authgate:{NAMESPACE}:gate-authgate:tokenrequest"
_NOTHING = (
    "oidc",
    "namespace-admin",
    "unreviewed",
    "existing-account",
    "other-cluster",
    "injection",
    "injection-socket",
)
_MORE = {
    "named": {f"{_DELEGATOR}: {NAMESPACE}/doorkeeper"},
    "public-discovery": {f"{_DELEGATOR}: {NAMESPACE}/gate-authgate", _PUBLIC},
    "sidecar": {f"{_DELEGATOR}: {NAMESPACE}/shop", f"{_DELEGATOR}: prod/invoicer"},
    "several-clusters": {
        f"{_DELEGATOR}: {NAMESPACE}/gate-authgate",
        f"{_WATCH}: {NAMESPACE}/gate-authgate",
        f"{_WATCH} may list watch nodes pods serviceaccounts",
    },
    "watch": {
        *(
            f"{role}: {account}"
            for role in (_DELEGATOR, _WATCH)
            for account in (f"{NAMESPACE}/gate-authgate", "shop/web")
        ),
        f"{_WATCH} may list watch nodes pods secrets serviceaccounts",
    },
    "watch-namespaces": {
        f"{_DELEGATOR}: {NAMESPACE}/gate-authgate",
        *(f"{_WATCH} in {namespace}: {NAMESPACE}/gate-authgate" for namespace in ("default", "kube-system")),
        *(
            f"{_WATCH} in {namespace} may list watch pods serviceaccounts"
            for namespace in ("default", "kube-system")
        ),
    },
    "token-requests": {
        f"{_DELEGATOR}: {NAMESPACE}/gate-authgate",
        f"{_TOKENS}:shop may create serviceaccounts/token of shop",
        f"{_TOKENS}:shop in {NAMESPACE}: {NAMESPACE}/deployer",
        f"{_TOKENS}:shop in default: corp:deployers",
        f"{_TOKENS}:shop in default: corp:1234",
        f"{_TOKENS}:invoicer may create serviceaccounts/token of invoicer",
        f"{_TOKENS}:invoicer in default: ci/deployer",
    },
    "everything": {f"{_DELEGATOR}: {NAMESPACE}/gate-authgate", f"{_DELEGATOR}: prod/shop", _PUBLIC},
}


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_only_required_rights_are_granted(helm: Helm, case: Path) -> None:
    """A gate that may review is bound to system:auth-delegator. Other rights must be requested."""
    name = case_name(case)
    usual = set() if name in _NOTHING else {f"{_DELEGATOR}: {NAMESPACE}/gate-authgate"}
    assert _granted(helm.template(case).objects) == _MORE.get(name, usual)


async def _allowed(api: KubeAPI, path: str) -> bool:
    try:
        await api.call("GET", path)
    except KubeError as refused:
        if refused.status not in (401, 403):
            raise
        return False
    return True


@pytest.mark.parametrize(("rule", "granted"), [("accessReview", True), ("anonymous", False)])
def test_an_access_review_in_a_rule_needs_the_right(helm: Helm, rule: str, granted: bool) -> None:
    """This also holds if nothing else needs the right."""
    decider = {"accessReview": {"nonResource": "request"}, "anonymous": True}[rule]
    policy = {"rules": [{"paths": ["/metrics"], rule: decider}]}
    cluster = {"audiences": ["a"], "tokenReview": {"mode": "never"}}
    config = {"cluster": cluster, "policies": {"default": policy}, "server": {"proxy": "nginx"}}
    assert (
        any(_DELEGATOR in right for right in _granted(helm.template({"config": config}).objects)) is granted
    )


async def test_the_role_for_the_watch_allows_only_to_list_and_watch(
    helm: Helm, kubectl: Kubectl, plane: ControlPlane
) -> None:
    """With exactly the rendered role the gate's account can list what it watches, but cannot get a pod."""
    await plane.admin.create_service_account(NAMESPACE, "watcher-authgate")
    gate = plane.client(await plane.admin.request_token(NAMESPACE, "watcher-authgate", []))
    values = {"config": {"cluster": {"audiences": ["a"], "revocation": "watch"}}}
    objects = helm.template(values, release="watcher").objects
    assert not await _allowed(gate, "/api/v1/pods")

    kubectl.apply(
        [item for item in objects if item["kind"] in _RBAC and item["metadata"]["name"].endswith(":watch")]
    )

    async def lists() -> bool:
        return await _allowed(gate, "/api/v1/pods")

    await until(lists, within=30)
    allowed = [await _allowed(gate, f"/api/v1/{what}") for what in ("serviceaccounts", "nodes", "secrets")]
    assert allowed == [True, True, False]
    assert not await _allowed(gate, "/api/v1/namespaces/default/pods/any")


def _policy(helm: Helm, values: dict[str, Any]) -> dict[str, Any]:
    spec = helm.template(values).one("NetworkPolicy")["spec"]
    assert isinstance(spec, dict)
    return spec


def test_only_proxies_can_reach_the_verify_port(helm: Helm) -> None:
    """The verify port is open to the configured proxies and to the pod of `helm test`."""
    values = values_of("network-policy")
    verify, _ = _policy(helm, values)["ingress"]
    test = helm.template(values).one("Pod")["metadata"]["labels"]
    *proxies, tester = verify["from"]
    assert verify["ports"] == [{"port": "verify"}]
    assert proxies == values["networkPolicy"]["proxies"]
    assert tester["podSelector"]["matchLabels"].items() <= test.items()


def test_only_monitoring_can_reach_the_admin_port(helm: Helm) -> None:
    """The admin port is open only to the peers under monitoring."""
    values = values_of("network-policy")
    _, admin = _policy(helm, values)["ingress"]
    assert admin == {"ports": [{"port": "admin"}], "from": values["networkPolicy"]["monitoring"]}

    del values["networkPolicy"]["monitoring"]
    assert [rule["ports"] for rule in _policy(helm, values)["ingress"]] == [[{"port": "verify"}]]


def test_the_gate_reaches_what_it_needs(helm: Helm) -> None:
    """Egress is open to DNS, the API server, and the ports of the issuers' URLs, at the configured addresses."""
    dns, api, issuers = _policy(helm, values_of("network-policy"))["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert api == {
        "ports": [{"port": 6443}],
        "to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}, {"ipBlock": {"cidr": "fd00::1/128"}}],
    }
    assert issuers == {
        "ports": [{"port": 443}, {"port": 8443}],
        "to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
    }


def test_static_keys_need_no_egress(helm: Helm) -> None:
    """A gate without a cluster whose issuers' keys are in its configuration reaches only DNS."""
    key = '{"keys": []}'
    issuer = {
        "issuer": {"url": "https://login.example.com", "audiences": ["my-app"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": "example:"}},
        "gate": {"staticKeys": {"inline": key}},
    }
    policy = {"enabled": True, "proxies": [{"podSelector": {}}]}
    assert len(_policy(helm, {"config": {"jwt": [issuer]}, "networkPolicy": policy})["egress"]) == 1


def test_introspection_endpoints_are_reached(helm: Helm) -> None:
    """They are reached at the port of the endpoint, or of the issuer that is used for discovery."""
    server = {
        "name": "opaque",
        "endpoint": "https://login.example.com:8443/introspect",
        "clientAuth": {"clientID": "authgate", "secretFile": "/etc/authgate/secret/client"},
        "audiences": ["my-app"],
        "claimMappings": {"username": {"claim": "sub", "prefix": "opaque:"}},
    }
    values = {
        "config": {"introspection": [server]},
        "volumes": [{"name": "client", "secret": {"secretName": "client"}}],
        "volumeMounts": [{"name": "client", "mountPath": "/etc/authgate/secret"}],
        "networkPolicy": {"enabled": True, "proxies": [{"podSelector": {}}]},
    }
    _, issuers = _policy(helm, values)["egress"]
    assert issuers == {"ports": [{"port": 8443}]}


@pytest.mark.parametrize("peers", [[], [{"podSelector": {"matchLabels": {"app": "collector"}}}]])
def test_the_collector_is_reached(helm: Helm, peers: list[dict[str, Any]]) -> None:
    """Traces are sent to the port of the endpoint."""
    policy = {"enabled": True, "proxies": [{"podSelector": {}}], "collector": peers}
    config = {**MINIMAL["config"], "tracing": {"endpoint": "http://otel-collector.observability:4318"}}
    collector = _policy(helm, {"config": config, "networkPolicy": policy})["egress"][-1]
    assert collector == {"ports": [{"port": 4318}], **({"to": peers} if peers else {})}


def test_without_address_blocks_any_address_is_allowed(helm: Helm) -> None:
    """Without address blocks the API server may be anywhere, on its ports."""
    policy = {"enabled": True, "proxies": [{"podSelector": {}}]}
    _, api = _policy(helm, {**MINIMAL, "networkPolicy": policy})["egress"]
    assert api == {"ports": [{"port": 443}, {"port": 6443}]}


@pytest.mark.parametrize(
    ("config", "ports"),
    [
        ({"jwt": [{"issuer": {"url": "urn:idp"}, "gate": {"jwksURL": "https://a.example:8443/k"}}]}, [8443]),
        (
            {
                "jwt": [
                    {
                        "issuer": {"url": "http://adfs.example:81/trust"},
                        "gate": {"alb": {"region": "eu-west-1"}},
                    }
                ]
            },
            [443],
        ),
        (
            {
                "cluster": {
                    "audiences": ["a"],
                    "issuers": ["https://oidc.example:9443/id"],
                    "keysFrom": "issuer",
                    "tokenReview": {"mode": "never"},
                }
            },
            [9443],
        ),
    ],
    ids=["jwksURL", "alb", "keysFrom"],
)
def test_only_the_hosts_of_keys_are_reached(helm: Helm, config: dict[str, Any], ports: list[int]) -> None:
    """The name of an issuer whose keys are elsewhere opens no port."""
    for item in config.get("jwt", ()):
        item["issuer"]["audiences"] = ["my-app"]
        item["claimMappings"] = {"username": {"claim": "sub", "prefix": "x:"}}
    policy = {"enabled": True, "proxies": [{"podSelector": {}}], "issuers": {"cidrs": ["192.0.2.0/24"]}}
    egress = _policy(helm, {"config": config, "networkPolicy": policy})["egress"]
    assert [port["port"] for port in egress[-1]["ports"]] == ports
