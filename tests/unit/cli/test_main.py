from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from authgate import __version__
from authgate.cli import main
from tests.support.tokens import claims, unsigned

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

TOKEN = unsigned({"alg": "RS256"}, claims())
COMMANDS = ("serve", "dev", "check", "inspect", "explain", "healthcheck", "version", "config")

# These modules take longer to load than a short command takes to run.
HEAVY = ("aiohttp", "asyncio", "kubernetes_asyncio", "prometheus_client", "pydantic", "rich", "yaml")


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)], ids=["nothing", "long", "short"])
def test_help_names_every_command(run: Run, words: tuple[str, ...]) -> None:
    """`authgate` alone and its help list all commands."""
    result = run(*words)
    assert result.exit_code == 0
    assert all(f"\n  {command} " in result.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "config show", "config schema"])
def test_every_command_has_help(run: Run, command: str) -> None:
    """`authgate COMMAND --help` shows the usage."""
    result = run(*command.split(), "--help")
    assert (result.exit_code, result.stdout[:16].lower()) == (0, "usage: authgate ")


@pytest.mark.parametrize(
    "words",
    [
        ("no-such-command",),
        ("--no-such-option",),
        ("serve", "--no-such-option"),
        ("serve", "an-argument"),
        ("inspect", "--output", "xml"),
        ("version", "--output", "xml"),
        ("healthcheck", "an-argument"),
        ("healthcheck", "--url", "ftp://127.0.0.1"),
        ("dev", "--listen", "everywhere"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(run: Run, words: tuple[str, ...]) -> None:
    """A script can distinguish wrong usage from a failure, and standard output stays empty."""
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("inspekt", "inspect"),
        ("config sho", "show"),
        ("--versoin", "--version"),
        ("explain --polcy x", "--policy"),
        ("config show --otput json", "--output"),
        ("version --outpt=json", "--output"),
        ("healthcheck --redy", "--ready"),
        ("snippets ngix", "nginx"),
        ("explain --policy defualt token", "default"),
    ],
)
def test_a_typo_gets_a_suggestion(run: Run, words: str, meant: str) -> None:
    """This holds for commands, options, proxies and policies. The exit status is that of wrong usage."""
    result = run(*words.split(), env={"AUTHGATE_CLUSTER__AUDIENCES": "my-audience"})
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Did you mean '{meant}'?" in result.stderr
    assert "Possible options" not in result.stderr


@pytest.mark.parametrize("words", ["version", "check", "config show", "config explain server.listen"])
def test_yaml_is_the_same_as_json(run: Run, words: str) -> None:
    """Scripts can use either format."""
    env = {"AUTHGATE_CLUSTER__AUDIENCES": "my-audience"}
    as_json = run(*words.split(), "--output", "json", env=env).stdout
    as_yaml = run(*words.split(), "--output", "yaml", env=env).stdout
    assert yaml.safe_load(as_yaml) == json.loads(as_json)
    assert not as_yaml.startswith("{")


@pytest.mark.parametrize(
    "words",
    [
        (TOKEN,),
        ("inspect", TOKEN),
        ("explain", "--config", "file.yaml", "file", TOKEN),
        ("inspect", f"--token={TOKEN}"),
        ("explain", f"Bearer {TOKEN}"),
        ("inspect", "Authorization: bearer opaque-token"),
        ("inspect", TOKEN[: len(TOKEN) // 2]),
    ],
    ids=["command", "file", "surplus", "option", "credential", "header", "half"],
)
def test_a_token_on_the_command_line_is_refused_and_not_repeated(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Other users can read a process's arguments. The message must not copy the token into a log as well."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    output = capsys.readouterr()
    assert ended.value.code == 2
    assert output.out == ""
    assert output.err == (
        "authgate: a token must not be on the command line, where other users can read it: name a FILE that holds it,"
        " or pipe it to stdin\n"
    )


def test_the_version_is_shown(run: Run) -> None:
    """`authgate --version` is the short form."""
    assert run("--version").stdout == f"authgate {__version__}\n"


def test_versions_for_people_and_for_scripts_are_the_same(run: Run) -> None:
    """`authgate version` names the libraries that verify tokens. Its JSON has the same versions."""
    shown = dict(line.split(" ", 1) for line in run("version").stdout.splitlines())
    assert shown == json.loads(run("version", "--output", "json").stdout)
    assert shown["authgate"] == __version__
    assert {"python", "aiohttp", "cryptography", "openssl", "PyJWT"} <= shown.keys()


@pytest.mark.parametrize(
    "words",
    [("--help",), ("--version",), ("version",), ("healthcheck", "--url", "http://127.0.0.1:1")],
    ids=" ".join,
)
def test_short_commands_load_nothing_heavy(words: tuple[str, ...]) -> None:
    """A container's probe and the help must be fast."""
    code = "import sys\nfrom authgate.cli import main\ntry: main()\nfinally: print('loaded:', *sys.modules)\n"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], check=False, capture_output=True, text=True, timeout=60
    )
    loaded = done.stdout.rpartition("loaded: ")[2].split()
    assert "authgate.cli" in loaded
    assert set(HEAVY).isdisjoint(loaded)


def test_it_runs_as_a_module() -> None:
    """`python -m authgate` is the same as `authgate`."""
    done = subprocess.run(
        [sys.executable, "-m", "authgate", "--version"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == f"authgate {__version__}\n"


@pytest.mark.parametrize(
    "words", ["version", "--help", "config schema", "help --man", "completion bash", "snippets nginx"]
)
def test_a_full_disk_is_one_line(words: str) -> None:
    """There is no traceback, whether the output is longer than the buffer or not."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "authgate", *words.split()],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr == "authgate: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("words", ["version", "config schema"])
def test_a_closed_pipe_is_silent(words: str) -> None:
    """`head` and `less` may stop reading at any time."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "authgate", *words.split()],
            check=False,
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (1, "")
