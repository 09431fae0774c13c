"""Install the chart, run its own test, and protect an app in each of the three ways."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.cluster import eventually
from tests.e2e.objects import AUDIENCE, ROOT, app_behind_nginx
from tests.e2e.stage import CALLER

if TYPE_CHECKING:
    from tests.e2e.stage import Stage

CHART: Final = str(ROOT / "helm/authgate")
_CHART: Final = "app.kubernetes.io/name=authgate,app.kubernetes.io/component=gate"
GATE: Final = f"{_CHART},app.kubernetes.io/instance=authgate"
STRICT_GATE: Final = f"{_CHART},app.kubernetes.io/instance=strict"
MAX_AGE: Final = 5
INJECTION_SINCE: Final = 36

_CONFINED: Final = """
import os
def writable(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return type(error).__name__ + " " + os.strerror(error.errno)
    return "written"
print(os.getuid(), os.getgid(), writable("/opt/authgate/x"), writable("/tmp/x"), sep=", ")
"""


def install(stage: Stage, release: str, values: dict[str, Any], chart: str = CHART) -> float:
    """Install or upgrade a release, wait until it is ready, and return the seconds that it took."""
    started = time.monotonic()
    stage.cluster.helm("upgrade", "--install", release, chart, "--wait", "--timeout", "180s", values=values)
    return time.monotonic() - started


def shared_values(stage: Stage) -> dict[str, Any]:
    """Return the values of a gate that verifies with the cluster's keys, and sends a review if they cannot decide."""
    review = {"legacyAudiences": [stage.issuer]}
    values: dict[str, Any] = {
        "image": stage.gate_image(),
        "config": {"cluster": {"audiences": [AUDIENCE], "tokenReview": review}},
    }
    if stage.minor >= INJECTION_SINCE:
        here = {"matchLabels": {"kubernetes.io/metadata.name": stage.cluster.namespace}}
        values["sidecarInjection"] = {"enabled": True, "audience": AUDIENCE, "namespaceSelector": here}
        values["rbac"] = {"sidecars": [{"serviceAccount": "injected"}]}
    return values


def strict_values(stage: Stage, preset: str = "oauth2-proxy") -> dict[str, Any]:
    """Return the values of a gate that needs a review for every token, and uses its answer for a few seconds."""
    review = {"mode": "always", "maxAge": f"{MAX_AGE}s", "legacyAudiences": [stage.issuer]}
    return {
        "image": stage.gate_image(),
        "replicas": 1,
        "tokenExpirationSeconds": 600,
        "config": {
            "cluster": {"audiences": [AUDIENCE], "tokenReview": review},
            "headers": {"preset": preset},
        },
    }


def the_chart(stage: Stage) -> None:
    """Install two releases, run `helm test` for both, and check the restrictions of the gate's container."""
    report, cluster = stage.report, stage.cluster
    report.part("the chart")
    report.check(
        "helm install --wait, two gates", True, f"{install(stage, 'authgate', shared_values(stage)):.1f} s"
    )
    took = install(stage, "strict", strict_values(stage))
    report.check("helm install --wait, one gate with tokenReview.mode: always", True, f"{took:.1f} s")
    for release in ("authgate", "strict"):
        said = cluster.helm("test", release, "--timeout", "90s")
        lines = [line for line in said.splitlines() if line.startswith(("ok:", "WRONG:"))]
        report.check(f"helm test {release}", len(lines) == 2, " / ".join(lines))
    (gate, *_) = [pod["metadata"]["name"] for pod in cluster.pods(GATE)]
    healthy = cluster.kubectl("exec", gate, "--", "/opt/authgate/bin/authgate", "healthcheck", "--ready")
    report.check("authgate healthcheck --ready", True, " / ".join(healthy.split("\n")).strip(" /"))
    seen = cluster.python(gate, _CONFINED).strip()
    report.check("not root, nothing to write", seen.startswith("65532, ") and "written" not in seen, seen)
    sizes = {
        image["sizeBytes"]
        for node in cluster.get("nodes")["items"]
        for image in node["status"].get("images", [])
        if any(name.endswith(stage.image) for name in image.get("names") or [])
    }
    report.note(f"size of the image on the node: {max(sizes, default=0) / 1e6:.0f} MB")


def shared(stage: Stage) -> None:
    """Protect an app behind nginx with the shared gate's Service."""
    stage.report.part("an app behind nginx, with the shared gate")
    stage.cluster.apply(*app_behind_nginx("shared", "authgate:8080", stage.nginx, labels={}, annotations={}))
    guarded(stage, "shared")


def embedded(stage: Stage) -> None:
    """Install deploy/sidecar unchanged: the chart's template adds authgate to the app's own pod."""
    stage.report.part("the same with a gate embedded in the pod (deploy/sidecar)")
    with tempfile.TemporaryDirectory() as scratch:
        chart = Path(scratch) / "app"
        # The same as `helm dependency update`, but without writing into the checkout.
        shutil.copytree(ROOT / "deploy/sidecar/chart", chart)
        shutil.copytree(CHART, chart / "charts/authgate")
        took = install(
            stage,
            "app",
            {
                "image": stage.nginx,
                "authgate": {
                    "image": stage.gate_image(),
                    "config": {"cluster": {"audiences": [AUDIENCE]}},
                },
            },
            str(chart),
        )
    stage.report.check("helm install --wait", True, f"{took:.1f} s")
    token = stage.token_of(CALLER)
    refused, passed = stage.ask("http://app/"), stage.ask("http://app/", token)
    name = f"system:serviceaccount:{stage.cluster.namespace}:{CALLER}"
    stage.report.check("no token", refused.status == 401, refused.outcome)
    stage.report.check("a pod's token", passed.body == f"Hello, {name}\n", passed.body.strip())


def injected(stage: Stage) -> None:
    """Protect a pod with a label: the API server adds authgate to it."""
    stage.report.part("the same with a gate injected by MutatingAdmissionPolicy")
    if stage.minor < INJECTION_SINCE:
        stage.report.note(f"left out: Kubernetes 1.{stage.minor} needs a feature gate for it; 1.36 does not")
        return
    app = app_behind_nginx(
        "injected", "127.0.0.1:15080", stage.nginx, labels={"authgate.dev/inject": "true"}, annotations={}
    )
    stage.cluster.apply(*app)
    guarded(stage, "injected")
    (pod,) = stage.cluster.pods("app=injected")
    gates = [c["name"] for c in pod["spec"]["initContainers"] if c.get("restartPolicy") == "Always"]
    stage.report.check(
        "its pod has a native sidecar that its Deployment does not name", gates == ["authgate"], gates
    )


def guarded(stage: Stage, name: str) -> None:
    """Wait for an app, and check what is allowed and which identity its nginx forwards."""
    report, url = stage.report, f"http://{name}/"
    stage.cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout", "120s")
    token = stage.token_of(CALLER)
    # kube-proxy configures a new Service a moment after the Deployment is ready.
    reachable = eventually(f"{url} answers", 60, lambda: stage.ask(url).status == 401)
    refused = stage.ask(url)
    challenge = refused.headers.get("www-authenticate", "")
    report.check(
        "no token",
        refused.status == 401 and challenge.startswith("Bearer"),
        f"{refused.outcome}, {challenge}",
    )
    report.note(f"reachable {reachable:.1f} s after its rollout")
    garbage = stage.ask(url, "not.a.token")
    report.check("no JWT", garbage.status == 401, garbage.outcome)
    passed = stage.ask(url, token, {"X-Auth-Request-User": "admin", "X-Auth-Request-Email": "a@example.com"})
    seen = dict(line.split("=", 1) for line in passed.body.splitlines())
    wanted = f"system:serviceaccount:{stage.cluster.namespace}:{CALLER}"
    report.check("a pod's token; the app gets the user", seen.get("user") == wanted, seen.get("user"))
    report.check(
        "the app gets the pod's name (X-Auth-Request-Pod)", seen.get("pod") == CALLER, seen.get("pod")
    )
    report.check("the app does not get the token", seen.get("authorization") == "", seen.get("authorization"))
