"""The JSON Schema of the configuration file."""

from __future__ import annotations

from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

from authgate.config.format import as_written
from authgate.config.models.configuration import Config

SCHEMA_ID: Final = "https://authgate.github.io/authgate/schema/v1alpha1.json"
"""The address of the schema on the documentation site."""
SCHEMA_LINE: Final = f"# yaml-language-server: $schema={SCHEMA_ID}"
"""The first line of a configuration file, from which editors know the schema."""


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the configuration file, with every field described."""
    schema = _untitled(Config.model_json_schema(by_alias=True, schema_generator=_WithWrittenDefaults))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "AuthgateConfiguration",
        **schema,
        "patternProperties": {"^x-": {"description": "Ignored: values that the file's aliases repeat."}},
    }


class _WithWrittenDefaults(GenerateJsonSchema):
    """Writes defaults as a file would have them."""

    def encode_default(self, dft: Any) -> Any:
        return super().encode_default(as_written(dft))


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
