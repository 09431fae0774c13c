"""The real proxies, and how each is started with the files of its snippet."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authgate.tools.snippets import SNIPPETS, Options, Snippet, rendered
from tests.support.process import ChildProcess
from tests.support.tools import require_lua, require_tool
from tests.support.wire import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Program:
    """One version of a proxy."""

    name: str
    snippet: Snippet
    tool: str
    arguments: Sequence[str]
    """Its arguments, in the folder of its files."""
    version_arguments: Sequence[str]
    library: str = ""
    """The Lua library that it needs."""
    constant_503: bool = False
    """Whether it replaces the gate's 503 with its own."""
    any_200: bool = False
    """Whether a 200 from any server allows a request."""
    any_2xx: bool = False
    """Whether every 2xx opens the app, not only 200."""
    answers_options: bool = False
    """Whether it answers `OPTIONS *` itself, whatever its configuration."""
    trailers_pass: bool = False
    """Whether it always forwards a request's trailers."""
    logs_queries: bool = False
    """Whether its log has the queries of requests."""
    logs_denied_ids_only: bool = False
    """Whether its log has the request ids of denials only."""
    change: Callable[[str], str] = str
    """A change of its files for tests."""

    def path(self) -> Path:
        """Return the program's path, or skip the test if it is not installed."""
        if self.library:
            require_lua(self.library, "the snippet uses it")
        return require_tool(self.tool, "the snippet is tested with the real program")

    def version(self) -> str:
        """Return the version that it reports."""
        done = subprocess.run(
            [self.path(), *self.version_arguments], capture_output=True, text=True, check=True
        )
        found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
        assert found, done
        return found[0]

    def heading(self) -> str:
        """Return the title of its column."""
        return f"{self.snippet.title} {self.version()}"

    def running(self, folder: Path, options: Options) -> ChildProcess:
        """Run the proxy on its snippet with these options. When it is ready, it sends requests to the gate."""
        folder.mkdir(parents=True, exist_ok=True)
        for file in rendered(self.snippet, options):
            (folder / file.name).write_text(self.change(file.text))

        tls = ssl._create_unverified_context() if options.tls else None

        async def asks() -> bool:
            try:
                reply = await ask(
                    f"127.0.0.1:{options.listen.port}", "GET / HTTP/1.1", "Host: ready", tls=tls
                )
            except (OSError, asyncio.IncompleteReadError):
                return False
            return reply.status == 401

        return ChildProcess(
            [self.path(), *self.arguments],
            log=folder / "proxy.log",
            ready=asks,
            folder=folder,
            environment={**os.environ, "HOME": str(folder)},
            grace=0,  # Traefik takes two seconds to stop
        )


# Started by root, nginx would run its workers as a user who cannot write into the test's folder.
_AS_ONESELF = "user root; " if os.geteuid() == 0 else ""

PROGRAMS: Final = {
    program.name: program
    for program in (
        Program(
            "nginx",
            SNIPPETS["nginx"],
            "nginx",
            ("-p", ".", "-c", "nginx.conf", "-e", "stderr", "-g", f"{_AS_ONESELF}daemon off;"),
            ("-v",),
            any_200=True,
            any_2xx=True,
        ),
        Program(
            "envoy",
            SNIPPETS["envoy"],
            "envoy",
            (
                "-c",
                "envoy.yaml",
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "--log-level",
                "warn",
                "--file-flush-interval-msec",
                "100",
            ),
            ("--version",),
            constant_503=True,
            any_200=True,
        ),
        Program(
            "envoy-grpc",
            SNIPPETS["envoy-grpc"],
            "envoy",
            (
                "-c",
                "envoy.yaml",
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "--log-level",
                "warn",
                "--file-flush-interval-msec",
                "100",
            ),
            ("--version",),
        ),
        Program(
            "traefik",
            SNIPPETS["traefik"],
            "traefik",
            ("--configFile=traefik.yaml",),
            ("version",),
            any_200=True,
            answers_options=True,
            logs_queries=True,
        ),
        *(
            Program(
                name,
                SNIPPETS["caddy"],
                name,
                ("run", "--config", "Caddyfile", "--adapter", "caddyfile"),
                ("version",),
                answers_options=True,
                trailers_pass=name == "caddy-2.11.9",
                logs_denied_ids_only=name == "caddy",
            )
            for name in ("caddy", "caddy-2.11.9")
        ),
        Program(
            "haproxy",
            SNIPPETS["haproxy"],
            "haproxy",
            ("-db", "-f", "haproxy.cfg"),
            ("-v",),
            trailers_pass=True,
        ),
        Program(
            "apache",
            SNIPPETS["apache"],
            "apache2",
            ("-d", ".", "-f", "httpd.conf", "-D", "FOREGROUND"),
            ("-v",),
            library="socket",
            answers_options=True,
        ),
    )
}
