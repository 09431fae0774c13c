"""The objects that a run creates in addition to the chart's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.cluster import PYTHON

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = Path(__file__).resolve().parents[2]
AUDIENCE: Final = "authgate-e2e"
TOKEN_FILE: Final = "/var/run/secrets/caller/token"

_SECURITY: Final = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
_RESOURCES: Final = {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "192Mi"}}

_GREETING: Final = 'return 200 "Hello, $http_x_auth_request_user\\n";'
_ECHO: Final = (
    'return 200 "user=$http_x_auth_request_user\\nuid=$http_x_auth_request_uid\\n'
    "pod=$http_x_auth_request_pod\\nnamespace=$http_x_auth_request_namespace\\n"
    'groups=$http_x_auth_request_groups\\nauthorization=$http_authorization\\n";'
)


def namespace(name: str) -> dict[str, Any]:
    """Return a namespace that accepts only restricted pods."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "authgate.dev/e2e": "true"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def account(name: str) -> dict[str, Any]:
    """Return a ServiceAccount whose token is not mounted by default."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name},
        "automountServiceAccountToken": False,
    }


def legacy_secret(name: str, service_account: str) -> dict[str, Any]:
    """Return a Secret to which the control plane adds a token without an expiry."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": service_account}},
    }


def caller(name: str, service_account: str, image: str) -> dict[str, Any]:
    """Return a pod with its own token for authgate. It runs requests for the tests."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "serviceAccountName": service_account,
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "caller",
                    "image": image,
                    "command": [PYTHON, "-I", "-c", "import time; time.sleep(86400)"],
                    "resources": _RESOURCES,
                    "securityContext": _SECURITY,
                    "volumeMounts": [
                        {"name": "token", "mountPath": str(Path(TOKEN_FILE).parent), "readOnly": True}
                    ],
                }
            ],
            "volumes": [
                {
                    "name": "token",
                    "projected": {
                        "sources": [
                            {
                                "serviceAccountToken": {
                                    "path": "token",
                                    "audience": AUDIENCE,
                                    "expirationSeconds": 3600,
                                }
                            }
                        ]
                    },
                }
            ],
        },
    }


def token_review(token: str) -> dict[str, Any]:
    """Return the TokenReview that authgate also sends."""
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": [AUDIENCE]},
    }


def app_behind_nginx(
    name: str, gate: str, image: str, *, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the objects of an app behind nginx, with deploy/proxies/nginx and authgate at this address.

    The app answers with the headers that nginx forwards.
    """
    return [
        account(name),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {
                "authgate.conf": _replaced(
                    ROOT / "deploy/proxies/nginx/authgate.conf", "server 127.0.0.1:8080;", f"server {gate};"
                ),
                "proxy.conf": (ROOT / "deploy/sidecar/chart/files/proxy.conf").read_text(),
                "app.conf": _replaced(ROOT / "deploy/sidecar/chart/files/app.conf", _GREETING, _ECHO),
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8000}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name, **labels}, "annotations": dict(annotations)},
                    "spec": {
                        "serviceAccountName": name,
                        "automountServiceAccountToken": False,
                        "containers": [_nginx("proxy", image), _nginx("app", image)],
                        "volumes": [
                            {"name": "nginx", "configMap": {"name": name}},
                            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
                        ],
                    },
                },
            },
        },
    ]


def _replaced(file: Path, old: str, new: str) -> str:
    text = file.read_text()
    if old not in text:
        raise ValueError(f"{file} does not contain {old!r}")
    return text.replace(old, new)


def _nginx(name: str, image: str) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": name,
        "image": image,
        "command": ["nginx", "-e", "stderr", "-c", f"/etc/app-nginx/{name}.conf", "-g", "daemon off;"],
        "resources": _RESOURCES,
        "securityContext": _SECURITY,
        "volumeMounts": [
            {"name": "nginx", "mountPath": "/etc/app-nginx", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    if name == "proxy":
        container["readinessProbe"] = {"tcpSocket": {"port": 8000}, "periodSeconds": 1}
    return container
