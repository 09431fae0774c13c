"""The lines from which editors know the JSON Schema of a file name a schema that exists and accepts the file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from authgate.config import SCHEMA_ID, SCHEMA_LINE, json_schema
from authgate.tools.providers import provider, provider_names
from tests.unit.test_repository import PROJECT, ROOT, texts_of_the_project

_LINE = re.compile(r"^# yaml-language-server: \$schema=(?P<schema>\S+)$", re.MULTILINE)
_DEPLOY = ROOT / "deploy"
CONFIGURATIONS = sorted(
    str(path.relative_to(ROOT))
    for path in (*(_DEPLOY / "examples").glob("*.yaml"), *_DEPLOY.rglob("authgate.yaml"))
    if path.parent.name not in ("kubernetes", "traefik")  # manifests, and Traefik's own configuration
)
VALUES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("helm/*/values.yaml"), *_DEPLOY.glob("examples/*/values.yaml"))
)


def schema_at(file: Path) -> str:
    """The schema that the first line of a file names."""
    found = _LINE.match(file.read_text())
    assert found, f"{file}: the first line names no schema"
    return found["schema"]


@pytest.fixture(scope="module")
def configuration() -> Draft202012Validator:
    """The schema of the configuration file."""
    return judge(json_schema())


def judge(schema: dict[str, Any]) -> Draft202012Validator:
    """A valid schema, as an editor uses it."""
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def errors(document: Any, schema: Draft202012Validator) -> list[str]:
    """What an editor would mark in a file."""
    return [error.message for error in schema.iter_errors(document)]


def test_the_schemas_address_is_on_the_projects_site() -> None:
    """The documentation site has the schema at its `$id`: docs/.site/hooks.py writes it."""
    assert json_schema()["$id"] == SCHEMA_ID
    assert SCHEMA_ID.startswith(PROJECT["urls"]["Documentation"])
    assert SCHEMA_LINE.endswith(SCHEMA_ID)


def test_each_line_names_a_schema_that_exists() -> None:
    """It is the address on the site, or the path of a file beside it."""
    for name, text in texts_of_the_project().items():
        for found in _LINE.finditer(text):
            assert found["schema"] == SCHEMA_ID or (ROOT / name).parent.joinpath(found["schema"]).is_file(), (
                name
            )


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_schema_accepts_each_configuration(name: str, configuration: Draft202012Validator) -> None:
    """An editor marks nothing in an example."""
    assert schema_at(ROOT / name) == SCHEMA_ID
    assert errors(yaml.safe_load((ROOT / name).read_text()), configuration) == []


@pytest.mark.parametrize("name", VALUES)
def test_the_schema_accepts_the_values(name: str) -> None:
    """The same for values of the chart."""
    file = ROOT / name
    schema = json.loads((file.parent / schema_at(file)).read_text())
    values = yaml.safe_load(file.read_text())
    assert errors(values, judge(schema)) == []


def test_the_schema_notices_a_typo(configuration: Draft202012Validator) -> None:
    """An editor marks an unknown field."""
    assert errors({"cluster": {"audience": ["my-audience"]}}, configuration) != []


@pytest.mark.parametrize("name", provider_names())
def test_configurations_of_providers_name_the_schema(name: str, configuration: Draft202012Validator) -> None:
    """`config init` writes the line first, and the schema accepts the rest."""
    text = provider(name).render({})
    assert text.startswith(f"{SCHEMA_LINE}\n")
    assert errors(yaml.safe_load(text), configuration) == []
