"""The documents agree with the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.main import get_group

from authgate.cli.commands import app
from authgate.config import SCHEMA_ID, json_schema, load
from authgate.errors import REASONS, Reason
from authgate.observability.families import FAMILIES
from tests.support.audit_lines import SCHEMA

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.yaml"))
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_a_valid_configuration(path: Path) -> None:
    """Every file of deploy/examples loads without a problem."""
    assert load(path, {}).config.policies


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_the_blocks_of_a_document_are_files_that_are_tested(document: Path) -> None:
    """Every YAML block is part of a file in deploy."""
    files = [path.read_text() for path in (ROOT / "deploy").rglob("*.yaml")]
    blocks = re.findall(r"```yaml\n(.*?)```", document.read_text(), re.DOTALL)
    assert [block for block in blocks if not any(block in text for text in files)] == []


_FOLDERS = (
    *("", "docs", "docs/concepts", "docs/migrating", "docs/providers", "docs/start", "helm/authgate"),
    *("deploy/compose", "deploy/examples/*", "deploy/kustomize"),
)
"""Folders with documents."""


def test_the_reason_codes_in_documents_exist() -> None:
    """A word with underscores after a status is the code of a reason with this status."""
    known = {(str(info.status), reason.value) for reason, info in REASONS.items()}
    named = {
        (path.name, status, code)
        for folder in _FOLDERS
        for path in ROOT.glob(f"{folder}/*.md".removeprefix("/"))
        for status, code in re.findall(r"\b(200|401|403|404|503) `?([a-z]+(?:_[a-z]+)+)\b", path.read_text())
    }
    assert len(named) > 50
    assert [each for each in named if each[1:] not in known] == []


def test_lists_are_the_same_on_the_site_as_on_github() -> None:
    """Python-Markdown starts a list at a line such as "503. Then", and nests lists and blocks only at four spaces."""
    wrong = [
        f"{path.name}: {line}"
        for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
        for line in re.sub(
            r"(```).*?^ *```", r"\1", path.read_text(), flags=re.DOTALL | re.MULTILINE
        ).splitlines()
        if re.match(r" *\d{3}\. | {1,3}([-*] |```)", line)
    ]
    assert wrong == []


def test_the_files_that_documents_link_to_exist() -> None:
    """No relative link of a document is broken."""
    broken = [
        f"{document.name}: {target}"
        for folder in _FOLDERS
        for document in ROOT.glob(f"{folder}/*.md".removeprefix("/"))
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
        if not (document.parent / target).exists()
    ]
    assert broken == []


def test_the_policies_of_the_readme_work_below_its_issuer(tmp_path: Path) -> None:
    """A reader can paste the README's YAML blocks into one file, one below the other."""
    file = tmp_path / "authgate.yaml"
    file.write_text("".join(re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)))
    assert set(load(file, {}).config.policies) == {"default", "admin"}


def test_the_headings_that_documents_link_to_exist() -> None:
    """Every fragment of a relative link is the anchor of a heading in the linked document."""
    documents = [
        path
        for folder in ("", "docs/", "docs/migrating/", "docs/providers/", "helm/authgate/")
        for path in ROOT.glob(f"{folder}*.md")
    ]
    broken = [
        f"{document.name}: {target}#{anchor}"
        for document in documents
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", document.read_text())
        if anchor not in _anchors((document.parent / target) if target else document)
    ]
    assert broken == []


def _anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_lists_every_command() -> None:
    """The table of commands has a row for each command, or for each of its subcommands."""
    listed = re.findall(r"^\| `authgate ([a-z-]+)", README, re.MULTILINE)
    assert set(get_group(app).commands) == set(listed)


def test_reasons_next_to_a_status_exist() -> None:
    """An answer that a document quotes, such as 401 `no_credential`, has a reason code of authgate."""
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
    unknown = {
        f"{document.relative_to(ROOT)}: {code}"
        for document in documents
        for code in re.findall(r"\b(?:401|403|404|503) `?([a-z]+_[a-z_]+)", document.read_text())
        if code not in set(Reason)
    }
    assert unknown == set()


