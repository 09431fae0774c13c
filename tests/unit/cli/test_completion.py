from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from authgate.cli.command_tree import command_tree
from tests.support.tools import require_tool
from tests.unit.cli.conftest import command_context

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Run

CASES = [
    ("authgate ins", {"inspect"}),
    ("authgate config s", {"schema", "show"}),
    ("authgate check --out", {"--output"}),
    ("authgate check --output ", {"text", "json", "yaml"}),
    ("authgate version -o j", {"json"}),
    ("authgate healthcheck --re", {"--ready"}),
    ("authgate explain --policy check --hos", {"--host"}),
    ("authgate config init key", {"keycloak"}),
    ("authgate check --config auth", {"authgate.yaml"}),
    ("authgate inspect to", {"token file"}),
]
"""Lines, and the completions of their last word."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files to complete."""
    (tmp_path / "authgate.yaml").touch()
    (tmp_path / "token file").touch()
    return tmp_path


def program(name: str) -> str:
    """Return the path of a shell, or skip the test."""
    return str(require_tool(name, "its completions are not tested"))


def lines(folder: Path, *words: str) -> list[str]:
    """Return the lines that a command prints."""
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60, cwd=folder)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(("line", "expected"), CASES, ids=[line for line, _ in CASES])
def test_bash_completes(run: Run, folder: Path, line: str, expected: set[str]) -> None:
    """Names come from the script. File names come from readline, so the script adds nothing there."""
    (folder / "completion").write_text(run("completion", "bash").stdout)
    words = line.split(" ")
    code = 'source completion; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _authgate; printf "%s\\n" "${COMPREPLY[@]}"'
    found = {found for found in lines(folder, program("bash"), "-c", code, "bash", *words) if found}
    assert found == (set() if {"authgate.yaml", "token file"} & expected else expected)


def test_bash_completes_a_value_after_an_equals_sign(run: Run, folder: Path) -> None:
    """Readline splits --option=value into three words."""
    (folder / "completion").write_text(run("completion", "bash").stdout)
    code = "source completion; COMP_WORDS=(authgate check --output = j); COMP_CWORD=4; _authgate; echo $COMPREPLY"
    assert lines(folder, program("bash"), "-c", code) == ["json"]


@pytest.mark.parametrize(("line", "expected"), CASES, ids=[line for line, _ in CASES])
def test_fish_completes(run: Run, folder: Path, line: str, expected: set[str]) -> None:
    """Fish can list its completions of a line."""
    (folder / "completion").write_text(run("completion", "fish").stdout)
    found = lines(folder, program("fish"), "--no-config", "-c", f"source completion; complete -C '{line}'")
    assert {each.split("\t")[0].replace("\\", "") for each in found} == expected


@pytest.mark.parametrize(("line", "expected"), CASES, ids=[line for line, _ in CASES])
def test_zsh_completes(run: Run, folder: Path, line: str, expected: set[str]) -> None:
    """An interactive zsh shows the only completion in the line, or lists all of them."""
    (folder / "completion").write_text(run("completion", "zsh").stdout)
    shell = program("zsh")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(shell, [shell, "-f", "-i"], {**os.environ, "TERM": "xterm", "PS1": "> "})
    try:
        os.write(terminal, b"autoload -U compinit; compinit -u -D; source ./completion; echo lo''aded\n")
        screen(terminal, "loaded")
        os.write(terminal, line.encode() + b"\t\t")
        typed = line.rpartition(" ")[2] if len(expected) == 1 else ""
        seen = screen(terminal, *(name.replace(" ", "\\ ").removeprefix(typed) for name in expected))
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)
    assert "error" not in seen


def screen(terminal: int, *texts: str) -> str:
    """Wait until a terminal has shown all of these texts, and return its output. Fail after 60 s."""
    seen, end = "", time.monotonic() + 60
    while not all(text in seen for text in texts):
        ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        assert ready, seen
        seen += os.read(terminal, 65536).decode(errors="replace")
    return seen


def test_every_command_is_in_every_script(run: Run) -> None:
    """The scripts are generated, so no command is missing."""
    commands = command_tree(command_context()).walk()
    assert len(commands) > 15
    for shell in ("bash", "zsh", "fish"):
        script = run("completion", shell).stdout
        assert all(command.name in script for command in commands)
