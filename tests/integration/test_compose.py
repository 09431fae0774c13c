"""The services of deploy/compose: the real parser accepts the file, and real programs run what it mounts."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from authgate.tools.snippets import SNIPPETS, Options, rendered
from authgate.tools.snippets.options import parse_app, parse_gate
from tests.support.gate import Client, GateProcess
from tests.support.nginx import Nginx
from tests.support.process import ChildProcess, accepts, free_port, until
from tests.support.prometheus import prometheus
from tests.support.tools import require_tool

FOLDER = Path(__file__).parents[2] / "deploy" / "compose"
CHART_FILES = FOLDER.parents[1] / "helm" / "authgate" / "files"


def parsed(file: Path) -> subprocess.CompletedProcess[str]:
    """Run the parser of Docker Compose, which also applies the JSON schema of the compose specification."""
    program = require_tool("compose-go-2.16.2", "it judges the compose file")
    command: list[str | Path] = [program, "-format=json", file]
    # It resolves relative paths from the working directory.
    return subprocess.run(command, cwd=file.parent, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services as Docker Compose reads them: with absolute paths and without anchors."""
    done = parsed(FOLDER / "compose.yaml")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


@pytest.fixture
def containers(services: dict[str, Any], tmp_path: Path) -> dict[str, Path]:
    """A folder for each service, with the files at the paths where the service's container has them."""
    roots = {name: tmp_path / name for name in services}
    for name, service in services.items():
        for mount in _binds(service):
            target = roots[name] / mount["target"].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            source = Path(mount["source"])
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy(source, target)
    return roots


def _binds(service: dict[str, Any]) -> list[dict[str, Any]]:
    return [mount for mount in service.get("volumes", ()) if mount["type"] == "bind"]


def test_an_unknown_setting_is_rejected(tmp_path: Path) -> None:
    """The parser would notice a misspelt setting of a service."""
    file = tmp_path / "compose.yaml"
    file.write_text((FOLDER / "compose.yaml").read_text().replace("read_only:", "readonly:", 1))
    assert "readonly" in parsed(file).stderr


def test_every_mount_is_a_file_of_the_repository(services: dict[str, Any]) -> None:
    """Docker would create an empty folder for a missing file. Containers cannot change the files."""
    mounts = [mount for service in services.values() for mount in _binds(service)]
    assert [mount["source"] for mount in mounts if not Path(mount["source"]).exists()] == []
    assert all(mount["read_only"] for mount in mounts)


def test_ports_are_open_only_on_this_machine(services: dict[str, Any]) -> None:
    """The test issuer signs tokens for anyone, and Grafana has no login."""
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_only_nginx_reaches_the_app(services: dict[str, Any]) -> None:
    """The app shares its only network with nginx alone, and publishes no port."""
    networks = {name: set(service["networks"]) for name, service in services.items()}
    (own,) = networks["app"]
    assert [name for name, joined in networks.items() if own in joined] == ["app", "nginx"]
    assert "ports" not in services["app"]


def test_services_are_in_a_network_with_those_they_name(services: dict[str, Any]) -> None:
    """nginx reaches gate and app, the gate its issuer, Prometheus the gate, and Grafana Prometheus."""
    wanted = [
        ("nginx", "gate"),
        ("nginx", "app"),
        ("gate", "issuer"),
        ("prometheus", "gate"),
        ("grafana", "prometheus"),
    ]
    for client, server in wanted:
        assert services[client]["networks"].keys() & services[server]["networks"].keys(), (client, server)


def test_the_configuration_of_nginx_is_current() -> None:
    """`make proxies` would not change it."""
    options = Options(gate=parse_gate("http://gate:8080"), app=parse_app("http://app:3000"), complete=True)
    (text,) = [file.text for file in rendered(SNIPPETS["nginx"], options) if file.name == "authgate.conf"]
    text = text.replace("# access_log ", "access_log ")
    assert (FOLDER / "nginx" / "authgate.conf").read_text() == text, "make proxies"


