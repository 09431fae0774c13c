"""`authgate dev`."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from authgate.cli.serving import loop_factory
from authgate.cli.terminal import USAGE, complain, fail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authgate.dev.scenario import Scenario

LISTEN: Final = "127.0.0.1:8080"
ADMIN: Final = "127.0.0.1:9090"
_PROXIES: Final = ("http_proxy", "all_proxy", "ALL_PROXY")
_CTRL_C: Final = {signal.SIGINT}


def dev(
    listen: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="The address of the gate; a free port is used if this one is taken."
        ),
    ] = LISTEN,
    admin: Annotated[str, typer.Option(metavar="HOST:PORT", help="The same for metrics and probes.")] = ADMIN,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder for tokens and the configuration; by default a temporary one that is deleted at the end.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run a gate to try, with its own issuer and Kubernetes API.

    Prints the files that hold tokens, and commands to paste. Ctrl-C stops it.
    """
    import asyncio
    import tempfile

    from authgate.observability.log import configure
    from authgate.service import CompositionError, ListenError

    configure("warning", "text")
    addresses = _free(listen), _free(admin)
    try:
        with ExitStack() as stack:
            signal.pthread_sigmask(signal.SIG_BLOCK, _CTRL_C)  # nothing is left behind
            try:
                if folder is None:
                    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="authgate-dev-")))
                runner = stack.enter_context(asyncio.Runner(loop_factory=loop_factory()))
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _CTRL_C)
            runner.run(_run(folder, *addresses))
    except (CompositionError, ListenError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or folder}: {error.strerror or error}")
    except KeyboardInterrupt:  # before the service handles the signal
        return


async def _run(folder: Path, listen: str, admin: str) -> None:
    from authgate.config import load
    from authgate.dev.scenario import Scenario
    from authgate.dev.server import EmbeddedServer
    from authgate.service import Service

    scenario = Scenario(folder)
    async with EmbeddedServer(scenario.api, certificate=scenario.certificate) as api_server:
        scenario.write_files(api_server.url)
        file = _write_configuration(scenario, listen, admin)
        service = Service(load(file, {}).config, {})

        def print_instructions() -> None:
            verify_url = f"http://{_reachable(service.verify_addresses[0])}/verify"
            admin_url = f"http://{_reachable(service.admin_address or '')}"
            print(*_instructions(scenario, api_server.url, verify_url, admin_url, file), sep="\n")
            sys.stdout.flush()

        await service.run(print_instructions)


def _write_configuration(scenario: Scenario, listen: str, admin: str) -> Path:
    import yaml

    from authgate.dev.scenario import AUDIENCE, LEGACY_AUDIENCE

    configuration = {
        "apiVersion": "authgate.dev/v1alpha1",
        "kind": "AuthgateConfiguration",
        "cluster": {
            "name": "dev",
            "audiences": [AUDIENCE],
            "kubeconfig": str(scenario.kubeconfig),
            "tokenReview": {"legacyAudiences": [LEGACY_AUDIENCE]},
        },
        "server": {"listen": [listen], "admin": admin},
        "log": {"level": "info", "format": "text"},
        "shutdown": {"delay": "0s", "timeout": "500ms"},
    }
    file = scenario.folder / "authgate.yaml"
    file.write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
    return file


def _free(address: str) -> str:
    """Return the address, with port 0 if its port is in use."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        fail(f"{address}: must be HOST:PORT, such as {LISTEN}", USAGE)
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                fail(f"cannot listen on {address}: {error.strerror or error}")
            complain(f"port {port} is in use: a free port is used instead")
            return f"{host}:0"
    return address


def _reachable(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"  # noqa: S104 - shown only


def _instructions(
    scenario: Scenario, api_url: str, verify_url: str, admin_url: str, file: Path
) -> Iterator[str]:
    yield "A gate is running with its own issuer and API server. Do not use it in production."
    yield ""
    yield f"  gate           {verify_url}"
    yield f"  admin          {admin_url}"
    yield f"  API server     {api_url}"
    yield f"  configuration  {file}"
    yield f"  token          {scenario.token_file}"
    yield ""
    yield "Paste these commands into another terminal."
    for title, token in (
        ("A valid token: 200 with the identity headers", scenario.token_file),
        ("No token: 401", None),
        ("A token for another audience: 401 with the reason", scenario.other_audience_file),
        ("An opaque token, which only the API server's TokenReview can decide: 200", scenario.reviewed_file),
    ):
        yield f"\n# {title}"
        yield _curl("-si", token, verify_url)
    yield "\n# The metrics"
    yield _curl("-s", None, f"{admin_url}/metrics")
    yield "\n# Each step of a decision"
    yield (
        f"{shlex.quote(sys.executable)} -m authgate explain --config {shlex.quote(str(file))}"
        f" {shlex.quote(str(scenario.other_audience_file))}"
    )
    yield "\nPress Ctrl-C to stop."


def _curl(options: str, token: Path | None, url: str) -> str:
    # An HTTP proxy cannot reach the loopback address of this machine.
    direct = " --noproxy '*'" if any(os.environ.get(name) for name in _PROXIES) else ""
    header = "" if token is None else f' -H "Authorization: Bearer $(cat {shlex.quote(str(token))})"'
    return f"curl {options}{direct}{header} {url}"
