from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from authgate.config import json_schema

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

EXAMPLES = sorted((Path(__file__).parents[3] / "deploy" / "examples").glob("*.yaml"))


def at(document: Any, path: str) -> Any:
    """Return the value at a path such as `jwt[0].issuer.url`."""
    for quoted, index, name in re.findall(r'\[("[^"]*")\]|\[(\d+)\]|([^.\[\]]+)', path):
        document = document[int(index)] if index else document[json.loads(quoted) if quoted else name]
    return document


def test_every_value_is_shown_with_its_source(run: Run, tmp_path: Path) -> None:
    """The source is a flag, a variable, the file or the default."""
    file = tmp_path / "authgate.yaml"
    file.write_text("cluster: {audiences: [a]}\nlog: {level: debug}\n")
    result = run(
        "config",
        "show",
        "-c",
        file,
        "--listen",
        ":80",
        "--listen",
        ":81",
        env={"AUTHGATE_LOG__LEVEL": "error"},
    )
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert f"  audiences: [a]  # file {file}" in lines
    assert '  listen: [":80", ":81"]  # flag --listen' in lines
    assert "  level: error  # env AUTHGATE_LOG__LEVEL" in lines
    assert "  format: json  # default" in lines


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_text_is_yaml_with_every_value(run: Run, example: Path) -> None:
    """The text has the form of the file and the values of the JSON output."""
    shown = yaml.safe_load(run("config", "show", "-c", example).stdout)
    values = json.loads(run("config", "show", "-c", example, "-o", "json").stdout)
    assert {path: at(shown, path) for path in values} == {
        path: entry["value"] for path, entry in values.items()
    }


def test_a_script_gets_values_and_sources_by_path(run: Run) -> None:
    """JSON output has them by path, so scripts need not parse comments."""
    result = run("config", "show", "--output", "json", env={"AUTHGATE_CLUSTER__AUDIENCES": "a,b"})
    assert json.loads(result.stdout)["cluster.audiences"] == {
        "value": ["a", "b"],
        "source": "env AUTHGATE_CLUSTER__AUDIENCES",
    }


def test_secrets_are_masked(run: Run) -> None:
    """A token in a field for something else is not shown."""
    policies = "{default: {allow: [{users: [eyJhbGciOiJub25lIn0.e30.]}]}}"
    env = {"AUTHGATE_CLUSTER__AUDIENCES": "a", "AUTHGATE_POLICIES": policies}
    result = run("config", "show", env=env)
    assert result.exit_code == 0
    assert 'users: ["***"]' in result.stdout


def test_the_problems_of_an_invalid_configuration_are_shown(run: Run) -> None:
    """There is no effective configuration to show."""
    result = run("config", "show", env={"AUTHGATE_SERVER__ADMIN": "nowhere"})
    assert (result.exit_code, result.stdout) == (1, "")
    assert "server.admin: " in result.stderr


def test_the_schema_is_printed(run: Run) -> None:
    """It is the JSON Schema of the file, for editors."""
    assert json.loads(run("config", "schema").stdout) == json_schema()


def test_config_without_a_command_lists_its_commands(run: Run) -> None:
    """The call is wrong usage."""
    result = run("config")
    assert result.exit_code == 2
    assert "schema" in result.output


def test_a_field_is_explained(run: Run, tmp_path: Path) -> None:
    """Its meaning, type, default, variable, example, and value with its line are shown."""
    file = tmp_path / "authgate.yaml"
    file.write_text("cluster: {audiences: [a]}\nserver:\n  reloadInterval: 1m\n")
    shown = run("config", "explain", "server.reloadInterval", "--config", file).stdout
    assert "server.reloadInterval\n  How often" in shown
    assert "AUTHGATE_SERVER__RELOAD_INTERVAL" in shown
    assert f'server.reloadInterval  "1m"  (file {file}:3)' in shown
    data = json.loads(run("config", "explain", "server.reloadInterval", "-c", file, "-o", "json").stdout)
    assert (data["default"], data["current"][0]["value"], data["current"][0]["line"]) == ("5s", "1m", 3)


def test_an_unknown_field_is_wrong_usage(run: Run) -> None:
    """The exit status is 2, and there is a suggestion."""
    result = run("config", "explain", "server.lisen")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean server.listen?" in result.stderr


def test_without_a_path_the_sections_are_listed(run: Run) -> None:
    """They are an overview of the format."""
    assert all(
        f"\n  {section} " in run("config", "explain").stdout for section in ("cluster", "jwt", "server")
    )