def test_promtool_accepts_the_configuration(containers: dict[str, Path]) -> None:
    """promtool finds the alerts where the configuration expects them, and no error."""
    promtool = require_tool("promtool", "it judges the configuration of Prometheus")
    file = containers["prometheus"] / "etc" / "prometheus" / "prometheus.yml"
    done = subprocess.run([promtool, "check", "config", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    alerts = yaml.safe_load((CHART_FILES / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert f"SUCCESS: {len(alerts)} rules found" in done.stdout


def test_grafana_finds_the_dashboard(services: dict[str, Any], containers: dict[str, Path]) -> None:
    """The provider's folder contains the dashboard, which is also the first page."""
    root = containers["grafana"]
    provisioning = root / "etc" / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "authgate.yaml").read_text())["providers"]
    (dashboard,) = (root / provider["options"]["path"].lstrip("/")).iterdir()
    assert json.loads(dashboard.read_text())["panels"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert root / home.lstrip("/") == dashboard
    (source,) = yaml.safe_load((provisioning / "datasources" / "authgate.yaml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")


def _replace(file: Path, places: dict[str, str]) -> None:
    """Replace addresses of the compose network. Each must be in the file once."""
    text = file.read_text()
    for name, address in places.items():
        assert text.count(name) == 1, f"{name} in {file.name}"
        text = text.replace(name, address)
    file.write_text(text)


@asynccontextmanager
async def issuer(services: dict[str, Any], root: Path) -> AsyncIterator[str]:
    """Run the test issuer with the service's own command, on another address, and yield its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    interpreter, script = services["issuer"]["entrypoint"]
    assert interpreter.endswith("/python")
    assert services["issuer"]["command"] == ["0.0.0.0:8100", "http://issuer:8100"]
    command = [sys.executable, root / script.lstrip("/"), f"127.0.0.1:{port}", url]

    async def listens() -> bool:
        return await accepts(port)

    async with ChildProcess(command, log=root / "issuer.log", ready=listens):
        yield url


async def test_the_services_work_together(services: dict[str, Any], containers: dict[str, Path]) -> None:
    """The commands of the README give its answers, and Prometheus scrapes the gate."""
    async with issuer(services, containers["issuer"]) as issuer_url, Client() as client:
        file = containers["gate"] / "etc" / "authgate" / "authgate.yaml"
        assert services["gate"]["environment"] == {"AUTHGATE_CONFIG": "/etc/authgate/authgate.yaml"}
        _replace(file, {"http://issuer:8100": issuer_url})
        port, app_port = free_port(), free_port()
        conf = Path("etc/nginx/conf.d/default.conf")
        _replace(containers["app"] / conf, {"listen 3000;": f"listen 127.0.0.1:{app_port};"})
        async with GateProcess(file) as gate:
            await gate.becomes_ready(within=30)
            places = {"server gate:8080;": f"server {gate.address};"}
            places |= {"server app:3000;": f"server 127.0.0.1:{app_port};"}
            log = containers["nginx"] / "access.log"
            places |= {"access_log /var/log/nginx/access.log authgate;": f"access_log {log} authgate;"}
            _replace(containers["nginx"] / conf, {**places, "listen 8000;": f"listen 127.0.0.1:{port};"})
            scraper = containers["prometheus"] / "etc" / "prometheus" / "prometheus.yml"
            _replace(
                scraper, {"gate:9090": gate.admin_address, "scrape_interval: 15s": "scrape_interval: 1s"}
            )
            text = (containers["nginx"] / conf).read_text() + (containers["app"] / conf).read_text()
            async with (
                Nginx(containers["nginx"] / "run", text, port=port) as nginx,
                prometheus(scraper.parent, yaml.safe_load(scraper.read_text())) as monitor,
            ):
                alice = (await client.get(f"{issuer_url}/token?user=alice&group=staff")).body
                bob = (await client.get(f"{issuer_url}/token?user=bob&group=guests")).body
                allowed = await client.get(f"{nginx.url}/", alice)
                assert (allowed.status, allowed.body) == (200, "Hello, demo:alice\n")
                denied = await client.get(f"{nginx.url}/", bob)
                assert denied.verdict == (403, "not_allowed")
                request_id = denied.value("X-Request-Id")
                assert (await client.get(f"{nginx.url}/")).verdict == (401, "no_credential")
                assert (await client.get(f"{nginx.url}/healthz")).body == "Hello, \n"

                async def scraped() -> bool:
                    found = await monitor.query('authgate_build_info{namespace="demo"}')
                    return [value for _, value in found] == [1]

                await until(scraped, within=60)

                async def logged() -> bool:
                    return request_id in log.read_text() and request_id in gate.process.output()

                await until(logged, within=30)


def test_the_readme_names_published_ports(services: dict[str, Any]) -> None:
    """Every address in the README is one that a service publishes."""
    published = {port["published"] for service in services.values() for port in service.get("ports", ())}
    assert set(re.findall(r"127\.0\.0\.1:(\d+)", (FOLDER / "README.md").read_text())) == published
