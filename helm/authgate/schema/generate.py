"""Write the chart's values.schema.json: python helm/authgate/schema/generate.py [FILE].

`config` has the schema of authgate's configuration, made from its models, so that `helm install` refuses what
`authgate check` refuses.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from authgate.config import json_schema

_HERE = Path(__file__).parent
_ROOT = "Config"
# Helm uses Go's patterns, which have no lookahead. Durations have these two, and do not need them: their groups differ
# in their letters, and minLength refuses the empty text.
_LOOKS_AHEAD = {"(?=.)": "", "m(?!s)": "m"}
# "These, except those", which JSON Schema writes with `not`.
_ALL_BUT = re.compile(r"\^\(\?:\(\?!(?P<those>.*)\$\)(?P<these>.*)\)\$")


def values_schema() -> dict[str, Any]:
    """Return the JSON Schema of the chart's values."""
    gate = _for_go(json_schema())
    definitions = gate.pop("$defs")
    dialect = gate.pop("$schema")
    del gate["$id"], gate["title"]
    chart = yaml.safe_load((_HERE / "chart.yaml").read_text(encoding="utf-8"))
    own = chart.pop("$defs")
    injected = {"InjectedConfig": _injected(gate), "InjectedClusterConfig": _without_audiences(definitions)}
    for name in (*own, *injected):
        if name in definitions:
            raise ValueError(f"authgate's configuration also defines {name}: rename the chart's definition")
    # The schema does not require a cluster or issuer: `mode: sidecar` does not need one, and for other modes the
    # chart's own checks have a better message.
    everything = {**definitions, _ROOT: gate, **injected, **own}
    values = {"$schema": dialect, "title": "Values of the authgate chart", **chart, "$defs": everything}
    readable = _for_reading(values, everything)
    if not isinstance(readable, dict):
        raise TypeError("the schema of the values must be an object")
    return readable


def _injected(gate: dict[str, Any]) -> dict[str, Any]:
    """Return the schema for injected sidecars, whose audiences and policies are in the annotations of the pod."""
    properties = {name: value for name, value in gate["properties"].items() if name != "policies"}
    properties["cluster"] = {"$ref": "#/$defs/InjectedClusterConfig"}
    return {**gate, "properties": properties}


def _without_audiences(definitions: dict[str, Any]) -> dict[str, Any]:
    cluster = dict(definitions["ClusterConfig"])
    cluster["properties"] = {
        name: value for name, value in cluster["properties"].items() if name != "audiences"
    }
    cluster["required"] = [name for name in cluster["required"] if name != "audiences"]
    return cluster


def _for_go(schema: Any) -> Any:
    """Return a schema whose patterns are all valid in Go."""
    if isinstance(schema, list):
        return [_for_go(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: _for_go(value) for name, value in schema.items()}
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        for known, plain in _LOOKS_AHEAD.items():
            if known in pattern:
                changed["minLength"] = max(1, schema.get("minLength", 0))
                pattern = pattern.replace(known, plain)
        if all_but := _ALL_BUT.fullmatch(pattern):
            pattern = f"^{all_but['these']}$"
            changed["not"] = {"pattern": f"^{all_but['those']}$"}
        if re.search(r"\(\?[=!<]", pattern):
            raise ValueError(f"Go has no lookaround, so this pattern is not valid there: {pattern}")
        changed["pattern"] = pattern
    return changed


def _for_reading(schema: Any, definitions: dict[str, Any]) -> Any:
    """Return an equivalent schema for which Helm's first error is the useful one.

    Helm shows the errors of all alternatives of `anyOf`, such as "got object, want null". So each alternative that the
    value's type selects becomes an `if`. Helm shows missing properties before unknown ones, which are often the same
    misspelt name. So `required` becomes a `then`, which is checked last.
    """
    if isinstance(schema, list):
        return [_for_reading(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: _for_reading(value, definitions) for name, value in schema.items()}
    alternatives = _alternatives(schema)
    types = [_types_of(item, definitions) for item in alternatives]
    if len(alternatives) > 1 and all(types) and sum(map(len, types)) == len(frozenset().union(*types)):
        changed.pop("anyOf", changed.pop("oneOf", None))
        first, *others = (_for_reading(item, definitions) for item in alternatives)
        for kinds, other in zip(types[1:], others, strict=True):
            first = {"if": {"type": sorted(kinds)}, "then": other, "else": first}
        changed |= first
    elif "additionalProperties" in changed and isinstance(changed.get("required"), list):
        changed |= {"if": True, "then": {"required": changed.pop("required")}}
    return changed


def _alternatives(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the alternatives of `anyOf` or `oneOf`, also of those that are only alternatives themselves."""
    found = []
    for item in schema.get("anyOf", schema.get("oneOf", ())):
        found += _alternatives(item) if item.keys() in ({"anyOf"}, {"oneOf"}) else [item]
    return found


def _types_of(schema: dict[str, Any], definitions: dict[str, Any]) -> frozenset[str]:
    """Return the types of the values that a schema accepts; empty if it does not name them."""
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
    if isinstance(schema.get("const"), str):
        return frozenset({"string"})
    named = schema.get("type", ())
    return frozenset({named} if isinstance(named, str) else named)


def write(file: Path) -> None:
    """Write the schema to a file."""
    file.write_text(json.dumps(values_schema(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else _HERE.parent / "values.schema.json")
