"""A child process reads the configuration and hands over plain values, or every problem."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from authgate.cli.config_process import ConfigProcess
from authgate.config import ConfigError, load
from authgate.config.plain import Section, file_state
from tests.support.process import until

ISSUER = {
    "issuer": {"url": "https://issuer.example.com", "audiences": ["a"]},
    "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
}

WIDE = {**os.environ, "COLUMNS": "300"}
"""An environment in which messages are not wrapped."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A valid configuration file."""
    path = tmp_path / "authgate.yaml"
    path.write_text(json.dumps({"jwt": [ISSUER], "server": {"listen": [":1"]}}))
    return path


def words(file: Path) -> list[str]:
    """The command line with a file and flags."""
    return ["serve", "--config", str(file), "--listen", "127.0.0.1:2", "--log-level", "debug"]


async def test_a_reading_has_the_file_and_its_state(file: Path) -> None:
    """Flags override the file, as in one process."""
    found = await ConfigProcess(words(file)).read_again()

    assert (found.path, found.state) == (file, file_state(file))
    config = found.config().config
    assert isinstance(config, Section)
    assert [str(address) for address in config.server.listen] == ["127.0.0.1:2"]
    assert config.log.level == "debug"


@pytest.mark.parametrize(
    ("given", "status", "text"),
    [
        (["--help"], 0, "Run the gate until SIGTERM or SIGINT."),
        (["--no-such-option"], 2, "No such option"),
        (["--config", "/nonexistent/file"], 1, "cannot be read: No such file or directory"),
    ],
)
def test_without_a_configuration_the_process_prints_why_and_ends(
    given: list[str], status: int, text: str
) -> None:
    """The exit status is that of the command, and nothing is printed twice."""
    command = [sys.executable, "-m", "authgate", "serve", *given]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=WIDE)

    assert ended.returncode == status
    assert (ended.stdout + ended.stderr).count(text) == 1


async def test_the_process_loads_only_the_command_that_it_runs(
    file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """On one core, the gate starts later by what this process loads."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")

    (await ConfigProcess(words(file)).read_again()).config()

    modules = {line.rpartition("|")[2].strip() for line in capfd.readouterr().err.splitlines()}
    assert {"authgate.cli.serve", "authgate.config.checks"} <= modules
    others = {"commands", "config", "dev", "doctor", "explain", "serving", "snippets", "token"}
    unused = {f"authgate.cli.{name}" for name in others} | {"asyncio", "cryptography", "jwt", "rich.text"}
    assert modules.isdisjoint(unused)


async def test_the_process_ends_without_freeing_its_memory(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """That takes the interpreter longer than reading a small file. What it would call at its exit is not called."""
    code = "import atexit, sys; atexit.register(print, 'freed', file=sys.stderr); print('loaded', file=sys.stderr)"
    (tmp_path / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    (await ConfigProcess(words(file)).read_again()).config()

    assert capfd.readouterr().err == "loaded\n"


async def test_a_reload_reads_the_file_and_the_files_that_it_names_again(file: Path, tmp_path: Path) -> None:
    """It returns the paths, too, which are watched while the file is rejected."""
    process = ConfigProcess(words(file))
    keys = tmp_path / "keys.json"
    with_keys = {**ISSUER, "gate": {"staticKeys": {"file": str(keys)}}}
    file.write_text(json.dumps({"jwt": [with_keys]}))
    with pytest.raises(ConfigError, match="No such file"):
        (await process.read_again()).config()
    keys.write_text(
        '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
    )
    found = (await process.read_again()).config()
    assert found.files == (str(keys),)


async def test_problems_of_a_reload_are_those_of_a_load(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """They have places and rules, and are not printed."""
    file.write_text(json.dumps({"jwt": [ISSUER], "sever": {}, "log": {"level": "loud"}}))
    found = await ConfigProcess(["serve", "--config", str(file)]).read_again()
    assert found.state == file_state(file)
    with pytest.raises(ConfigError) as ours:
        found.config()
    with pytest.raises(ConfigError) as directly:
        load(file, {})
    assert ours.value.problems == directly.value.problems
    assert ours.value.without_values() == directly.value.without_values()
    assert capfd.readouterr() == ("", "")


async def test_a_process_that_cannot_start_or_dies_is_a_problem(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The previous configuration then stays in use."""
    process = ConfigProcess(words(file))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ConfigError, match="no process can be started to read it: No such file or directory"):
        await process.read_again()
    (tmp_path / "python").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "python").chmod(0o700)
    with pytest.raises(ConfigError, match="the process that reads it ended with status 9"):
        await process.read_again()
    (tmp_path / "python").write_text("#!/bin/sh\nkill -9 $$\n")
    with pytest.raises(ConfigError, match="SIGKILL ended the process that reads it; it may need more memory"):
        await process.read_again()


async def test_half_of_a_configuration_is_never_used(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process may end while it sends."""
    fake = tmp_path / "python"
    # The process gets the end of the pipe as a number in its program.
    number = r"""$(printf %s "$2" | sed 's/.*writer=\([0-9]*\).*/\1/')"""
    half = f"#!/bin/bash\nprintf '\\200\\005' >/dev/fd/{number}\n"
    fake.write_text(half)
    fake.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(ConfigError, match="the process that reads it ended too soon"):
        await ConfigProcess(words(file)).read_again()
    fake.write_text(half + "kill -9 $$\n")
    with pytest.raises(ConfigError, match="SIGKILL ended the process that reads it; it may need more memory"):
        await ConfigProcess(words(file)).read_again()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="not applicable: no /proc")
async def test_a_start_whose_reading_process_dies_fails_with_one_line(tmp_path: Path) -> None:
    """For example, because the container has too little memory."""
    file = tmp_path / "never-written.yaml"
    os.mkfifo(file)
    gate = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "authgate", *words(file)), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    children = Path(f"/proc/{gate.pid}/task/{gate.pid}/children")
    with ExitStack() as opened:

        async def reads() -> bool:
            try:
                writer = os.open(file, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # no process has opened it
                return False
            opened.callback(os.close, writer)
            return True

        await until(reads, within=60)
        os.kill(int(children.read_text()), signal.SIGKILL)
        output, errors = await gate.communicate()

    assert (gate.returncode, output) == (1, b"")
    assert errors == (
        b"authgate: configuration: SIGKILL ended the process that reads it; it may need more memory\n"
    )
