"""`make e2e`: test the image and the chart with real pods in a cluster.

It needs kubectl, helm, a KUBECONFIG with all rights, and the images on the nodes (on kind: `kind load docker-image
authgate:dev`). Everything runs in one namespace, which must not exist before and is deleted at the end. The chart's
objects outside the namespace are deleted with its releases. Variables:

- IMAGE (authgate:dev): authgate's image
- NGINX_IMAGE (nginx:1.28): any image with nginx in its PATH
- NAMESPACE (authgate-e2e)
- SLOW=1: run the tests that take ten minutes, too
- KEEP=1: delete nothing at the end
"""

from __future__ import annotations

import json
import os
import re
import sys

from tests.e2e import deletions, disturbing, installing, tokens
from tests.e2e.cluster import Cluster, CommandError
from tests.e2e.objects import account, caller, namespace
from tests.e2e.stage import CALLER, Report, Stage

PARTS = (
    installing.the_chart,
    installing.shared,
    installing.embedded,
    installing.injected,
    tokens.every_kind,
    deletions.watched,
    deletions.a_deleted_pod,
    tokens.every_extra,
    disturbing.an_upgrade,
    disturbing.a_deletion,
    disturbing.a_kill,
    tokens.its_own_token,
)


def set_up(name: str) -> Stage:
    """Check that the cluster is reachable and that the namespace does not exist."""
    cluster, report = Cluster(name), Report()
    version = json.loads(cluster.kubectl("version", "--output", "json"))["serverVersion"]
    issuer = json.loads(cluster.kubectl("get", "--raw", "/.well-known/openid-configuration"))["issuer"]
    if cluster.kubectl("get", "namespace", name, "--ignore-not-found", "--output", "name"):
        raise CommandError(
            f"the namespace {name} already exists: delete it, or set NAMESPACE to another name"
        )
    report.note(f"Kubernetes {version['gitVersion']}, issuer {issuer}")
    return Stage(
        cluster,
        report,
        image=os.environ.get("IMAGE") or "authgate:dev",
        nginx=os.environ.get("NGINX_IMAGE") or "nginx:1.28",
        minor=int(re.sub(r"\D", "", version["minor"])),
        issuer=issuer,
    )


def tear_down(stage: Stage) -> None:
    """Delete everything that was created, in the namespace and outside of it."""
    installed = json.loads(stage.cluster.helm("list", "--all", "--output", "json"))
    for release in installed:
        stage.cluster.helm("uninstall", release["name"], "--wait", "--timeout", "90s")
    stage.cluster.kubectl("delete", "namespace", stage.cluster.namespace, "--timeout", "120s")


def main() -> int:
    """Run every part in turn. A part that fails does not stop the next ones."""
    try:
        stage = set_up(os.environ.get("NAMESPACE") or "authgate-e2e")
    except CommandError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        stage.cluster.apply(namespace(stage.cluster.namespace))
        stage.cluster.apply(account(CALLER), caller(CALLER, CALLER, stage.image))
        stage.cluster.kubectl("wait", "--for=condition=Ready", f"pod/{CALLER}", "--timeout", "120s")
        for part in PARTS:
            try:
                part(stage)
            except CommandError as error:
                stage.report.check(part.__name__, False, error)
    finally:
        if os.environ.get("KEEP") != "1":
            tear_down(stage)
    sys.stdout.write(f"\n{stage.report.shown} passed, {stage.report.wrong} failed\n")
    return 1 if stage.report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
