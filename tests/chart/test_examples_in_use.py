"""The examples of deploy/examples work with their own files, a real nginx, Prometheus and API server."""

import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from tests.chart.test_examples import EXAMPLES, UNIT, objects_of
from tests.support.fake_api import FakeAPI, always
from tests.support.gate import Client, Gate
from tests.support.helm import Helm, Kubectl
from tests.support.kube import ControlPlane
from tests.support.nginx import EchoApp, Nginx, protected_app
from tests.support.process import ChildProcess, accepts, free_port, until
from tests.support.prometheus import Prometheus, prometheus
from tests.support.tools import require_tool


@asynccontextmanager
async def example_gate(helm: Helm, plane: ControlPlane, folder: Path, example: str) -> AsyncIterator[Gate]:
    """The gate that the chart renders from an example's values, with the rights for reviews."""
    rendered = helm.template(EXAMPLES / example / "values.yaml", release=example)
    (held,) = [item["data"] for item in rendered.all("ConfigMap") if "authgate.yaml" in item["data"]]
    file = folder / "authgate.yaml"
    file.write_text(held["authgate.yaml"])
    token = await plane.gate_token(f"{example}-gate")
    account = plane.write_in_cluster_folder(folder / "account", token=token, namespace=f"{example}-gate")
    async with Gate(file, plane.in_cluster_environment(), account) as gate:
        await gate.has_keys(within=30)
        yield gate


@asynccontextmanager
async def example_nginx(manifest: str, folder: Path, places: Mapping[str, str]) -> AsyncIterator[str]:
    """Run nginx with the ConfigMap of a manifest, with these addresses instead of the cluster's, and yield its URL."""
    (data,) = [item["data"] for item in objects_of(manifest) if item["kind"] == "ConfigMap"]
    port = free_port()
    text: str = data["nginx.conf"].replace("/tmp/", f"{folder}/")
    listen = next(line.strip() for line in text.splitlines() if line.strip().startswith("listen "))
    for placeholder, address in {listen: f"listen 127.0.0.1:{port};", **places}.items():
        assert text.count(placeholder) == 1, placeholder
        text = text.replace(placeholder, address)
    file = folder / "nginx.conf"
    file.write_text(text)
    # Started by root, nginx would run its workers as a user who cannot read the test's folder.
    directives = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
    command: list[str | Path] = [require_tool("nginx", "the example's file is shown to the real one")]
    command += ["-e", "stderr", "-c", file, "-g", directives]

    async def listens() -> bool:
        return await accepts(port)

    log = folder / "nginx.log"
    async with ChildProcess(command, log=log, ready=listens, death_signal=signal.SIGTERM):
        yield f"http://127.0.0.1:{port}"


async def account_token(plane: ControlPlane, account: str, audiences: list[str]) -> str:
    """A token of an account, such as "monitoring/prometheus"."""
    namespace, _, name = account.partition("/")
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await plane.admin.create_namespace(namespace)
    known = {item["metadata"]["name"] for item in (await plane.admin.call("GET", path))["items"]}
    if name not in known:
        await plane.admin.create_service_account(namespace, name)
    return await plane.admin.request_token(namespace, name, audiences)


async def test_the_dashboard_gets_the_token(helm: Helm, plane: ControlPlane, tmp_path: Path) -> None:
    """Only the named account's token opens the dashboard, which gets the token but no Impersonate header."""
    viewer = await account_token(plane, "kubernetes-dashboard/viewer", [])
    other = await account_token(plane, "kubernetes-dashboard/other", [])
    async with example_gate(helm, plane, tmp_path, "dashboard") as gate, EchoApp() as dashboard:
        places = {
            "dashboard-authgate.kubernetes-dashboard.svc:8080": gate.address,
            "https://kubernetes-dashboard-kong-proxy.kubernetes-dashboard.svc": f"http://{dashboard.address}",
        }
        async with example_nginx("dashboard/proxy.yaml", tmp_path, places) as url, Client() as client:
            answers = [
                (await client.get(f"{url}/api/v1/namespace", token)).verdict
                for token in (viewer, other, None)
            ]
            await client.get(url, viewer, [("Impersonate-User", "admin")])
    assert answers == [(200, ""), (403, "not_allowed"), (401, "no_credential")]
    assert [request.values("Authorization") for request in dashboard.seen] == [[f"Bearer {viewer}"]] * 2
    assert dashboard.seen[-1].values("Impersonate-User") == []