def test_every_reason_is_explained() -> None:
    """docs/reasons.md has a row for each reason, with the words that the code uses."""
    rows = re.findall(
        r"^\| `(\w+)` \| (\w*) \| (.*?) \| (.*?) \|$",
        (ROOT / "docs" / "reasons.md").read_text(),
        re.MULTILINE,
    )
    told = {code: (step, meaning, remedy) for code, step, meaning, remedy in rows}
    assert told == {
        reason.value: (info.step.value if info.step else "", info.meaning, info.remedy)
        for reason, info in REASONS.items()
    }
    assert set(REASONS) == set(Reason)


def test_every_attribute_of_an_audit_line_is_explained() -> None:
    """docs/audit.md has a row for each attribute of a decision, with the words of the schema."""
    rows = re.findall(r"^\| `([\w.]+)` \| (.*) \|$", (ROOT / "docs" / "audit.md").read_text(), re.MULTILINE)
    attributes = SCHEMA["oneOf"][0]["properties"]["attributes"]["properties"]
    assert rows == [(name, attribute["description"]) for name, attribute in attributes.items()]


def test_the_schema_of_audit_lines_has_every_reason() -> None:
    """A new reason is a new value. The schema is valid, and its address is on the documentation site."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == f"{SCHEMA_ID.partition('/schema/')[0]}/audit.schema.json"
    attributes = SCHEMA["oneOf"][0]["properties"]["attributes"]["properties"]
    assert set(attributes["authgate.reason"]["enum"]) == set(Reason)


def test_every_metric_is_explained() -> None:
    """docs/metrics.md has a row for each of the gate's metrics, with its type, its labels and its help text."""
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| (.*?) \|$",
        (ROOT / "docs" / "metrics.md").read_text(),
        re.MULTILINE,
    )
    assert sorted((name, kind, labels.strip(), text) for name, kind, labels, text in rows) == sorted(
        (
            f"{family.name}_total" if family.kind == "counter" else family.name,
            family.kind,
            ", ".join(family.labels),
            family.text,
        )
        for family in FAMILIES.values()
    )


def test_documents_name_metrics_that_exist() -> None:
    """Every `authgate_…` in a document is a metric, or the name of one of its samples."""
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("", "_bucket", "_count", "_sum")}
    known = {family.name + suffix for family in FAMILIES.values() for suffix in suffixes[family.kind]}
    wrong = [
        f"{document.name}: {name}"
        for folder in (".", "docs", "helm/authgate", "deploy")
        for document in (ROOT / folder).glob("*.md" if folder == "." else "**/*.md")
        for name in re.findall(r"\bauthgate_[a-z_]*[a-z]\b(?![*_])", document.read_text())
        if name not in known
    ]
    assert wrong == []


def test_the_reference_names_every_setting_with_its_default() -> None:
    """deploy/examples/reference.yaml lists each field of the schema with its default."""
    schema = json_schema()
    document = yaml.safe_load((ROOT / "deploy" / "examples" / "reference.yaml").read_text())
    assert _differences(schema, document, schema.get("$defs", {}), "") == []


def _differences(node: dict[str, Any], value: Any, definitions: dict[str, Any], path: str) -> list[str]:
    while "$ref" in node:
        node = definitions[node["$ref"].rsplit("/", 1)[-1]]
    for alternative in _alternatives(node):
        if "$ref" in alternative and isinstance(value, dict):
            return _differences(alternative, value, definitions, path)
    found = []
    one_is_needed = path == "" or path.endswith("[0].claimMappings.username")
    needed = (".server.proxy", ".introspection[0].endpoint", ".introspection[0].clientAuth.secretFile")
    if isinstance(value, list) and isinstance(node.get("items"), dict) and path in (".jwt", ".introspection"):
        return _differences(node["items"], value[0], definitions, path + "[0]")
    if path == ".policies":
        [policy] = node["patternProperties"].values()
        return _differences(policy, {**value["example"], **value["default"]}, definitions, path + "[]")
    for name, field in node.get("properties", {}).items():
        here = f"{path}.{name}"
        if name not in value:
            found.append(f"{here} is missing")
        elif isinstance(value[name], (dict, list)) and value[name]:
            found += _differences(field, value[name], definitions, here)
        elif "default" in field and _seconds(value[name]) != field["default"] and not one_is_needed:
            if here in needed:
                continue
            found.append(f"{here} is {value[name]}, its default {field['default']}")
    return found


def _alternatives(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for alternative in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield alternative
        yield from _alternatives(alternative)


def _seconds(value: Any) -> Any:
    match = re.fullmatch(r"(\d+)(s|m|h)", value) if isinstance(value, str) else None
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else value
