"""Clients that can only send a password: git, curl and pip, with the token as the password, through a real nginx."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import zipfile
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
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
TOKEN = ISSUER.mint("ada", lifetime=86400, claims={"sub": "ada"})
COMMIT = "5d41402abc4b2a76b9719d911017c592a1b2c3d4"
REPOSITORY = {"/app.git/info/refs": f"{COMMIT}\trefs/heads/main\n", "/app.git/HEAD": "ref: refs/heads/main\n"}
"""A repository that git reads over plain HTTP."""
WHEEL = "gated_example-1.0-py3-none-any.whl"


@dataclass
class Site:
    """nginx before the app, and the users and credentials that the app saw."""

    address: str
    nginx: Nginx
    users: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)


def wheel() -> bytes:
    """A package with one module and without dependencies."""
    info = "gated_example-1.0.dist-info"
    files = {
        "gated_example.py": "",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: gated-example\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in (*files.items(), (f"{info}/RECORD", record)):
            archive.writestr(name, text)
    return data.getvalue()


@asynccontextmanager
async def protected(folder: Path, files: Mapping[str, str | bytes]) -> AsyncIterator[Site]:
    """A gate with a `basic` source in front of an app with these files."""
    port, app_port = free_port(), free_port()
    document = {
        "jwt": [knowing(ISSUER)],
        "credential": {"sources": [{"basic": {"usernames": ["oauth2", "x-token-auth"]}}]},
        "log": {"audit": "all"},
    }

    async def answer(request: web.BaseRequest) -> web.Response:
        site.users.append(request.headers.get("X-Auth-Request-User", ""))
        site.credentials += request.headers.getall("Authorization", [])
        file = files.get(request.path)
        if isinstance(file, bytes):
            return web.Response(body=file)
        kind = "text/html" if request.path.endswith("/") else "text/plain"
        return web.Response(status=404) if file is None else web.Response(text=file, content_type=kind)

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
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    return process.returncode or 0, output.decode()


@pytest.mark.parametrize("user", ["oauth2", "x-token-auth"])
async def test_git_sends_the_token_as_the_password(tmp_path: Path, user: str) -> None:
    """git asks its credential helper only after a Basic challenge. No log of the gate or nginx has the token."""
    git = str(require_tool("git", "it is the client that is tested"))
    stream = configured()
    helper = f"!f() {{ echo username={user}; echo password=$TOKEN; }}; f"
    async with protected(tmp_path, REPOSITORY) as site:
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
    async with protected(tmp_path, REPOSITORY) as site:
        url = f"http://git:{TOKEN}@{site.address}/app.git"
        status, output = await ran(tmp_path, git, "ls-remote", url, GIT_TERMINAL_PROMPT="0")
    assert status != 0
    assert "Authentication failed" in output or "could not read" in output
    assert site.users == []


@pytest.mark.parametrize("method", ["--basic", "--anyauth"])
async def test_curl_sends_the_token_as_the_password(tmp_path: Path, method: str) -> None:
    """curl sends the token at once, or after a challenge, from which it must choose Basic."""
    curl = str(require_tool("curl", "it is the client that is tested"))
    async with protected(tmp_path, REPOSITORY) as site:
        url = f"http://{site.address}/app.git/HEAD"
        status, output = await ran(tmp_path, curl, "-sf", method, "-u", f"oauth2:{TOKEN}", url)
    assert (status, output) == (0, REPOSITORY["/app.git/HEAD"])
    assert site.users == ["corp:ada"]
    assert site.credentials == []


@pytest.mark.parametrize("user", ["oauth2", "somebody"])
async def test_pip_installs_from_an_index_behind_the_gate(tmp_path: Path, user: str) -> None:
    """pip sends the token to the index and for the file that it links to. Neither pip nor a log shows the token."""
    page = f'<!DOCTYPE html><html><body><a href="/files/{WHEEL}">{WHEEL}</a></body></html>'
    files: dict[str, str | bytes] = {"/simple/gated-example/": page, f"/files/{WHEEL}": wheel()}
    stream = configured()
    async with protected(tmp_path, files) as site:
        index = f"http://{user}:{TOKEN}@{site.address}/simple"
        command = ["install", "--index-url", index, "--target", str(tmp_path / "installed"), "gated-example"]
        options = [
            "--isolated",
            "--disable-pip-version-check",
            "--no-input",
            "--no-cache-dir",
            "--retries",
            "0",
        ]
        status, output = await ran(tmp_path, sys.executable, "-m", "pip", *options, *command)
        logs = site.nginx.logs() + stream.getvalue()
    assert TOKEN not in output + logs
    assert site.credentials == []
    if user == "oauth2":
        assert status == 0, output
        assert (tmp_path / "installed" / "gated_example.py").exists()
        assert site.users == ["corp:ada", "corp:ada"]
    else:
        assert status != 0
        assert site.users == []
