"""The command line in processes of its own: serving, signals, exit statuses, and errors of one line."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.process import ChildProcess, accepts, free_port
from tests.support.service import knowing, trusting, written

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

POD = {"AUTHGATE_CLUSTER__AUDIENCES": "my-audience"}
AUTHGATE = (sys.executable, "-m", "authgate")


def run(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command until it ends, with these additional environment variables."""
    command = [*AUTHGATE, *map(str, words)]
    environment = {**os.environ, **env}
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)


async def command(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command as `run` does, in a thread."""
    return await asyncio.to_thread(run, *words, **env)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    """An issuer whose keys are in the configuration, so authgate is ready at once."""
    return Issuer("https://issuer.example.com", SigningKey.generate("ES256"))


def document(issuer: Issuer, **sections: Any) -> dict[str, Any]:
    """Return a configuration for the issuer, without a delay at shutdown."""
    return {"jwt": [knowing(issuer)], "shutdown": {"delay": "0s"}, **sections}


def serving(
    folder: Path, port: int, *words: str, env: Mapping[str, str] | None = None, readiness: int | None = None
) -> ChildProcess:
    """Run `authgate serve` with these arguments. It is ready when the port accepts connections."""

    async def ready() -> bool:
        return await accepts(readiness or port)

    return ChildProcess(
        [*AUTHGATE, "serve", *words],
        log=folder / "serve.log",
        ready=ready,
        environment={**os.environ, **(env or {})},
    )


# terminals


def at_a_terminal(*words: object, **env: str) -> tuple[int, str]:
    """Return the exit status and the output of a command whose three streams are a terminal."""
    master, slave = os.openpty()
    with os.fdopen(master, "rb", buffering=0) as screen:
        command = [*AUTHGATE, *map(str, words)]
        environment = {**os.environ, "TERM": "xterm", **env}
        child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
        os.close(slave)
        output = b""
        try:
            while data := screen.read(4096):
                output += data
        except OSError:  # Linux reports that the other end was closed
            pass
        return child.wait(timeout=60), output.decode()


COLOUR = re.compile(r"\x1b\[(?:\d+;)*3[0-9]m")


@pytest.mark.parametrize(
    ("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=["usual", "NO_COLOR"]
)
def test_colours_are_only_used_on_a_terminal_without_no_color(
    tmp_path: Path, issuer: Issuer, env: dict[str, str], coloured: bool
) -> None:
    """NO_COLOR is the common way to turn colours off."""
    file = tmp_path / "token"
    file.write_text(issuer.mint())
    status, output = at_a_terminal("inspect", file, **env)
    assert (status, COLOUR.search(output) is not None) == (0, coloured)


@pytest.mark.parametrize(
    ("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=["usual", "NO_COLOR"]
)
def test_problems_have_colours_on_a_terminal(tmp_path: Path, env: dict[str, str], coloured: bool) -> None:
    """The place is highlighted unless NO_COLOR is set."""
    file = tmp_path / "authgate.yaml"
    file.write_text("server: {prxy: nginx}\n")
    status, output = at_a_terminal("check", file, **env)
    assert (status, COLOUR.search(output) is not None) == (1, coloured)
    assert "is not a known field; did you mean proxy?" in output


def test_a_missing_token_file_at_a_terminal_is_an_error() -> None:
    """A user who forgot the file gets an error instead of a command that waits for input."""
    status, output = at_a_terminal("inspect")
    assert status == 2
    assert output.startswith("authgate: no token: name a FILE that holds it, or pipe it to stdin")


# serve


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_serve_ends_with_0_on_a_signal(tmp_path: Path, issuer: Issuer, number: signal.Signals) -> None:
    """SIGTERM from an orchestrator and SIGINT from a person are both regular ends."""
    port = free_port()
    file = written(tmp_path, document(issuer))
    words = ("--config", str(file), "--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0")
    async with serving(tmp_path, port, *words) as gate:
        gate.send(number)
        assert await gate.ended(within=30)
        assert gate.exit_status == 0


async def test_a_flag_overrides_the_environment_which_overrides_the_file(
    tmp_path: Path, issuer: Issuer
) -> None:
    """The most used settings have flags and environment variables."""
    port, admin = free_port(), free_port()
    file = written(tmp_path, document(issuer, server={"listen": ["127.0.0.1:1"], "admin": "127.0.0.1:1"}))
    words = ("--listen", f"127.0.0.1:{port}", "--log-level", "warning", "--log-format", "text")
    env = {"AUTHGATE_CONFIG": str(file), "AUTHGATE_SERVER__ADMIN": f"127.0.0.1:{admin}"}
    async with serving(tmp_path, port, *words, env=env) as gate:
        assert await accepts(admin)
    assert {line.split()[1] for line in gate.output().splitlines()} == {"WARN"}


async def test_warnings_about_the_configuration_are_logged_at_startup(tmp_path: Path, issuer: Issuer) -> None:
    """Users who did not run `check` still see its warnings."""
    port = free_port()
    entry = knowing(issuer, unsafeIgnoreConfirmation=True)
    entry["claimMappings"]["username"]["prefix"] = ""
    file = written(tmp_path, document(issuer, jwt=[entry]))
    words = ("--config", str(file), "--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0")
    async with serving(tmp_path, port, *words) as gate:
        pass
    lines = [json.loads(line) for line in gate.output().splitlines()]
    warned = [line for line in lines if line["severity_text"] == "WARN"]
    assert len([line for line in warned if "claimMappings" in str(line)]) == 2
    assert len([line for line in warned if "jwt[0].gate.unsafeIgnoreConfirmation" in str(line)]) == 1


async def test_a_bad_configuration_is_reported_completely(tmp_path: Path) -> None:
    """Every problem is printed as by `check`, and the exit status is 1."""
    file = tmp_path / "authgate.yaml"
    file.write_text("cluster: {audience: [a]}\nserver: {prxy: nginx}\n")
    done, checked = await command("serve", "--config", file), await command("check", "--config", file)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == checked.stderr.splitlines()[:-1]
    assert ":2: server.prxy: is not a known field; did you mean proxy?" in done.stderr


async def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path, issuer: Issuer) -> None:
    """The line has the address. There is no traceback."""
    file = written(tmp_path, document(issuer))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = await command("serve", "--config", file, "--listen", address, "--admin", "127.0.0.1:0")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"authgate: cannot listen on {address}: ")
    assert last.lower().endswith("address already in use")
    assert "Traceback" not in done.stderr


async def test_a_pods_configuration_outside_a_pod_is_reported_in_one_line(tmp_path: Path) -> None:
    """The configuration is valid, but there is no cluster to connect to."""
    done = await command("serve", **POD, HOME=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("authgate: cluster 'home': no cluster found")
    assert done.stderr.count("\n") == 1


# healthcheck


async def test_a_healthcheck_finds_the_gate_by_its_configuration(tmp_path: Path, issuer: Issuer) -> None:
    """The address can be in a flag, a variable, the file or a URL. A gate without keys is live, but not ready."""
    port, admin = free_port(), free_port()
    down = trusting(f"http://127.0.0.1:{free_port()}", "down")
    address = f"127.0.0.1:{admin}"
    file = written(tmp_path, document(issuer, jwt=[down], server={"admin": f"0.0.0.0:{admin}"}))
    async with serving(tmp_path, port, "--config", str(file), "--listen", f"127.0.0.1:{port}"):
        for words, env in (
            (("--url", f"http://{address}"), {}),
            (("--admin", address), {}),
            (("--config", file), {}),
            ((), {"AUTHGATE_CONFIG": str(file)}),
            ((), {"AUTHGATE_SERVER__ADMIN": address}),
        ):
            done = await command("healthcheck", *words, **env)
            assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")
        done = await command("healthcheck", "--ready", "--url", f"http://{address}")
        assert done.returncode == 1
        assert done.stderr.startswith(
            f"authgate: the gate at http://{address} responds with 503:"
            " [+]shutdown ok: not ending | [-]issuer/down "
        )


async def test_a_healthcheck_can_use_a_unix_socket(tmp_path: Path, issuer: Issuer) -> None:
    """The admin port may be a unix socket."""
    port, path = free_port(), tmp_path / "admin.sock"
    file = written(tmp_path, document(issuer, server={"admin": f"unix:{path}"}))
    async with serving(tmp_path, port, "--config", str(file), "--listen", f"127.0.0.1:{port}"):
        for words in (("--config", file), ("--url", f"unix:{path}", "--ready")):
            done = await command("healthcheck", *words)
            assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "the gate at {url} does not respond: Connection refused"),
        (b"", "the gate at {url} does not respond: the response is not HTTP"),
        (b"SSH-2.0-nobody\r\n", "the gate at {url} does not respond: the response is not HTTP"),
        (
            b"HTTP/1.1 500 No\r\nContent-Length: 6\r\n\r\n\x1b[2Jno",
            "the gate at {url} responds with 500: \\x1b[2Jno",
        ),
    ],
    ids=["nobody", "nothing", "another-protocol", "another-server"],
)
async def test_a_failed_healthcheck_reports_the_cause(answer: bytes | None, message: str) -> None:
    """It prints one line, and the exit status is 1."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer or b"")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if answer is None:
        server.close()
    async with server:
        done = await command("healthcheck", "--url", f"http://127.0.0.1:{port}")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"authgate: {message.format(url=f'http://127.0.0.1:{port}')}\n",
    )


