"""The modules that a gate loads at startup. They are most of its start time and memory, so they are counted here."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.tls import throwaway_certificate
from tests.support.process import ChildProcess
from tests.support.service import cluster, knowing, of_cluster, written

if TYPE_CHECKING:
    from pathlib import Path

_LISTENERS = {"listen": ["127.0.0.1:0"], "admin": "127.0.0.1:0"}

NEVER = (
    "rich",
    "pytest",
    "aiohttp.web",
    "aiohttp.web_app",
    "authgate.dev",
    "authgate.tools.doctor",
    "authgate.tools.snippets",
)
"""Modules that serving never needs: terminal output, routing, the embedded issuer, other commands."""
READING = (
    "pydantic",
    "pydantic_core",
    "typer",
    "authgate.config.models",
    "authgate.config.checks",
    "authgate.cli.commands",
)
"""Modules of the child process that parses the command line and reads the configuration."""
WHERE_CONFIGURED = (
    "authgate.compose.access_review",
    "authgate.keys.introspection",
    "authgate.keys.on_demand",
    "authgate.policy.role",
    "authgate.verify.access_review",
    "authgate.verify.introspection",
    "kubernetes_asyncio",
    "urllib3",
    "cel_expr_python",
    "re2",
    "grpc",
    "google",
    "envoy",
    "opentelemetry",
)
"""Modules that only some configurations need."""
OF_CLUSTERS = (
    "authgate.cluster.client",
    "authgate.cluster.connection",
    "authgate.cluster.validity",
    "authgate.compose.clusters",
    "authgate.verify.cluster",
)
"""Modules that only configurations with a cluster need."""

INSPECTED = """
import gc, os, ssl, sys
from authgate.cli import main
try:
    main()
finally:
    gc.unfreeze()
    contexts = [one for one in gc.get_objects() if isinstance(one, ssl.SSLContext)]
    print("contexts:", bool(contexts))
    print("certificates:", sum(one.cert_store_stats()["x509"] for one in contexts))
    print("trust:", ssl.get_default_verify_paths().cafile)
    with open("/proc/self/maps") as maps:
        print("C++:", "libstdc++" in maps.read())
"""
"""Run the command line and print what its process has in memory at its end."""
LOADED = """
import sys
from authgate.cli import main
try:
    main()
finally:
    print(*sys.modules)
"""
"""Run the command line and print the modules that its process has loaded at its end."""


async def loaded(folder: Path, document: dict[str, Any]) -> list[str]:
    """Return the modules that the process of `authgate serve` has loaded at its end."""
    log = await served(folder, document, "-c", LOADED)
    return log.splitlines()[-1].split()


async def served(folder: Path, document: dict[str, Any], *program: str, **variables: str) -> str:
    """Start the gate, stop it when it serves, and return its output."""
    log = folder / "gate.log"

    async def ready() -> bool:
        return '"authgate serves"' in log.read_text()

    config = written(folder, {**document, "server": _LISTENERS, "shutdown": {"delay": "0s"}})
    # Without the tool that measures coverage of child processes: its modules do not belong to authgate.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    async with ChildProcess(
        [sys.executable, *program, "serve", "--config", config],
        log=log,
        ready=ready,
        environment=environment | variables,
    ):
        pass
    return log.read_text()


def modules_of(text: str) -> list[str]:
    """Return the modules in the output of `-X importtime`."""
    return [line.rpartition("|")[2].strip() for line in text.splitlines() if line.startswith("import time:")]


def among(modules: list[str], packages: tuple[str, ...]) -> list[str]:
    """Return the packages that have a loaded module."""
    return [
        package
        for package in packages
        if any(module == package or module.startswith(f"{package}.") for module in modules)
    ]


async def test_a_static_key_needs_few_modules(tmp_path: Path) -> None:
    """Nothing of clusters or expressions is loaded. New modules must fit the budget."""
    modules = await loaded(
        tmp_path, {"jwt": [knowing(Issuer("https://issuer.example", SigningKey.generate("ES256")))]}
    )

    assert among(modules, NEVER + READING + WHERE_CONFIGURED + OF_CLUSTERS) == []
    assert 300 < len(modules) <= 600


async def test_modules_of_the_admin_port_are_loaded_before_it_opens(tmp_path: Path) -> None:
    """A process without a free file descriptor cannot load modules."""
    modules = await loaded(
        tmp_path, {"jwt": [knowing(Issuer("https://issuer.example", SigningKey.generate("ES256")))]}
    )

    assert among(modules, ("prometheus_client",)) == ["prometheus_client"]


async def test_a_gate_that_fetches_nothing_reads_no_ca_certificates(tmp_path: Path) -> None:
    """aiohttp would read them when it is imported. The environment is the original one afterwards."""
    authorities = tmp_path / "authorities.pem"
    authorities.write_bytes(throwaway_certificate(["issuer.example"]).ca_pem)
    document = {"jwt": [knowing(Issuer("https://issuer.example", SigningKey.generate("ES256")))]}

    log = await served(tmp_path, document, "-c", INSPECTED, SSL_CERT_FILE=str(authorities))

    assert log.splitlines()[-4:] == [
        "contexts: True",
        "certificates: 0",
        f"trust: {authorities}",
        "C++: False",
    ]


async def test_a_cluster_needs_few_modules_as_long_as_its_keys_decide(tmp_path: Path) -> None:
    """The Kubernetes client library is loaded with the first review, which no start needs."""
    async with cluster(tmp_path / "api") as scenario:
        modules = await loaded(tmp_path, {"cluster": of_cluster(scenario)})

    assert among(modules, NEVER + READING + WHERE_CONFIGURED) == []
    assert 300 < len(modules) <= 600


def test_the_kubernetes_client_is_loaded_in_part() -> None:
    """The library's packages import a thousand models, but reviews need a few."""
    code = "import authgate.cluster.typed_api"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    library = [name for name in modules_of(done.stderr) if name.startswith("kubernetes_asyncio.")]
    assert 10 < len(library) <= 30


def test_the_command_that_probes_call_loads_no_server() -> None:
    """It runs every few seconds next to the gate, within the gate's memory limit."""
    words = [sys.executable, "-X", "importtime", "-m", "authgate", "healthcheck"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    modules = modules_of(done.stderr)
    others = ("prometheus_client", "aiohttp", "pydantic", "cryptography", "jwt", "uvloop")
    assert among(modules, (*NEVER, *WHERE_CONFIGURED, *others)) == []
    assert 100 < len(modules) <= 330


def test_garbage_collection_skips_permanent_objects() -> None:
    """In a separate process: loaded objects are frozen, and later ones are collected less often."""
    code = (
        "import gc; from authgate.service import tune_gc; before = gc.get_threshold(); tune_gc();"
        "print(gc.get_freeze_count() > 10_000, gc.get_threshold() > before, gc.isenabled())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["True"] * 3
