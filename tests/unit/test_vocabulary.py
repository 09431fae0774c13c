"""Shared facts are defined once, and what protects a header of one preset protects the headers of all."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from authgate.config import ConfigError, load
from authgate.errors import Reason
from authgate.keys.algorithms import KEY_TYPES
from authgate.model import NO_EVIDENCE, Allow, Identity, ServiceAccount
from authgate.policy.headers import HeaderFailure, HeaderMapper
from authgate.server.grpc.mapping import answer_of
from authgate.server.http.request import FORWARDED_HEADERS
from authgate.tools.snippets import MANIFESTS, SNIPPETS, Options, identity_headers, manifests, rendered
from authgate.vocabulary import (
    ALGORITHMS,
    CLUSTER_ALGORITHMS,
    IDENTITY_PREFIXES,
    POD_NAME,
    PRESET_PREFIXES,
    PRESETS,
    Preset,
    Proxy,
)

SOURCES = Path(__file__).parents[2] / "authgate"
FULL = Identity(
    "system:serviceaccount:prod:web",
    uid="uid-1",
    groups=("dev", "ops"),
    extra=((POD_NAME, ("web-0",)),),
    issuer="https://issuer.example",
    issuer_name="home",
    cluster="home",
    service_account=ServiceAccount("prod", "web"),
    email="web@corp.example",
    preferred_username="web",
)
WITH_HEADERS = pytest.mark.parametrize("preset", [preset for preset in PRESETS if preset != "none"])


@WITH_HEADERS
def test_the_headers_of_a_preset_start_with_its_prefix(preset: Preset) -> None:
    """A preset without its own prefix would not be removed from client requests."""
    headers = HeaderMapper(preset, 100_000).map(FULL)
    assert not isinstance(headers, HeaderFailure)
    assert [name for name, _ in headers if not name.startswith(PRESET_PREFIXES[preset])] == []


@pytest.mark.parametrize("prefix", IDENTITY_PREFIXES)
@pytest.mark.parametrize("preset", PRESETS)
def test_envoy_removes_client_headers_with_a_prefix(preset: Preset, prefix: str) -> None:
    """Whichever preset is set, and whether the name is spelled with dashes or underscores."""
    headers = HeaderMapper(preset, 100_000).anonymous()
    for name in (f"{prefix}Made-Up", f"{prefix}Made-Up".replace("-", "_")):
        answer = answer_of(
            Allow(None, Reason.ANONYMOUS, NO_EVIDENCE, headers), (), [(name.encode(), b"root")]
        )
        assert name.lower() in answer.ok_response.headers_to_remove


@WITH_HEADERS
def test_the_configuration_rejects_a_header_with_the_prefix_of_its_preset(
    preset: Preset, tmp_path: Path
) -> None:
    """Such a header could be read as one of the preset's."""
    file = tmp_path / "authgate.yaml"
    entry = f"{{name: {PRESET_PREFIXES[preset]}Team, claim: /team}}"
    file.write_text(f"cluster: {{audiences: [a]}}\nheaders: {{preset: {preset}, set: [{entry}]}}\n")
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert [problem.path for problem in caught.value.problems] == ["headers.set[0].name"]


@WITH_HEADERS
@pytest.mark.parametrize("proxy", [*SNIPPETS, "ingress-nginx", "traefik-crd"])
def test_a_proxy_removes_the_client_headers_of_every_preset(proxy: str, preset: Preset) -> None:
    """It removes them by name or by prefix, also with another preset. gRPC proxies apply authgate's answer."""
    files = (
        rendered(SNIPPETS[proxy], Options(complete=True))
        if proxy in SNIPPETS
        else manifests(MANIFESTS[proxy], Options())
    )
    text = "".join(file.text for file in files).lower().replace("_", "-")
    if re.search(rf"(?<![a-z])(?<![a-z]-){PRESET_PREFIXES[preset].lower()}(?![a-z])", text) is None:
        assert [name for name in identity_headers(preset) if name.lower() not in text] == []


@WITH_HEADERS
def test_the_documentation_lists_the_headers_of_every_preset(preset: Preset) -> None:
    """docs/headers.md has a row for each preset, which may leave out the common start of a name."""
    page = (SOURCES.parent / "docs" / "headers.md").read_text()
    (row,) = re.findall(rf"^\| `{preset}`.*$", page, re.MULTILINE)
    prefix = PRESET_PREFIXES[preset]
    missing = [
        name
        for name in identity_headers(preset)
        if f"`{name}`" not in row and f"`-{name.removeprefix(prefix)}`" not in row
    ]
    assert missing == []


def test_every_algorithm_has_a_key_type() -> None:
    """Every configurable algorithm can be verified, and no other."""
    assert set(KEY_TYPES) == set(ALGORITHMS)
    assert set(CLUSTER_ALGORITHMS) < set(ALGORITHMS)


def test_every_proxy_has_its_forwarded_headers() -> None:
    """Every configurable proxy is supported, and no other."""
    assert set(FORWARDED_HEADERS) == set(get_args(Proxy))


def test_a_shared_fact_is_defined_in_one_module() -> None:
    """No other module spells a prefix, a list of algorithms or a list of presets itself."""
    prefixes = {prefix.lower() for prefix in IDENTITY_PREFIXES}
    copies = []
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Constant(value=str() as text) if text.lower() in prefixes:
                    copies.append((path.name, text))
                case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
                    texts = {item.value for item in items if isinstance(item, ast.Constant)}
                    if {"RS256", "ES256"} <= texts or set(PRESETS) <= texts or set(get_args(Proxy)) <= texts:
                        copies.append((path.name, ast.unparse(node)))
                case _:
                    pass
    assert {name for name, _ in copies} == {"vocabulary.py"}, copies
