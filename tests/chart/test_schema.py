"""values.schema.json says of `config` what the gate's own models say."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from authgate.config import Config, load
from tests.support.helm import CHART, ROOT, Helm, HelmError

GENERATOR = runpy.run_path(str(CHART / "schema" / "generate.py"))
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.yaml"))


def test_it_is_current(tmp_path: Path) -> None:
    """The file is what `make chart-schema` would write."""
    file = tmp_path / "values.schema.json"
    GENERATOR["write"](file)
    assert file.read_text() == (CHART / "values.schema.json").read_text()


def test_every_value_is_known() -> None:
    """The schema and values.yaml name the same values, at every depth where the schema lists names."""

    def compare(schema: dict[str, Any], values: dict[str, Any], path: str) -> list[str]:
        known = schema.get("properties")
        if known is None or "$ref" in schema:
            return []
        wrong = [f"{path}{name}" for name in known.keys() ^ values.keys() if name != "global"]
        for name in known.keys() & values.keys():
            if isinstance(values[name], dict):
                wrong += compare(known[name], values[name], f"{path}{name}.")
        return wrong

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert compare(GENERATOR["values_schema"](), values, "") == []


def _loaded(text: str, tmp_path: Path) -> Config:
    file = tmp_path / "authgate.yaml"
    file.write_text(text)
    return load(file, {}).config


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_can_be_installed(helm: Helm, example: Path, tmp_path: Path) -> None:
    """What deploy/examples has for a file goes into `config` as it is, and reaches the gate unchanged in meaning."""
    config = yaml.safe_load(example.read_text())
    held = helm.template({"config": config}).one("ConfigMap")["data"]["authgate.yaml"]
    assert _loaded(held, tmp_path) == _loaded(example.read_text(), tmp_path)


@pytest.mark.parametrize(
    ("duration", "good"),
    [
        ("5s", True),
        ("1h30m", True),
        ("1m5ms", True),
        ("500ms", True),
        ("0.5s", True),
        (5, True),
        (0.25, True),
        ("", False),
        ("5", False),
        ("5m5", False),
        ("5s1m", False),
        ("5 s", False),
        ("-5s", False),
        (-1, False),
    ],
)
def test_durations_are_judged_alike(helm: Helm, tmp_path: Path, duration: object, good: bool) -> None:
    """Helm's patterns cannot look ahead as the gate's do, and accept the same durations all the same."""

    def accepted(attempt: Any, *errors: type[Exception]) -> bool:
        try:
            attempt()
        except errors:
            return False
        return True

    config = {"cluster": {"audiences": ["my-audience"]}, "cache": {"ttl": duration}}
    assert accepted(lambda: helm.template({"config": config}), HelmError) is good
    assert accepted(lambda: _loaded(yaml.safe_dump(config), tmp_path), Exception) is good
