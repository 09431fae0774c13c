"""Errors of helm for values that are wrong or incompatible, before anything reaches the cluster."""

from typing import Any

import pytest

from tests.support.helm import MINIMAL, Helm, HelmError, values_of

CLUSTER = MINIMAL["config"]["cluster"]


def _config(**sections: Any) -> dict[str, Any]:
    return {"config": {"cluster": CLUSTER, **sections}}


@pytest.mark.parametrize(
    ("values", "path", "what"),
    [
        pytest.param(
            {"replica": 3}, "/", "additional properties 'replica' not allowed", id="a value of the chart"
        ),
        pytest.param(
            {**MINIMAL, "rbac": {"sidecar": []}},
            "/rbac",
            "additional properties 'sidecar' not allowed",
            id="a nested value",
        ),
        pytest.param(
            {"config": {"cluster": {"audiences": ["a"], "audience": "b"}}},
            "/config/cluster",
            "additional properties 'audience' not allowed",
            id="a field of the configuration",
        ),
        pytest.param(
            _config(policies={"default": {"alow": []}}),
            "/config/policies/default",
            "additional properties 'alow' not allowed",
            id="a field below a name",
        ),
        pytest.param(
            {"config": {"cluster": {"audiences": "my-audience"}}},
            "/config/cluster/audiences",
            "got string, want array",
            id="a bare audience",
        ),
        pytest.param(
            {"config": {"cluster": {"audiences": []}}},
            "/config/cluster/audiences",
            "minItems: got 0, want 1",
            id="no audiences",
        ),
        pytest.param(
            {"config": {"cluster": {}}},
            "/config/cluster",
            "missing property 'audiences'",
            id="no audiences at all",
        ),
        pytest.param(
            _config(cache={"ttl": "sixty"}), "/config/cache/ttl", "does not match pattern", id="a duration"
        ),
        pytest.param(_config(cache={"ttl": ""}), "/config/cache/ttl", "minLength", id="an empty duration"),
        pytest.param(
            _config(cache={"ttl": 86401}),
            "/config/cache/ttl",
            "maximum: got 86,401, want 86,400",
            id="a bound",
        ),
        pytest.param({**MINIMAL, "mode": "both"}, "/mode", "value must be one of", id="a mode"),
        pytest.param(
            {**MINIMAL, "tokenExpirationSeconds": 60},
            "/tokenExpirationSeconds",
            "minimum",
            id="a short token",
        ),
        pytest.param(
            {**MINIMAL, "networkPolicy": {"proxies": [{}]}},
            "/networkPolicy/proxies/0",
            "minProperties",
            id="any peer",
        ),
        pytest.param(
            {**MINIMAL, "sidecar": {"listen": "0.0.0.0:8080"}},
            "/sidecar/listen",
            "does not match pattern",
            id="a sidecar that is open to others",
        ),
        pytest.param(
            {**MINIMAL, "rbac": {"tokenRequests": [{"serviceAccount": "shop", "subjects": []}]}},
            "/rbac/tokenRequests/0/subjects",
            "minItems",
            id="token requests without subjects",
        ),
        pytest.param(
            {
                **MINIMAL,
                "rbac": {
                    "tokenRequests": [
                        {
                            "serviceAccount": "s",
                            "subjects": [{"kind": "Group", "name": "g", "namespace": "n"}],
                        }
                    ]
                },
            },
            "/rbac/tokenRequests/0/subjects/0",
            "additional properties 'namespace' not allowed",
            id="a group in a namespace",
        ),
        pytest.param(
            {**MINIMAL, "sidecarInjection": {"policies": {"default": {"allow": []}}}},
            "/sidecarInjection/policies/default/allow",
            "minItems",
            id="a policy that allows no identity",
        ),
        pytest.param(
            {**MINIMAL, "sidecarInjection": {"config": {"cluster": {"audiences": ["a"]}}}},
            "/sidecarInjection/config/cluster",
            "additional properties 'audiences' not allowed",
            id="an audience of all injected gates",
        ),
    ],
)
def test_the_schema_names_the_path(helm: Helm, values: dict[str, Any], path: str, what: str) -> None:
    """An unknown or invalid value is rejected with its path."""
    with pytest.raises(HelmError) as refused:
        helm.template(values)
    lines = [line for line in str(refused.value).splitlines() if f"at '{path.removesuffix('/')}':" in line]
    assert any(what in line for line in lines), str(refused.value)


