"""The manifests of `authgate snippets`, validated by a real API server that has the proxies' own kinds."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
import yaml

from authgate.tools.snippets import MANIFESTS, Manifest, Options, manifests
from authgate.tools.snippets.options import GATE_TIMEOUT
from authgate.vocabulary import Preset
from tests.support.helm import KubectlError
from tests.support.process import until
from tests.support.tools import cache_bin, require_tool

if TYPE_CHECKING:
    from tests.chart.dry_run import DryRun
    from tests.support.helm import Kubectl, Object

EACH = pytest.mark.parametrize("manifest", MANIFESTS.values(), ids=list(MANIFESTS))
KINDS = {
    "AuthorizationPolicy",
    "EnvoyFilter",
    "HTTPRoute",
    "ReferenceGrant",
    "SecurityPolicy",
    "ClientTrafficPolicy",
    "ExtensionService",
    "HTTPProxy",
    "AuthService",
    "Mapping",
    "Middleware",
    "IngressRoute",
}
"""The kinds of the manifests, among all kinds of the proxies' modules."""
WITHOUT_WORDS = {"gateway-api", "traefik-crd", "ingress-nginx"}
"""The proxies without a setting for requests while the gate is down."""
OPTIONS: dict[str, Options] = {
    "default": Options(),
    "policy": Options(policy="billing"),
    "token stays": Options(strip_authorization=False),
    "header": Options(headers=("X-Department",)),
    "kubernetes": Options(preset="kubernetes"),
    "remote": Options(preset="remote"),
}


def definitions() -> dict[str, Path]:
    """The folders of definitions, as `tests/cluster/tools/build` fetches them, by module and version."""
    found = {path.name: path for path in (cache_bin().parent / "crds" / "proxies").glob("*@*")}
    if not found:
        require_tool("proxies' definitions", "run `make cluster-tools` (needs Go), which fetches them")
    return found


def _definition(document: Object) -> Object:
    """Return a definition with only the newest version, because no conversion webhook of a proxy runs here."""
    spec = document["spec"]
    if spec.get("conversion", {}).get("strategy") != "Webhook":
        return document
    newest = {**spec["versions"][-1], "storage": True}
    return {**document, "spec": {**spec, "versions": [newest], "conversion": {"strategy": "None"}}}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kinds(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Create the proxies' kinds and the namespaces of the manifests."""
    texts = [
        text
        for folder in definitions().values()
        for file in sorted(folder.glob("*.y*ml"))
        for text in re.split(r"^---\s*$", file.read_text(), flags=re.MULTILINE)
        if re.search(rf"^    kind: (?:{'|'.join(KINDS)})$", text, re.MULTILINE)
    ]
    found = [_definition(yaml.load(text, yaml.CSafeLoader)) for text in texts]
    assert {document["spec"]["names"]["kind"] for document in found} == KINDS
    for name in ("apps", "gateways", "ingress-nginx"):
        kubectl.run("create", "namespace", name)
    file = tmp_path_factory.mktemp("kinds") / "definitions.yaml"
    file.write_text(yaml.dump_all(found, Dumper=yaml.CSafeDumper))
    kubectl.run("apply", "--server-side", "--filename", file)

    async def established() -> bool:
        try:
            kubectl.run("wait", "--for=condition=Established", "crd", "--all", "--timeout=5s")
        except KubectlError:  # kubectl gives up on a kind that has no conditions yet
            return False
        return True

    await until(established, within=60)


@pytest.mark.usefixtures("kinds")
@EACH
@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
async def test_an_api_server_accepts_the_manifests(
    manifest: Manifest, options: Options, dry_run: DryRun
) -> None:
    """They are unchanged, and there is no unknown field and no warning."""
    if manifest.refusal(options) is not None:
        pytest.skip("not applicable: the option is refused")
    made = await dry_run.create_all(objects(manifest, options))
    assert made
    assert [warning for each in made for warning in each.warnings] == []


def objects(manifest: Manifest, options: Options) -> list[Object]:
    """Return the cluster objects in the files."""
    documents = [
        document for file in manifests(manifest, options) for document in yaml.safe_load_all(file.text)
    ]
    return [document for document in documents if "kind" in document]


def test_istios_mesh_knows_the_fields() -> None:
    """The mesh's configuration is not a cluster object. Its fields are checked with its message type."""
    [folder] = [path for name, path in definitions().items() if name.startswith("istio.io_api@")]
    message = (folder / "config.proto").read_text()
    body = message.partition("message EnvoyExternalAuthorizationGrpcProvider {")[2].partition("\n    }")[0]
    known = {_camel(name) for name in re.findall(r"(\w+) = \d+;", body)}
    mesh = manifests(MANIFESTS["istio"], Options())[1]
    [provider] = yaml.safe_load(mesh.text)["extensionProviders"]
    assert set(provider["envoyExtAuthzGrpc"]) <= known
    assert {"timeout", "failOpen", "statusOnError"} <= set(provider["envoyExtAuthzGrpc"])


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


@pytest.mark.parametrize(
    ("proxy", "module"),
    [
        ("istio", "istio.io_api"),
        ("gateway-api", "sigs.k8s.io_gateway-api"),
        ("envoy-gateway", "github.com_envoyproxy_gateway"),
        ("contour", "github.com_projectcontour_contour"),
        ("emissary", "github.com_emissary-ingress_emissary_v3"),
        ("traefik-crd", "github.com_traefik_traefik_v3"),
    ],
)
def test_the_versions_are_those_of_the_schemas(proxy: str, module: str) -> None:
    """`authgate snippets` names the versions of the definitions that these tests use."""
    version = re.search(r"\d+\.\d+\.\d+", MANIFESTS[proxy].checked)
    assert version is not None
    assert f"{module}@v{version[0]}" in definitions()


@EACH
def test_the_manifests_fail_closed(manifest: Manifest) -> None:
    """No setting allows requests while the gate is down, and there is a timeout."""
    text = "".join(file.text for file in manifests(manifest, Options()))
    words = re.findall(r"(?:failOpen|failure_mode_allow): (\w+)", text)
    assert words == ([] if manifest.proxy in WITHOUT_WORDS else ["false"])
    assert bool(words) is bool(
        re.search(rf"(?:timeout|responseTimeout): {GATE_TIMEOUT}s|timeout_ms: {GATE_TIMEOUT}000", text)
    )


PRESETS: tuple[Preset, ...] = ("oauth2-proxy", "kubernetes", "remote")


@EACH
@pytest.mark.parametrize("preset", PRESETS)
def test_no_header_of_the_gate_is_removed(manifest: Manifest, preset: Preset) -> None:
    """The headers that are removed after the decision are not the gate's own."""
    options = replace(Options(), preset=preset)
    if manifest.refusal(options) is not None:
        pytest.skip("not applicable: the preset is refused")
    text = "".join(file.text for file in manifests(manifest, options))
    removed = re.findall(r"^ *- (?:remove: )?([A-Za-z]+(?:-[A-Za-z]+)+)$", text, re.MULTILINE)
    assert [name for name in removed if re.match(r"(?i)x-auth-|x-remote-|remote-", name)] == []
