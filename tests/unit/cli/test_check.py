from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

EXAMPLES = sorted((Path(__file__).parents[3] / "deploy" / "examples").glob("*.yaml"))
GOOD = """
jwt:
- issuer: {url: https://issuer.example, audiences: [my-app]}
  claimMappings: {username: {claim: sub, prefix: "corp:"}}
"""
BAD = """
cluster:
  audience: [my-audience]
  audiences: my-audience
server:
  prxy: nginx
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file that the gate can start with."""
    path = tmp_path / "authgate.yaml"
    path.write_text(GOOD)
    return path


def test_a_good_configuration_passes(run: Run, file: Path) -> None:
    """Exit status 0, and a sentence that says which file."""
    result = run("check", "--config", file)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{file}: a configuration that the gate can start with\n"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_pass(run: Run, example: Path) -> None:
    """What is shown to users can be used."""
    assert run("check", "--config", example).exit_code == 0


def test_the_file_may_be_named_by_the_environment(run: Run, file: Path) -> None:
    """`AUTHGATE_CONFIG` stands for --config."""
    assert run("check", env={"AUTHGATE_CONFIG": str(file)}).exit_code == 0


def test_the_environment_alone_may_be_complete(run: Run) -> None:
    """In a pod one variable is a whole configuration."""
    assert run("check", env={"AUTHGATE_CLUSTER__AUDIENCES": "my-audience"}).exit_code == 0


def test_every_problem_is_told_at_once_with_path_value_and_nearest_name(run: Run, file: Path) -> None:
    """Nobody has to run it once per mistake."""
    file.write_text(BAD)
    result = run("check", "--config", file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "cluster.audience (line 3): is not a known field; did you mean audiences?",
        'cluster.audiences (line 4): must be a list, such as [a, b]; got "my-audience"',
        "server.prxy (line 6): is not a known field; did you mean proxy?",
        "3 to mend",
    ]


def test_a_script_gets_the_problems_as_json(run: Run, file: Path) -> None:
    """With path, value, suggestion and line by name."""
    file.write_text(BAD)
    result = run("check", "--config", file, "--output", "json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["valid"], told["warnings"]) == (1, False, [])
    assert told["problems"][2] == {
        "path": "server.prxy",
        "message": "is not a known field",
        "value": "",
        "suggestion": "proxy",
        "line": 6,
    }


def test_warnings_do_not_fail(run: Run, file: Path) -> None:
    """What is worth a second look may still be meant."""
    file.write_text(GOOD.replace("corp:", ""))
    result = run("check", "--config", file)
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: jwt[0].claimMappings.username.prefix (line 4)")


def test_a_missing_file_is_one_sentence(run: Run, tmp_path: Path) -> None:
    """No traceback for a wrong path."""
    result = run("check", "--config", tmp_path / "none.yaml")
    assert result.exit_code == 1
    assert (
        result.stderr.splitlines()[0] == f"{tmp_path / 'none.yaml'}: can't be read: No such file or directory"
    )


def test_keys_in_a_file_are_read(run: Run, file: Path, tmp_path: Path) -> None:
    """A key file that would keep the gate from starting is found before."""
    keys = tmp_path / "keys.json"
    keys.write_text('{"keys": [{"kty": "RSA", "n": "AQ", "e": "AQAB"}]}')
    file.write_text(f"{GOOD}  gate: {{name: corp, staticKeys: {{file: {keys}}}}}\n")
    result = run("check", "--config", file)
    assert result.exit_code == 1
    assert result.stderr.startswith("jwt issuer 'corp': gate.staticKeys: no usable key; key 0: ")


def test_a_clusters_keys_of_which_none_can_be_used_are_told(run: Run, file: Path) -> None:
    """They need no network either; a cluster that is asked is left to the machine on which the gate will run."""
    keys = file.with_name("keys.json")
    keys.write_text('{"keys": [{"kty": "RSA", "n": "AQ", "e": "AQAB"}]}')
    static = f"issuers: [x], tokenReview: {{mode: never}}, staticKeys: {{file: {keys}}}"
    file.write_text(
        f"cluster: [{{audiences: [a], context: nowhere}}, {{name: away, audiences: [a], {static}}}]\n"
    )
    result = run("check", "--config", file)
    assert result.exit_code == 1
    assert result.stderr.startswith("cluster 'away': staticKeys: no usable key; key 0: ")


def test_a_control_character_in_the_file_does_not_reach_the_terminal(run: Run, file: Path) -> None:
    """Problems quote what they found, escaped."""
    file.write_text('"a\\e[2Jb": 1\n' + GOOD)
    result = run("check", "--config", file)
    assert result.exit_code == 1
    assert all(char.isprintable() or char == "\n" for char in result.stderr)
