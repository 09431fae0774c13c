"""The folders of deploy/examples: an API server, the chart, the gate and systemd accept their files."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from authgate.config import load
from tests.chart.dry_run import DryRun
from tests.support.helm import CHART, ROOT, Helm, Kubectl, Object
from tests.support.tools import require_tool

EXAMPLES = ROOT / "deploy" / "examples"
MANIFESTS = sorted(
    str(path.relative_to(EXAMPLES))
    for path in EXAMPLES.glob("*/*.yaml")
    if path.name not in ("authgate.yaml", "tests.yaml", "values.yaml")  # the gate's and the chart's
)
UNIT = EXAMPLES / "vm" / "authgate.service"

PROMETHEUS = EXAMPLES / "vm" / "prometheus.yml"

_EXPOSURE = 15
"""The highest exposure that `systemd-analyze security` may report, in tenths; systemd 252 reports 1.2."""


def objects_of(name: str) -> list[Object]:
    """The objects of a file."""
    return [item for item in yaml.safe_load_all((EXAMPLES / name).read_text()) if item]


@pytest.mark.parametrize("name", MANIFESTS)
async def test_the_api_server_accepts_every_object(dry_run: DryRun, kubectl: Kubectl, name: str) -> None:
    """There is no unknown field or warning, and its pods meet the level of their namespace."""
    objects = objects_of(name)
    spaces = [item for item in objects if item["kind"] == "Namespace"]
    spaces += [
        _namespace(item["metadata"]["namespace"]) for item in objects if "namespace" in item["metadata"]
    ]
    kubectl.run("apply", "--server-side", "--filename=-", text=yaml.safe_dump_all(spaces))
    others = [item for item in objects if item["kind"] != "Namespace"]
    made = await dry_run.create_all(others + [_pod(item) for item in others if item["kind"] == "Deployment"])
    assert [item.warnings for item in made if item.warnings] == []


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _pod(deployment: Object) -> Object:
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": "pod", "namespace": deployment["metadata"]["namespace"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@pytest.mark.parametrize(
    ("folder", "release", "service"),
    [
        ("dashboard", "dashboard", "dashboard-authgate.kubernetes-dashboard.svc:8080/verify"),
        ("prometheus", "authgate", "authgate.authgate.svc:8080/policies/metrics/verify"),
    ],
)
async def test_the_chart_accepts_the_values(
    helm: Helm, dry_run: DryRun, kubectl: Kubectl, tmp_path: Path, folder: str, release: str, service: str
) -> None:
    """The API server accepts the release of the README, and nginx uses its Service and one of its policies."""
    name, namespace = service.partition(":")[0].split(".")[:2]
    rendered = helm.template(EXAMPLES / folder / "values.yaml", release=release, namespace=namespace)
    kubectl.run("apply", "--server-side", "--filename=-", text=yaml.safe_dump(_namespace(namespace)))
    made = await dry_run.create_all(rendered.objects)
    assert [item.warnings for item in made if item.warnings] == []

    assert rendered.one("Service")["metadata"]["name"] == name
    pods = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    scraped = [
        item
        for path in MANIFESTS
        if path.startswith(folder)
        for item in objects_of(path)
        if item["kind"] == "Service" and item["metadata"]["namespace"] == namespace and folder == "prometheus"
    ]
    assert all(item["spec"]["selector"].items() <= pods.items() for item in scraped)
    assert len(scraped) == (folder == "prometheus")
    proxied = next(path for path in MANIFESTS if path.startswith(folder))
    assert f"proxy_pass http://{service};" in (EXAMPLES / proxied).read_text()
    (held,) = [item["data"] for item in rendered.all("ConfigMap") if "authgate.yaml" in item["data"]]
    file = tmp_path / "authgate.yaml"
    file.write_text(held["authgate.yaml"])
    policy = service.partition("/policies/")[2].partition("/")[0] or "default"
    assert policy in load(file, {}).config.policies


def test_the_unit_is_hardened() -> None:
    """systemd-analyze finds few permissions that the service does not need."""
    analyze = require_tool("systemd-analyze", "it judges the unit")
    command: list[str | Path] = [analyze, "security", "--offline=true", "--no-pager", UNIT]
    command.append(f"--threshold={_EXPOSURE}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_is_valid(tmp_path: Path) -> None:
    """systemd accepts every line of it. Another program replaces authgate, which is not installed here."""
    analyze = require_tool("systemd-analyze", "it judges the unit")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/authgate/bin/authgate", sys.executable))
    command: list[str | Path] = [analyze, "verify", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if UNIT.name in line] == []
    assert done.returncode == 0


def test_the_unit_waits_for_the_shutdown(tmp_path: Path) -> None:
    """systemd kills the gate only after the longest time of its own shutdown."""
    file = tmp_path / "authgate.yaml"
    text = (EXAMPLES / "vm" / "authgate.yaml").read_text()
    file.write_text(text.replace("/etc/authgate/", f"{EXAMPLES / 'vm'}/"))
    (timeout,) = [line for line in UNIT.read_text().splitlines() if line.startswith("TimeoutStopSec=")]
    shutdown = load(file, {}).config.shutdown
    assert float(timeout.partition("=")[2].removesuffix("s")) > shutdown.delay + shutdown.timeout


def test_prometheus_accepts_the_example(tmp_path: Path) -> None:
    """With the chart's alerts, and the admin port of the example."""
    file = tmp_path / PROMETHEUS.name
    file.write_text(PROMETHEUS.read_text())
    (tmp_path / "authgate-alerts.yaml").write_text((CHART / "files" / "alerts.yaml").read_text())
    promtool = require_tool("promtool", "it judges the example")
    done = subprocess.run([promtool, "check", "config", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (job,) = yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]
    gate = yaml.safe_load((EXAMPLES / "vm" / "authgate.yaml").read_text())
    assert job["static_configs"] == [{"targets": [gate["server"]["admin"]]}]
