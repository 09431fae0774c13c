"""Access reviews by a real API server and real RBAC: a permission allows one thing and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.gate import AUDIENCE, Gate, write_configuration
from tests.support.kube import ControlPlane
from tests.support.process import until

RBAC = "/apis/rbac.authorization.k8s.io/v1"
GROUP = "rbac.authorization.k8s.io"
FRESH = {"allowedTTL": "0s", "deniedTTL": "0s"}
"""Nothing is cached, so that a test sees the API server's current answer."""

POLICIES: dict[str, Any] = {
    "request": {"accessReview": {"nonResource": "request", **FRESH}},
    "remembered": {"accessReview": {"nonResource": "request", "allowedTTL": "1h", "deniedTTL": "1h"}},
    "proxy": {
        "accessReview": {
            "resource": {
                "verb": "get",
                "resource": "services",
                "subresource": "proxy",
                "namespace": "{{ .Namespace }}",
                "name": "prometheus",
            },
            **FRESH,
        }
    },
    "other-service": {
        "accessReview": {
            "resource": {
                "verb": "get",
                "resource": "services",
                "subresource": "proxy",
                "namespace": "{{ .Namespace }}",
                "name": "grafana",
            },
            **FRESH,
        }
    },
    "all-services": {
        "accessReview": {
            "resource": {"verb": "get", "resource": "services", "subresource": "proxy"},
            **FRESH,
        }
    },
}


async def gate_of(plane: ControlPlane, namespace: str, folder: Path, *, reviews: bool = True) -> Gate:
    """A gate behind nginx with every policy of this file."""
    own = await plane.gate_token(namespace, reviews=reviews)
    return Gate(
        write_configuration(
            folder,
            plane,
            own,
            cluster={"tokenReview": {"mode": "never"}},
            policies=POLICIES,
            server={"proxy": "nginx"},
        )
    )


async def account(plane: ControlPlane, namespace: str, name: str) -> str:
    """The token of a new account."""
    await plane.admin.create_service_account(namespace, name)
    return await plane.admin.request_token(namespace, name, [AUDIENCE])


async def create_role(
    plane: ControlPlane, name: str, rules: list[dict[str, Any]], *, namespace: str | None = None
) -> None:
    """Create a ClusterRole, or a Role in a namespace."""
    path = f"{RBAC}/clusterroles" if namespace is None else f"{RBAC}/namespaces/{namespace}/roles"
    await plane.admin.call("POST", path, {"metadata": {"name": name}, "rules": rules})


async def bind_role(plane: ControlPlane, namespace: str, role: str, subject: str) -> None:
    """Bind a Role to an account of its namespace."""
    body = {
        "metadata": {"name": role},
        "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": subject}],
    }
    await plane.admin.call("POST", f"{RBAC}/namespaces/{namespace}/rolebindings", body)


async def verdict(
    gate: Gate, policy: str, token: str, method: str = "GET", uri: str = "/metrics"
) -> tuple[int, str]:
    """The status and reason of the answer to a client's request."""
    forwarded = [("X-Original-Method", method), ("X-Original-URI", uri)]
    return (await gate.request(token, f"/policies/{policy}/verify", forwarded)).verdict


async def reviewed(plane: ControlPlane, user: str) -> bool:
    """Whether the API server allows a user to GET /metrics."""
    spec = {"user": user, "nonResourceAttributes": {"path": "/metrics", "verb": "get"}}
    answer = await plane.admin.call(
        "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": spec}
    )
    return answer["status"]["allowed"] is True


async def takes_effect(gate: Gate, policy: str, token: str) -> None:
    """Return when the API server's authorizer knows a new binding."""

    async def allowed() -> bool:
        return await verdict(gate, policy, token) == (200, "")

    await until(allowed, within=30)


