"""The file's format as a JSON Schema, for editors and for validation elsewhere."""

from __future__ import annotations

from typing import Any

from authgate.config.models.configuration import Config


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the configuration file, with every field described."""
    schema = _untitled(Config.model_json_schema(by_alias=True))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "AuthgateConfiguration",
        **schema,
        "patternProperties": {"^x-": {"description": "Ignored: values that the file's aliases repeat."}},
    }


def _untitled(schema: dict[str, Any]) -> dict[str, Any]:
    """Leave out the titles that pydantic makes of names; a property that is called "title" would stay."""
    trimmed: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in ("properties", "$defs", "patternProperties"):
            trimmed[keyword] = {name: _untitled(below) for name, below in value.items()}
        elif isinstance(value, dict) and keyword != "default":
            trimmed[keyword] = _untitled(value)
        elif isinstance(value, list) and keyword in ("anyOf", "oneOf"):
            trimmed[keyword] = [_untitled(below) for below in value]
        elif keyword != "title":
            trimmed[keyword] = value
    return trimmed
