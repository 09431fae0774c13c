"""Manifests for proxies in a cluster. tests/chart validates them with an API server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from authgate.tools.snippets import (
    MANIFESTS,
    Listen,
    Manifest,
    Options,
    Upstream,
    identity_headers,
    manifests,
)

ROOT = Path(__file__).parents[4]
EACH = pytest.mark.parametrize("manifest", MANIFESTS.values(), ids=list(MANIFESTS))
REFUSED: dict[str, tuple[Options, str]] = {
    "a gate that is no Service": (
        Options(gate=Upstream("gate.example.com", 443)),
        "--gate must name a Service",
    ),
    "a gate on a socket": (Options(gate=Upstream("", 0, "/run/gate.sock")), "--gate must name a Service"),
    "a gate of no namespace": (Options(gate=Upstream("gate.svc", 8080)), "--gate must name a Service"),
    "an app that is no Service": (Options(app=Upstream("127.0.0.1", 3000)), "--app must name a Service"),
    "an app in gRPC": (Options(app=Upstream("a.b.svc", 80, scheme="h2c")), "--app must name a Service"),
    "an open path": (Options(open_paths=("/healthz",)), r"policies\.NAME\.anonymous"),
    "a cookie": (Options(cookie=True), "would get the token"),
    "a token's header": (Options(token_header="X-Token"), "add the token's header yourself"),
    "error pages": (Options(error_pages=True), "error pages are not supported"),
    "tls": (Options(tls=True), "own objects define"),
    "an address": (Options(listen=Listen("", 80)), "own objects define"),
}


def text(manifest: Manifest, options: Options) -> str:
    """Return the text of all files."""
    return "".join(file.text for file in manifests(manifest, options))


def test_the_folder_holds_them() -> None:
    """deploy/proxies/kubernetes is what the command prints by default (`make proxies`)."""
    folder = ROOT / "deploy" / "proxies" / "kubernetes"
    printed = [file for manifest in MANIFESTS.values() for file in manifests(manifest, Options())]
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        file.name: file.text for file in printed
    }


@EACH
def test_the_services_of_the_options_are_used(manifest: Manifest) -> None:
    """They are those of --gate and --app, with their namespaces and ports."""
    options = Options(gate=Upstream("door.infra.svc", 7001), app=Upstream("shop.web.svc.cluster.local", 81))
    rendered_text = text(manifest, options)
    assert re.search(r"\bname: shop\b", rendered_text) or manifest.proxy == "istio"
    for word in ("shop", "web", "door", "infra", "7001"):
        assert re.search(rf"\b{word}\b", rendered_text), word
    assert not re.search(r"authgate\.authgate|app: app", rendered_text)


@EACH
@pytest.mark.parametrize(("options", "sentence"), REFUSED.values(), ids=list(REFUSED))
def test_unsupported_options_are_rejected(manifest: Manifest, options: Options, sentence: str) -> None:
    """The message names an alternative."""
    with pytest.raises(ValueError, match=sentence):
        manifests(manifest, options)


@EACH
def test_a_policy_is_used_or_rejected(manifest: Manifest) -> None:
    """It never becomes another policy silently."""
    options = Options(policy="billing")
    if manifest.refusal(options) is None:
        assert "billing" in text(manifest, options)
    else:
        with pytest.raises(ValueError, match="by host in the rules"):
            manifests(manifest, options)


@EACH
def test_the_token_is_removed_unless_kept(manifest: Manifest) -> None:
    """By default the manifest removes it, or has a comment that it does not."""
    assert re.search(
        r"(?i)(- (remove: )?|#   |)authorization$|authorization: \"\"",
        text(manifest, Options()),
        re.MULTILINE,
    )
    kept = text(manifest, Options(strip_authorization=False))
    assert not re.search(r"(?im)^#? *(- (remove: )?)?authorization$|authorization: \"\"", kept)


@EACH
def test_manifests_name_the_settings_of_the_gate(manifest: Manifest) -> None:
    """Comments have the gate's own settings for the proxy."""
    rendered_text = " ".join(text(manifest, Options(preset="remote")).split())
    setting = 'server.grpc: "0.0.0.0:9001"' if manifest.grpc else f"server.proxy: {manifest.server_proxy}"
    assert f"`{setting}`" in rendered_text
    assert "`headers.preset: remote`" in rendered_text


@EACH
def test_no_template_marks_remain(manifest: Manifest) -> None:
    """A manifest has no marks of its template."""
    assert re.search(r"<<|>>|^ *%%", text(manifest, Options()), re.MULTILINE) is None


def test_ingress_nginx_names_every_header() -> None:
    """It copies only named headers."""
    [line] = re.findall(r"auth-response-headers: (.*)", text(MANIFESTS["ingress-nginx"], Options()))
    assert line.split(",") == list(identity_headers("oauth2-proxy"))


def test_the_page_lists_every_manifest() -> None:
    """Every name is on the page about proxies."""
    page = (ROOT / "docs" / "proxies.md").read_text()
    assert [name for name in MANIFESTS if f"`authgate snippets {name}`" not in page] == []