async def test_a_healthcheck_has_a_timeout(tmp_path: Path) -> None:
    """An authgate that hangs is unhealthy."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = await command("healthcheck", "--url", url)
    assert (done.returncode, done.stderr) == (
        1,
        f"authgate: the gate at {url} does not respond: no response within 2 s\n",
    )


async def test_a_healthcheck_needs_a_configured_admin_port() -> None:
    """It fails if the admin port is turned off, or if the kernel picks the port."""
    for env in ({"AUTHGATE_SERVER__ADMIN": "null"}, {"AUTHGATE_SERVER": "{admin: null}", **POD}):
        done = await command("healthcheck", **env)
        assert (done.returncode, "server.admin is null" in done.stderr) == (1, True)
    done = await command("healthcheck", "--admin", "127.0.0.1:0")
    assert (done.returncode, "give the address as --url" in done.stderr) == (2, True)


# dev


def developing(
    folder: Path,
    *words: str,
    env: Mapping[str, str] | None = None,
    ready: Callable[[], Awaitable[bool]] | None = None,
) -> ChildProcess:
    """Run `authgate dev`, on free ports by default. It is ready when it has printed everything."""
    log = folder / "dev.log"

    async def has_printed() -> bool:
        return "Press Ctrl-C to stop." in log.read_text()

    ports = ("--listen", f"127.0.0.1:{free_port()}", "--admin", f"127.0.0.1:{free_port()}")
    return ChildProcess(
        [*AUTHGATE, "dev", *(words or ports)],
        log=log,
        ready=ready or has_printed,
        environment={**os.environ, "TMPDIR": str(folder), **(env or {})},
    )


def printed(dev: ChildProcess, beginning: str) -> list[str]:
    """Return the printed lines that begin with this text."""
    return [line for line in dev.output().splitlines() if line.startswith(beginning)]


async def paste(line: str) -> subprocess.CompletedProcess[str]:
    """Return the result of running a printed line in another shell."""
    shell = ["sh", "-c", line]
    return await asyncio.to_thread(
        subprocess.run, shell, check=False, capture_output=True, text=True, timeout=120
    )


async def test_every_line_that_dev_prints_works_when_pasted(tmp_path: Path) -> None:
    """They send a valid token, no token, a token for another audience and one for TokenReview. Two show the result."""
    folder = tmp_path / "a folder's"
    folder.mkdir()
    async with developing(folder) as dev:
        *requests, metrics = [await paste(line) for line in printed(dev, "curl ")]
        assert [answer.stdout.split()[1] for answer in requests] == ["200", "401", "401", "200"]
        assert "X-Auth-Request-User: system:serviceaccount:default:demo" in requests[0].stdout
        assert "X-Auth-Reason: no_credential" in requests[1].stdout
        assert "X-Auth-Reason: audience_mismatch" in requests[2].stdout
        assert "X-Auth-Request-User: demo-operator" in requests[3].stdout
        assert 'reason="audience_mismatch"' in metrics.stdout
        (line,) = printed(dev, shlex.quote(sys.executable))
        explanation = await paste(line)
        assert (explanation.returncode, explanation.stderr) == (3, "")
        assert "the token's aud  other-audience" in explanation.stdout


async def test_ctrl_c_ends_dev_and_deletes_its_folder(tmp_path: Path) -> None:
    """The exit status is 0, and the folder with the tokens is deleted."""
    async with developing(tmp_path) as dev:
        folder = Path(printed(dev, "  configuration")[0].split()[-1]).parent
        assert (folder / "token").exists()
        dev.send(signal.SIGINT)
        assert await dev.ended(within=30)
        assert dev.exit_status == 0
        assert not folder.exists()
        assert "Traceback" not in dev.output()


async def test_ctrl_c_while_dev_starts_deletes_its_folder(tmp_path: Path) -> None:
    """A user who stops it early gets no traceback."""

    async def has_begun() -> bool:
        return any(tmp_path.glob("authgate-dev-*"))

    async with developing(tmp_path, ready=has_begun) as dev:
        dev.send(signal.SIGINT)
        assert await dev.ended(within=30)
        assert dev.exit_status == 0
        # On a busy machine, it may have started before the signal arrives.
        assert "Traceback" not in dev.output()
        assert not await has_begun()


async def test_dev_uses_other_ports_if_its_own_are_in_use(tmp_path: Path) -> None:
    """It reports the change, and the printed lines have the new ports."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        taken = [server.getsockname()[1] for server in (one, other)]
        words = ("--listen", f"127.0.0.1:{taken[0]}", "--admin", f"127.0.0.1:{taken[1]}")
        async with developing(tmp_path, *words) as dev:
            for port in taken:
                assert f"authgate: port {port} is in use: a free port is used instead" in dev.output()
                assert f":{port}/" not in dev.output()
            assert "200 OK" in (await paste(printed(dev, "curl ")[0])).stdout


