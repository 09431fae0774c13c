from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from authgate.config import json_schema


def _properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, definition in {"Config": schema, **schema["$defs"]}.items():
        for field, value in definition["properties"].items():
            yield f"{name}.{field}", value


def test_every_field_is_described() -> None:
    """Editors show the description of each field, at the field or at its definition."""
    schema = json_schema()
    definitions = {f"#/$defs/{name}": definition for name, definition in schema["$defs"].items()}
    described = {
        name: value.get("description") or definitions.get(value.get("$ref", ""), {}).get("description")
        for name, value in _properties(schema)
    }
    assert [name for name, description in described.items() if not description] == []


def test_names_are_those_of_the_file() -> None:
    """They are in camelCase, with acronyms in capitals."""
    names = {name.split(".")[1] for name, _ in _properties(json_schema())}
    assert (
        {"discoveryURL", "negativeTTL", "clientCAFile", "tokenReview"} <= names,
        [n for n in names if "_" in n],
    ) == (
        True,
        [],
    )


def test_no_mapping_accepts_unknown_fields() -> None:
    """So editors mark a typo, as authgate does."""
    schema = json_schema()
    assert all(value["additionalProperties"] is False for value in (schema, *schema["$defs"].values()))


def test_titles_are_trimmed() -> None:
    """Only the title of the whole schema is kept."""
    schema = json_schema()
    assert (schema["title"], '"title"' in json.dumps(schema["$defs"])) == ("AuthgateConfiguration", False)


@pytest.mark.parametrize(
    ("definition", "field", "expected"),
    [
        (
            "IssuerGateConfig",
            "leeway",
            {"minimum": 0, "maximum": 600, "default": 60.0, "type": ["string", "number"]},
        ),
        ("LimitsConfig", "maxHeaders", {"minimum": 8, "maximum": 10000, "type": "integer"}),
        ("ClusterConfig", "audiences", {"minItems": 1, "maxItems": 64, "type": "array"}),
        ("LogConfig", "level", {"enum": ["debug", "info", "warning", "error"]}),
    ],
)
def test_bounds_are_in_the_schema(definition: str, field: str, expected: dict[str, object]) -> None:
    """The schema has the bounds of the models."""
    value = json_schema()["$defs"][definition]["properties"][field]
    assert {key: value[key] for key in expected} == expected
