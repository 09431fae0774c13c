"""A child process reads the configuration and hands over plain values, or every problem."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from authgate.cli.config_process import ConfigProcess
from authgate.config import ConfigError, load
from authgate.config.plain import Reading, Section, file_state

if TYPE_CHECKING:
    from pathlib import Path

ISSUER = {
    "issuer": {"url": "https://issuer.example.com", "audiences": ["a"]},
    "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A valid configuration file."""
    path = tmp_path / "authgate.yaml"
    path.write_text(json.dumps({"jwt": [ISSUER], "server": {"listen": [":1"]}}))
    return path


def words(file: Path) -> list[str]:
    """The command line with a file and flags."""
    return ["serve", "--config", str(file), "--listen", "127.0.0.1:2", "--log-level", "debug"]


def test_the_first_reading_has_the_file_and_its_state(file: Path) -> None:
    """Flags override the file, as in one process."""
    found = ConfigProcess(words(file)).start().receive()

    assert isinstance(found, Reading)
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
    given: list[str], status: int, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its exit status is that of the command."""
    assert ConfigProcess(["serve", *given]).start().receive() == status
    assert text in "".join(capfd.readouterr())


def test_the_process_loads_only_the_command_that_it_runs(
    file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """On one core, the gate starts later by what this process loads."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")

    assert isinstance(ConfigProcess(words(file)).start().receive(), Reading)

    modules = {line.rpartition("|")[2].strip() for line in capfd.readouterr().err.splitlines()}
    assert {"authgate.cli.serve", "authgate.config.checks"} <= modules
    others = {"commands", "config", "dev", "doctor", "explain", "serving", "snippets", "token"}
    unused = {f"authgate.cli.{name}" for name in others} | {"asyncio", "cryptography", "jwt", "rich.text"}
    assert modules.isdisjoint(unused)


def test_the_process_ends_without_freeing_its_memory(file: Path, tmp_path: Path) -> None:
    """That takes the interpreter longer than reading a small file. What it would call at its exit is not called."""
    (tmp_path / "sitecustomize.py").write_text("import atexit; atexit.register(print, 'freed', flush=True)")
    code = (
        "import sys; from authgate.cli.config_process import ConfigProcess;"
        " ConfigProcess(sys.argv[1:]).start().receive()"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code, *words(file)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )

    assert ended.stdout == "freed\n"  # by the process that receives


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


_KILLED = "SIGKILL ended the process that reads it; it may need more memory"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("kill -9 $$", _KILLED),
        ("printf '\\200\\005' >/dev/fd/$writer; kill -9 $$", _KILLED),
        ("printf '\\200\\005' >/dev/fd/$writer", "the process that reads it ended too soon"),
    ],
)
def test_a_start_whose_reading_process_dies_fails_with_one_line(
    file: Path, tmp_path: Path, script: str, expected: str
) -> None:
    """For example, because the container has too little memory. Half of a configuration is never used."""
    fake = tmp_path / "python"
    # The child process gets the end of the pipe as a number in its program.
    number = r"""$(printf %s "$2" | sed 's/.*reading_for=(\([0-9]*\),.*/\1/')"""
    fake.write_text(f"#!/bin/bash\nwriter={number}\n{script}\n")
    fake.chmod(0o700)
    code = f"import sys; sys.executable = {str(fake)!r}; from authgate.cli import main; main()"

    ended = subprocess.run(
        [sys.executable, "-c", code, *words(file)], capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"authgate: configuration: {expected}\n"