_SIGNING = {"issuer": "https://gate.example.com"}
_EXCHANGE = {"listen": "0.0.0.0:8081", "audiences": {"default": ["shop"]}}
_ONE = {"replicas": 1}
_TOKENS: dict[str, Any] = {"serviceAccount": "shop", "subjects": [{"kind": "User", "name": "someone"}]}
_ISSUER: dict[str, Any] = {
    "issuer": {"url": "https://login.example.com", "audiences": ["my-app"]},
    "claimMappings": {"username": {"claim": "sub", "prefix": "example:"}},
}


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        pytest.param(
            {"config": {"cluster": {"audiences": ["a"], "tokenreview": {}}}},
            ["- at '/config/cluster': additional properties 'tokenreview' not allowed"],
            id="in a cluster",
        ),
        pytest.param(
            {"config": {"cluster": [{"audiences": ["a"], "revocation": "wacth"}]}},
            ["- at '/config/cluster/0/revocation': value must be one of 'none', 'watch'"],
            id="in a list of clusters",
        ),
        pytest.param(
            {"config": {"cluster": {"audience": ["a"]}}},
            [
                "- at '/config/cluster': validation failed",
                "  - at '/config/cluster': additional properties 'audience' not allowed",
                "  - at '/config/cluster': missing property 'audiences'",
            ],
            id="of a required field",
        ),
        pytest.param(
            _config(policies={"default": {"allow": [{"group": ["x"]}]}}),
            ["- at '/config/policies/default/allow/0': additional properties 'group' not allowed"],
            id="in a list that may be null",
        ),
        pytest.param(
            {"config": {"cluster": "my-audience"}},
            ["- at '/config/cluster': got string, want object"],
            id="a wrong type",
        ),
    ],
)
@pytest.mark.parametrize("program", ["helm", "helm4"])
def test_the_useful_line_is_first(
    request: pytest.FixtureRequest, program: str, values: dict[str, Any], lines: list[str]
) -> None:
    """A misspelt name has a line of its own, and other alternatives of the schema have no lines."""
    helm: Helm = request.getfixturevalue(program)
    with pytest.raises(HelmError) as refused:
        helm.template(values)
    shown = str(refused.value).partition("authgate:\n")[2]
    assert shown.rstrip().splitlines() == lines


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        pytest.param({}, "config accepts no tokens: set config.cluster.audiences", id="nothing"),
        pytest.param(
            {"config": {"cluster": None, "jwt": []}},
            "config accepts no tokens",
            id="neither cluster nor issuer",
        ),
        pytest.param(
            _config(server={"listen": ["127.0.0.1:8080", "unix:/run/gate.sock"]}),
            "config.server.listen has no address that proxies in other pods can reach",
            id="a gate for itself",
        ),
        pytest.param(
            _config(server={"admin": "127.0.0.1:9090"}),
            "config.server.admin must be an address",
            id="deaf to probes",
        ),
        pytest.param(
            _config(server={"admin": None}), "config.server.admin must be an address", id="no probes"
        ),
        pytest.param(
            {**MINIMAL, "autoscaling": {"enabled": True, "minReplicas": 11}},
            "autoscaling.minReplicas is more than autoscaling.maxReplicas",
            id="an autoscaler with no room",
        ),
        pytest.param(
            {**MINIMAL, "autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}},
            "autoscaling.enabled needs resources.requests.cpu",
            id="an autoscaler with nothing to go by",
        ),
        pytest.param(
            {
                **MINIMAL,
                "networkPolicy": {"enabled": True, "proxies": [{"podSelector": {}}]},
                "podMonitor": {"enabled": True},
            },
            "networkPolicy.monitoring is empty, so Prometheus could not scrape the admin port",
            id="a monitor behind a closed port",
        ),
        *(
            pytest.param(
                {
                    **_config(policies={"p": {"audiences": ["a"]}}, admin={"policy": "p"}),
                    monitor: {"enabled": True},
                },
                f"config.admin.policy is set, so Prometheus needs a token to scrape: set {monitor}.authorization",
                id=f"a {monitor} without a token",
            )
            for monitor in ("podMonitor", "serviceMonitor")
        ),
        pytest.param(
            _config(admin={"recentDecisions": 10}),
            "config.admin.recentDecisions shows user names to everyone who can reach the admin port",
            id="recent decisions without a policy",
        ),
        pytest.param(
            {**MINIMAL, "networkPolicy": {"enabled": True}},
            "networkPolicy.proxies is empty, so no proxy could reach the verify port",
            id="a closed network",
        ),
        pytest.param(
            {**MINIMAL, "sidecar": {"listen": "127.0.0.1:15081"}},
            "sidecar.listen and sidecar.admin have the same port",
            id="a sidecar with one port",
        ),
        pytest.param(
            _config(server={"grpc": "127.0.0.1:9001"}),
            "config.server.grpc is not an address that Envoy in other pods can reach",
            id="gRPC for itself",
        ),
        pytest.param(
            _config(server={"grpc": "0.0.0.0:8080", "listen": ["0.0.0.0:8081"]}),
            "config.server.grpc has the same port as another port of the Service",
            id="gRPC on the Service's port",
        ),
        pytest.param(
            _config(signing=_SIGNING, exchange=_EXCHANGE, server={"grpc": "0.0.0.0:8081"}) | _ONE,
            "config.server.grpc has the same port as another port of the Service",
            id="gRPC on the exchange's port",
        ),
        pytest.param(
            _config(signing=_SIGNING, exchange={**_EXCHANGE, "listen": "127.0.0.1:8081"}) | _ONE,
            "config.exchange.listen is not an address that other pods can reach",
            id="an exchange for itself",
        ),
        pytest.param(
            _config(signing=_SIGNING, exchange={**_EXCHANGE, "listen": "0.0.0.0:8080"}) | _ONE,
            "config.exchange.listen and service.port have the same port",
            id="two ports that are one",
        ),
        pytest.param(
            _config(signing=_SIGNING, exchange=_EXCHANGE)
            | {**_ONE, "networkPolicy": {"enabled": True, "proxies": [{"podSelector": {}}]}},
            "networkPolicy.exchange is empty, so no client could exchange a token",
            id="a closed exchange",
        ),
        pytest.param(
            _config(signing=_SIGNING, exchange=_EXCHANGE),
            "config.signing.keyFiles is empty, so every pod would sign with its own key",
            id="a key for each gate",
        ),
        pytest.param(
            {**MINIMAL, "serviceAccount": {"create": False}},
            "serviceAccount.name is required if serviceAccount.create is false",
            id="the default account",
        ),
        pytest.param(
            {**MINIMAL, "env": [{"name": "AUTHGATE_LOG__LEVEL", "value": "debug"}]},
            "env: AUTHGATE_LOG__LEVEL is authgate configuration",
            id="configuration in the environment",
        ),
        pytest.param(
            _config(server={"tls": {"certFile": "/tls/tls.crt", "keyFile": "/keys/tls.key"}})
            | {"volumeMounts": [{"name": "tls", "mountPath": "/tls"}]},
            "config.server.tls.keyFile is /keys/tls.key, which is not mounted",
            id="a file that is nowhere",
        ),
        pytest.param(
            {"config": {"jwt": [{**_ISSUER, "gate": {"keys": {"tokenFile": "/tokens-of-mine/token"}}}]}}
            | {"volumeMounts": [{"name": "tokens", "mountPath": "/tokens"}]},
            "config.jwt[0].gate.keys.tokenFile is /tokens-of-mine/token, which is not mounted",
            id="a folder that only begins alike",
        ),
        pytest.param(
            {"mode": "sidecar", "autoscaling": {"enabled": True}},
            "autoscaling.enabled works only with mode shared",
            id="an autoscaler for sidecars",
        ),
        pytest.param(
            {"mode": "sidecar", "networkPolicy": {"enabled": True}},
            "networkPolicy.enabled works only with mode shared",
            id="a network policy for sidecars",
        ),
        pytest.param(
            {**MINIMAL, "podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}},
            "podMonitor.enabled and serviceMonitor.enabled would scrape every pod twice: set only one of them",
            id="two monitors",
        ),
        pytest.param(
            {"mode": "sidecar", "serviceMonitor": {"enabled": True}},
            "serviceMonitor.enabled needs a Service, and sidecars have none",
            id="a service monitor for sidecars",
        ),
        pytest.param(
            {**MINIMAL, "rbac": {"tokenRequests": [_TOKENS, {**_TOKENS, "namespace": "authgate"}]}},
            "rbac.tokenRequests lists authgate/shop twice: put all its subjects into one entry",
            id="one account twice",
        ),
        pytest.param(
            {"mode": "sidecar", "sidecarInjection": {"enabled": True, "config": {"server": {"admin": ":1"}}}},
            "sidecarInjection.config.server.admin has no effect in a sidecar: set sidecar.admin",
            id="two addresses",
        ),
        pytest.param(
            {
                "mode": "sidecar",
                "sidecarInjection": {"enabled": True, "config": {"cluster": {"kubeconfig": "/east/config"}}},
            },
            "sidecarInjection.config.cluster.kubeconfig is /east/config, which is not mounted",
            id="a file in every pod",
        ),
    ],
)
def test_incompatible_values_are_rejected_with_a_remedy(
    helm: Helm, values: dict[str, Any], sentence: str
) -> None:
    """Values that are valid alone but incompatible are rejected with a message about what to do."""
    with pytest.raises(HelmError) as refused:
        helm.template(values)
    assert sentence in str(refused.value)