async def test_only_prometheus_may_scrape(helm: Helm, plane: ControlPlane, tmp_path: Path) -> None:
    """A real Prometheus scrapes app and gate with its account's token. With another token the targets are down: 403."""
    file = tmp_path / "token"
    file.write_text(await account_token(plane, "monitoring/prometheus", ["shop-metrics"]))
    other = await account_token(plane, "monitoring/other", ["shop-metrics"])
    for_the_api_server = await account_token(plane, "monitoring/prometheus", [])
    metrics = always("shop_orders_total 42\n", headers={"Content-Type": "text/plain; version=0.0.4"})
    async with (
        example_gate(helm, plane, tmp_path, "prometheus") as gate,
        FakeAPI(metrics) as app,
        example_nginx(
            "prometheus/app.yaml",
            tmp_path,
            {"authgate.authgate.svc:8080": gate.address, "http://127.0.0.1:3000": app.url},
        ) as url,
        Client() as client,
        scraping(
            tmp_path, {"shop": url.removeprefix("http://"), "authgate": gate.admin_address}, file
        ) as monitor,
    ):

        async def scraped() -> bool:
            found = await monitor.query("shop_orders_total or authgate_workers")
            return sorted(value for _, value in found) == [1, 42]

        async def refused() -> bool:
            targets = (await monitor.ask("targets"))["activeTargets"]
            assert len(targets) == 2
            return all(target["health"] == "down" and "403" in target["lastError"] for target in targets)

        await until(scraped, within=30)
        file.write_text(other)
        await until(refused, within=30)
        assert (await client.get(f"{url}/metrics", for_the_api_server)).verdict == (401, "audience_mismatch")
        assert (await client.get(f"{url}/metrics")).verdict == (401, "no_credential")
        assert (await client.get(f"{url}/orders")).status == 404
        assert (await gate.admin("/metrics")).verdict == (401, "no_credential")
    assert all("Authorization" not in request.headers for request in app.received)


@asynccontextmanager
async def scraping(folder: Path, targets: Mapping[str, str], token: Path) -> AsyncIterator[Prometheus]:
    """Run Prometheus as in the example, except for targets, token file and interval."""
    (data,) = [
        item["data"] for item in objects_of("prometheus/prometheus.yaml") if item["kind"] == "ConfigMap"
    ]
    config = yaml.safe_load(data["prometheus.yml"])
    config["global"]["scrape_interval"] = "1s"
    assert {job["job_name"] for job in config["scrape_configs"]} == targets.keys()
    for job in config["scrape_configs"]:
        assert job["authorization"]["credentials_file"].endswith("/token")
        job["authorization"]["credentials_file"] = str(token)
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    async with prometheus(folder, config) as monitor:
        yield monitor


@pytest.fixture
def public_discovery(kubectl: Kubectl) -> Iterator[None]:
    """The binding of the example's README, which is removed for other tests."""
    role = "--clusterrole=system:service-account-issuer-discovery"
    kubectl.run("create", "clusterrolebinding", "public-discovery", role, "--group=system:unauthenticated")
    yield
    kubectl.run("delete", "clusterrolebinding", "public-discovery")


@pytest.mark.usefixtures("public_discovery")
async def test_a_machine_outside_knows_the_clusters_accounts(plane: ControlPlane, tmp_path: Path) -> None:
    """The unit's own command needs no account, and nginx accepts accounts of prod and no others."""
    web = await account_token(plane, "prod/web", ["my-audience"])
    batch = await account_token(plane, "test/batch", ["my-audience"])
    with tempfile.TemporaryDirectory() as run:  # the length of a socket's path is limited
        command = _on_this_machine(tmp_path, Path(run), plane)
        socket, port = Path(run) / "authgate.sock", free_port()

        async def serves() -> bool:
            return socket.exists()

        async with (
            EchoApp() as app,
            Client() as client,
            ChildProcess(command, log=tmp_path / "gate.log", ready=serves),
            Nginx(
                tmp_path / "nginx",
                protected_app(listen=port, gate=f"unix:{socket}", app=app.address),
                port=port,
            ) as nginx,
        ):

            async def opens() -> bool:
                return (await client.get(nginx.url, web)).status == 200

            await until(opens, within=30)
            assert (await client.get(nginx.url, batch)).verdict == (403, "not_allowed")
    assert app.seen[-1].values("X-Auth-Request-User") == ["system:serviceaccount:prod:web"]


def _on_this_machine(etc: Path, run: Path, plane: ControlPlane) -> list[str | Path]:
    """Write the example's files for this machine, and return the unit's command as it runs here."""
    places = {
        "/etc/authgate/": f"{etc}/",
        "/run/authgate/": f"{run}/",
        "https://kubernetes.example.com:6443": plane.url,
        "127.0.0.1:9090": f"127.0.0.1:{free_port()}",
    }
    for name in ("authgate.yaml", "kubeconfig"):
        text = (EXAMPLES / "vm" / name).read_text()
        for placeholder, place in places.items():
            text = text.replace(placeholder, place)
        (etc / name).write_text(text)
    (etc / "ca.crt").write_bytes(plane.ca_file.read_bytes())
    (start,) = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart=")]
    program, *arguments = start.removeprefix("ExecStart=").split()
    assert program == "/opt/authgate/bin/authgate"
    return [
        sys.executable,
        "-m",
        "authgate",
        *(word.replace("/etc/authgate/", f"{etc}/") for word in arguments),
    ]
