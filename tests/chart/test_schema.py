"""values.schema.json describes `config` like the gate's own models."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from authgate.config import Config, json_schema, load
from tests.support.helm import CHART, ROOT, Helm, HelmError

GENERATOR = runpy.run_path(str(CHART / "schema" / "generate.py"))
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.yaml"))


def test_the_schema_is_current(tmp_path: Path) -> None:
    """`make chart-schema` would not change the file."""
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


_ROW = re.compile(r"^\| `([A-Za-z.]+)` \| (?:`(.+?)`|\[values\.yaml\]\(values\.yaml\)) \| .", re.MULTILINE)


def _leaves(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Return the values by path. An object with fields of Kubernetes is one value."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        whole = not isinstance(value, dict) or not value or name in {"resources", "securityContext", "labels"}
        found |= {f"{path}{name}": value} if whole else _leaves(value, f"{path}{name}.")
    return found


def test_the_readme_lists_every_value_with_its_default() -> None:
    """The table of the chart's README and values.yaml have the same values, in the same order."""
    readme = (CHART / "README.md").read_text()
    (table,) = re.findall(r"\| value \| default \| meaning \|\n(.+?)\n\n", readme, re.DOTALL)
    listed = {name: yaml.safe_load(default) if default else None for name, default in _ROW.findall(table)}
    values = _leaves(yaml.safe_load((CHART / "values.yaml").read_text()))
    assert list(listed) == list(values)
    values["securityContext"] = None  # these defaults are too long for a table
    assert listed == values


_FILE = "/nowhere/file"
_ISSUER: dict[str, Any] = {
    "issuer": {"url": "https://login.example.com", "audiences": ["my-app"]},
    "claimMappings": {"username": {"claim": "sub", "prefix": "example:"}},
}
_EAST: dict[str, Any] = {"audiences": ["a"], "kubeconfig": _FILE}
_FAR: dict[str, Any] = {
    "audiences": ["a"],
    "issuers": ["https://far.example.com"],
    "tokenReview": {"mode": "never"},
    "staticKeys": {"file": _FILE},
}
_TLS = {"certFile": "/etc/authgate/tls.crt", "keyFile": "/etc/authgate/tls.key"}
_EXCHANGE = {"listen": "0.0.0.0:8081", "audiences": {"default": ["a"]}}
_SERVER: dict[str, Any] = {
    "name": "opaque",
    "endpoint": "https://login.example.com/introspect",
    "audiences": ["my-app"],
    "claimMappings": {"username": {"claim": "sub", "prefix": "opaque:"}},
}
_FILES: dict[str, dict[str, Any]] = {
    "cluster.kubeconfig": {"cluster": _EAST},
    "cluster.staticKeys.file": {"cluster": _FAR},
    "cluster[0].kubeconfig": {"cluster": [_EAST]},
    "cluster[0].staticKeys.file": {"cluster": [_FAR]},
    "jwt[0].gate.staticKeys.file": {"jwt": [{**_ISSUER, "gate": {"staticKeys": {"file": _FILE}}}]},
    "jwt[0].gate.keys.tokenFile": {"jwt": [{**_ISSUER, "gate": {"keys": {"tokenFile": _FILE}}}]},
    **{
        f"introspection[0].clientAuth.{name}": {
            "introspection": [{**_SERVER, "clientAuth": {"clientID": "authgate", name: _FILE}}]
        }
        for name in ("secretFile", "keyFile", "certFile")
    },
    **{
        f"tracing.{name}": {"tracing": {"endpoint": "https://collector:4318", name: _FILE}}
        for name in ("caFile", "headersFile")
    },
    "signing.keyFiles[0]": {"signing": {"issuer": "https://gate.example.com", "keyFiles": [_FILE]}},
    **{
        f"{at}.tls.{name}": {at: {**section, "tls": {**_TLS, name: _FILE}}}
        for at, section in (("server", {}), ("exchange", _EXCHANGE))
        for name in ("certFile", "keyFile", "clientCAFile")
    },
}
"""Each setting that names a file, with a configuration that has it."""


def _settings_of_files(node: dict[str, Any], schema: dict[str, Any], path: str) -> set[str]:
    """Return the paths of all settings that name a file, recognized by the maximum length."""
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    found = {path} if node.get("type") == "string" and node.get("maxLength") == 4096 else set()
    below = [(path, choice) for choice in (*node.get("anyOf", ()), *node.get("oneOf", ()))]
    below += [(f"{path}[0]", node["items"])] if isinstance(node.get("items"), dict) else []
    below += [(f"{path}.{name}".lstrip("."), field) for name, field in node.get("properties", {}).items()]
    below += [(f"{path}.*", field) for field in node.get("patternProperties", {}).values()]
    return found.union(*(_settings_of_files(item, schema, at) for at, item in below))


def test_every_setting_of_a_file_is_known() -> None:
    """The chart checks each file that a configuration can name: `authgate.files` in templates/_config.tpl."""
    schema = json_schema()
    assert _settings_of_files(schema, schema, "") == _FILES.keys()


@pytest.mark.parametrize(("setting", "config"), _FILES.items(), ids=_FILES)
def test_a_file_must_be_mounted(helm: Helm, setting: str, config: dict[str, Any]) -> None:
    """A configuration that names a file outside of all volumes is rejected, with the setting's path."""
    values: dict[str, Any] = {"config": {"cluster": {"audiences": ["my-audience"]}, **config}}
    values["volumeMounts"] = [{"name": "others", "mountPath": "/etc/authgate"}]
    with pytest.raises(HelmError) as refused:
        helm.template(values)
    assert f"config.{setting} is {_FILE}, which is not mounted" in str(refused.value)


def _loaded(text: str, tmp_path: Path) -> Config:
    file = tmp_path / "authgate.yaml"
    file.write_text(text)
    return load(file, {}).config


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_can_be_installed(helm: Helm, example: Path, tmp_path: Path) -> None:
    """The files of deploy/examples can be used as `config` unchanged, and mean the same to the gate."""
    config = yaml.safe_load(example.read_text())
    mounts = [
        {"name": "secrets", "mountPath": path} for path in ("/etc/authgate/secrets", "/etc/authgate/client")
    ]
    held = helm.template({"config": config, "volumeMounts": mounts}).one("ConfigMap")["data"]["authgate.yaml"]
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
def test_chart_and_gate_accept_the_same_durations(
    helm: Helm, tmp_path: Path, duration: object, good: bool
) -> None:
    """Helm's patterns have no lookahead, unlike the gate's, but they accept the same durations."""

    def accepted(attempt: Any, *errors: type[Exception]) -> bool:
        try:
            attempt()
        except errors:
            return False
        return True

    config = {"cluster": {"audiences": ["my-audience"]}, "cache": {"ttl": duration}}
    assert accepted(lambda: helm.template({"config": config}), HelmError) is good
    assert accepted(lambda: _loaded(yaml.safe_dump(config), tmp_path), Exception) is good