def test_a_projected_account_token_needs_no_volume(helm: Helm) -> None:
    """An issuer's keys can be fetched with the gate's own token, which is already mounted."""
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    issuer = {**_ISSUER, "gate": {"keys": {"tokenFile": token}}}
    assert helm.template(_config(jwt=[issuer])).pod


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("1.28.0", "chart requires kubeVersion: >=1.29.0-0"),
        ("1.33.5", "needs the API MutatingAdmissionPolicy, which Kubernetes v1.33.5 does not have"),
    ],
)
def test_a_cluster_that_is_too_old_is_rejected(helm: Helm, version: str, sentence: str) -> None:
    """The message names what the cluster lacks for a feature."""
    with pytest.raises(HelmError) as refused:
        helm.template(values_of("injection"), "--kube-version", version)
    assert sentence in str(refused.value)


WATCH = {"audiences": ["a"], "revocation": "watch", "tokenReview": {"mode": "never"}}
BLIND = {name: WATCH[name] for name in ("revocation", "tokenReview")}
WHY = "watch needs TokenReview while it is disconnected: set tokenReview.mode to fallback or always"


@pytest.mark.parametrize(
    "values",
    [
        {"config": {"cluster": WATCH}},
        {"config": {"cluster": [{**WATCH, "name": "b"}]}},
        {"config": {"cluster": CLUSTER}, "sidecarInjection": {"enabled": True, "config": {"cluster": BLIND}}},
    ],
    ids=["cluster", "list", "injected"],
)
def test_a_watch_without_reviews_is_rejected_by_helm(helm: Helm, values: dict[str, Any]) -> None:
    """The schema rejects it. If helm skips the schema, the chart does, with the gate's message."""
    for skipped in ((), ("--skip-schema-validation",)):
        with pytest.raises(HelmError) as caught:
            helm.template(values, *skipped)
        assert WHY in str(caught.value)


def test_static_keys_with_reviews_are_rejected(helm: Helm) -> None:
    """The gate would reject them at startup."""
    keys = {"audiences": ["a"], "issuers": ["x"], "staticKeys": {"inline": "{}"}}
    with pytest.raises(HelmError) as caught:
        helm.template({"config": {"cluster": keys}})
    assert "missing property 'tokenReview'" in str(caught.value)