async def test_a_cluster_role_opens_one_path(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Permission to GET /metrics does not allow POST, another path or another account."""
    scraper = await account(control_plane, namespace, "scraper")
    other = await account(control_plane, namespace, "other")
    name = f"{namespace}-metrics"
    await create_role(control_plane, name, [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}])
    await control_plane.admin.bind_cluster_role(
        name, name=name, subjects=[f"system:serviceaccount:{namespace}:scraper"]
    )
    async with await gate_of(control_plane, namespace, tmp_path) as gate:
        await takes_effect(gate, "request", scraper)
        seen = {
            (who, method, uri): await verdict(gate, "request", token, method, uri)
            for who, token in (("scraper", scraper), ("other", other))
            for method, uri in (
                ("GET", "/metrics?name=x"),
                ("HEAD", "/metrics"),
                ("POST", "/metrics"),
                ("DELETE", "/metrics"),
                ("GET", "/metrics/x"),
                ("GET", "/"),
                ("GET", "/x?y=/metrics"),
                ("GET", "/x/../metrics"),
                ("GET", "/x%2f..%2fmetrics"),
                ("GET", "//metrics"),
            )
        }

    allowed = [request for request, answer in seen.items() if answer == (200, "")]
    assert allowed == [("scraper", "GET", "/metrics?name=x")]
    assert {answer for request, answer in seen.items() if request not in allowed} == {
        (403, "access_denied"),
        (403, "path_ambiguous"),
    }


async def test_a_role_opens_one_service(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """A Role in one namespace, for a named object, allows only the accounts bound in that namespace."""
    elsewhere = f"{namespace}-b"
    reader = await account(control_plane, namespace, "reader")
    other = await account(control_plane, namespace, "other")
    namesake = await account(control_plane, elsewhere, "reader")
    rules = [
        {
            "apiGroups": [""],
            "resources": ["services/proxy"],
            "resourceNames": ["prometheus"],
            "verbs": ["get"],
        }
    ]
    await create_role(control_plane, "prometheus", rules, namespace=namespace)
    await bind_role(control_plane, namespace, "prometheus", "reader")
    async with await gate_of(control_plane, namespace, tmp_path) as gate:
        await takes_effect(gate, "proxy", reader)
        seen = {
            (who, policy): (await verdict(gate, policy, token))[0]
            for who, token in (("reader", reader), ("other", other), ("namesake", namesake))
            for policy in ("proxy", "other-service", "all-services", "request")
        }

    assert [asked for asked, status in seen.items() if status == 200] == [("reader", "proxy")]
    assert set(seen.values()) == {200, 403}


@pytest.mark.parametrize("order", ["a-", "z-"], ids=["first", "last"])
async def test_a_binding_to_a_role_that_is_missing_changes_nothing(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, order: str
) -> None:
    """An evaluation error does not change the API server's answer."""
    scraper = await account(control_plane, namespace, "scraper")
    subject = f"system:serviceaccount:{namespace}:scraper"
    name = f"m-{namespace}"
    await create_role(control_plane, name, [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}])
    await control_plane.admin.bind_cluster_role(name, name=name, subjects=[subject])
    missing = f"{order}{namespace}"
    await control_plane.admin.bind_cluster_role(missing, name=missing, subjects=[subject])
    async with await gate_of(control_plane, namespace, tmp_path) as gate:
        await takes_effect(gate, "request", scraper)
        assert await verdict(gate, "request", scraper, "GET", "/other") == (403, "access_denied")


async def test_a_cached_allow_is_used_until_its_ttl_or_a_newer_answer(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """It is used for its TTL, by every policy that sends the same access review."""
    scraper = await account(control_plane, namespace, "scraper")
    name = f"{namespace}-metrics"
    await create_role(control_plane, name, [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}])
    await control_plane.admin.bind_cluster_role(
        name, name=name, subjects=[f"system:serviceaccount:{namespace}:scraper"]
    )
    async with await gate_of(control_plane, namespace, tmp_path) as gate:
        await takes_effect(gate, "request", scraper)
        assert await verdict(gate, "remembered", scraper) == (200, "")
        await control_plane.admin.delete(f"{RBAC}/clusterrolebindings/{name}")

        async def refused() -> bool:
            return not await reviewed(control_plane, f"system:serviceaccount:{namespace}:scraper")

        await until(refused, within=30)
        assert await verdict(gate, "remembered", scraper) == (200, "")
        assert await verdict(gate, "request", scraper) == (403, "access_denied")
        assert await verdict(gate, "remembered", scraper) == (403, "access_denied")


async def test_without_the_binding_the_gate_cannot_decide(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the missing ClusterRole and its subject; once bound, the gate works without a restart."""
    scraper = await account(control_plane, namespace, "scraper")
    name = f"{namespace}-metrics"
    await create_role(control_plane, name, [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}])
    await control_plane.admin.bind_cluster_role(
        name, name=name, subjects=[f"system:serviceaccount:{namespace}:scraper"]
    )
    async with await gate_of(control_plane, namespace, tmp_path, reviews=False) as gate:
        await gate.has_keys(within=30)
        assert await verdict(gate, "request", scraper) == (503, "access_review_forbidden")
        gate_account = f"system:serviceaccount:{namespace}:gate"
        logged = [str(vars(record).get("attributes")) for record in caplog.records]
        assert any(
            "not allowed to create subjectaccessreviews" in line
            and f"bind the ClusterRole system:auth-delegator to {gate_account}" in line
            for line in logged
        )
        await control_plane.admin.bind_cluster_role(
            "system:auth-delegator", name=f"{namespace}-late", subjects=[gate_account]
        )
        await takes_effect(gate, "request", scraper)


async def test_a_cluster_role_opens_the_admin_port(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """With `admin.policy`, the permission that Prometheus has for other metrics opens authgate's own, and no more."""
    scraper = await account(control_plane, namespace, "scraper")
    other = await account(control_plane, namespace, "other")
    name = f"{namespace}-admin"
    await create_role(control_plane, name, [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}])
    await control_plane.admin.bind_cluster_role(
        name, name=name, subjects=[f"system:serviceaccount:{namespace}:scraper"]
    )
    own = await control_plane.gate_token(namespace)
    file = write_configuration(
        tmp_path,
        control_plane,
        own,
        policies={"default": {}, "admin": {"accessReview": {"nonResource": "request", **FRESH}}},
        admin={"policy": "admin"},
    )
    async with Gate(file) as gate:

        async def opened() -> bool:
            return (await gate.admin("/metrics", scraper)).status == 200

        await until(opened, within=30)
        assert [(await gate.admin(path, scraper)).verdict for path in ("/", "/status")] == [
            (403, "access_denied")
        ] * 2
        assert (await gate.admin("/metrics", other)).verdict == (403, "access_denied")
        assert (await gate.admin("/metrics")).verdict == (401, "no_credential")
        assert (await gate.admin("/readyz")).status == 200