async def test_the_folder_of_the_folder_option_is_kept(tmp_path: Path) -> None:
    """Users can look at its files and use the tokens later."""
    folder = tmp_path / "mine"
    words = ("--folder", str(folder), "--listen", f"127.0.0.1:{free_port()}", "--admin", "127.0.0.1:0")
    async with developing(tmp_path, *words) as dev:
        assert printed(dev, "  token ")[0].split()[-1] == str(folder / "token")
    assert (folder / "authgate.yaml").exists()


async def test_a_folder_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """Tokens are only written where no other user can read them."""
    folder = tmp_path / "everybodys"
    folder.mkdir(mode=0o755)
    done = await command("dev", "--folder", folder, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"authgate: {folder}: ")
    assert done.stderr.count("\n") == 1


async def test_an_address_of_another_machine_is_refused() -> None:
    """dev does not try other ports, because they would fail, too."""
    done = await command("dev", "--listen", "192.0.2.1:8080")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("authgate: cannot listen on 192.0.2.1:8080: ")


async def test_printed_lines_bypass_a_proxy(tmp_path: Path) -> None:
    """Without that, curl would send requests for loopback to the proxy of the environment."""
    async with developing(tmp_path, env={"http_proxy": "http://192.0.2.1:3128"}) as dev:
        lines = printed(dev, "curl ")
    assert len(lines) == 5
    assert all(re.match(r"curl -si? --noproxy '\*' ", line) for line in lines)
