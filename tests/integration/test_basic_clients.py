"""Clients that can only send a password: git and curl, with the token as the password, through a real nginx."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.logs import configured
from tests.support.nginx import Nginx, protected_app
from tests.support.process import free_port
from tests.support.service import knowing, running
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
TOKEN = ISSUER.mint("ada", lifetime=86400, claims={"sub": "ada"})
COMMIT = "5d41402abc4b2a76b9719d911017c592a1b2c3d4"
REPOSITORY = {"/app.git/info/refs": f"{COMMIT}\trefs/heads/main\n", "/app.git/HEAD": "ref: refs/heads/main\n"}
"""A repository that git reads over plain HTTP."""


@dataclass
class Site:
    """nginx before the repository, and the users and credentials that the app saw."""

    address: str
    nginx: Nginx
    users: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)


@asynccontextmanager
async def repository(folder: Path) -> AsyncIterator[Site]:
    """A gate with a `basic` source in front of the repository."""
    port, app_port = free_port(), free_port()
    document = {
        "jwt": [knowing(ISSUER)],
        "credential": {"sources": [{"basic": {"usernames": ["oauth2", "x-token-auth"]}}]},
        "log": {"audit": "all"},
    }

    async def answer(request: web.BaseRequest) -> web.Response:
        site.users.append(request.headers.get("X-Auth-Request-User", ""))
        site.credentials += request.headers.getall("Authorization", [])
        text = REPOSITORY.get(request.path)
        return web.Response(status=404) if text is None else web.Response(text=text)

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", app_port).start()
    try:
        async with running(document) as gate:
            text = protected_app(listen=port, gate=gate.address, app=f"127.0.0.1:{app_port}")
            async with Nginx(folder / "nginx", text, port=port) as nginx:
                site = Site(f"127.0.0.1:{port}", nginx)
                yield site
    finally:
        await runner.cleanup()


async def ran(folder: Path, *command: str, **environment: str) -> tuple[int, str]:
    """Run a program without any configuration of this machine; return its exit status and output."""
    own = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", "NO_PROXY": "*"}
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**own, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode or 0, output.decode()


@pytest.mark.parametrize("user", ["oauth2", "x-token-auth"])
async def test_git_sends_the_token_when_it_is_asked_for_a_password(tmp_path: Path, user: str) -> None:
    """git asks its credential helper only after a Basic challenge. No log of the gate or nginx has the token."""
    git = str(require_tool("git", "it is the client that is tested"))
    stream = configured()
    helper = f"!f() {{ echo username={user}; echo password=$TOKEN; }}; f"
    async with repository(tmp_path) as site:
        url = f"http://{site.address}/app.git"
        listed = await ran(
            tmp_path,
            git,
            "-c",
            f"credential.helper={helper}",
            "ls-remote",
            url,
            TOKEN=TOKEN,
            GIT_TERMINAL_PROMPT="0",
        )
        logs = site.nginx.logs() + stream.getvalue()
    assert listed[0] == 0, listed
    assert f"{COMMIT}\trefs/heads/main" in listed[1]
    assert set(site.users) == {"corp:ada"}
    assert site.credentials == []
    assert '"no_credential"' in logs
    assert TOKEN not in logs


async def test_git_with_another_user_name_is_refused(tmp_path: Path) -> None:
    """The app sees nothing."""
    git = str(require_tool("git", "it is the client that is tested"))
    async with repository(tmp_path) as site:
        url = f"http://git:{TOKEN}@{site.address}/app.git"
        status, output = await ran(tmp_path, git, "ls-remote", url, GIT_TERMINAL_PROMPT="0")
    assert status != 0
    assert "Authentication failed" in output or "could not read" in output
    assert site.users == []


@pytest.mark.parametrize("method", ["--basic", "--anyauth"])
async def test_curl(tmp_path: Path, method: str) -> None:
    """At once, or after the challenge, from which curl has to choose Basic."""
    curl = str(require_tool("curl", "it is the client that is tested"))
    async with repository(tmp_path) as site:
        url = f"http://{site.address}/app.git/HEAD"
        status, output = await ran(tmp_path, curl, "-sf", method, "-u", f"oauth2:{TOKEN}", url)
    assert (status, output) == (0, REPOSITORY["/app.git/HEAD"])
    assert site.users == ["corp:ada"]
    assert site.credentials == []
