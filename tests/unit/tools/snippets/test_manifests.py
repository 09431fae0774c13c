"""Manifests for proxies of a cluster; that an API server takes them is shown in tests/chart."""

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
    """All files."""
    return "".join(file.text for file in manifests(manifest, options))


def test_the_folder_holds_them() -> None:
    """deploy/proxies/kubernetes is what the command prints by default (`make proxies`)."""
    folder = ROOT / "deploy" / "proxies" / "kubernetes"
    printed = [file for manifest in MANIFESTS.values() for file in manifests(manifest, Options())]
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        file.name: file.text for file in printed
    }


@EACH
def test_services_are_named(manifest: Manifest) -> None:
    """Those that --gate and --app give, in their namespaces and with their ports."""
    options = Options(gate=Upstream("door.infra.svc", 7001), app=Upstream("shop.web.svc.cluster.local", 81))
    told = text(manifest, options)
    assert re.search(r"\bname: shop\b", told) or manifest.proxy == "istio"
    for word in ("shop", "web", "door", "infra", "7001"):
        assert re.search(rf"\b{word}\b", told), word
    assert not re.search(r"authgate\.authgate|app: app", told)


@EACH
@pytest.mark.parametrize(("options", "sentence"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_carried_is_refused(manifest: Manifest, options: Options, sentence: str) -> None:
    """With a sentence that says what to do instead."""
    with pytest.raises(ValueError, match=sentence):
        manifests(manifest, options)


@EACH
def test_a_policy_is_carried_or_refused(manifest: Manifest) -> None:
    """It never becomes another one unnoticed."""
    options = Options(policy="billing")
    if manifest.refusal(options) is None:
        assert "billing" in text(manifest, options)
    else:
        with pytest.raises(ValueError, match="by host in the rules"):
            manifests(manifest, options)


@EACH
def test_the_token_stays_on_request(manifest: Manifest) -> None:
    """By default it is taken away, or said that it is not."""
    assert re.search(
        r"(?i)(- (remove: )?|#   |)authorization$|authorization: \"\"",
        text(manifest, Options()),
        re.MULTILINE,
    )
    kept = text(manifest, Options(strip_authorization=False))
    assert not re.search(r"(?im)^#? *(- (remove: )?)?authorization$|authorization: \"\"", kept)


@EACH
def test_they_say_what_the_gate_needs(manifest: Manifest) -> None:
    """They name the gate's own settings."""
    told = " ".join(text(manifest, Options(preset="remote")).split())
    setting = 'server.grpc: "0.0.0.0:9001"' if manifest.grpc else f"server.proxy: {manifest.server_proxy}"
    assert f"`{setting}`" in told
    assert "`headers.preset: remote`" in told


@EACH
def test_nothing_of_the_template_stays(manifest: Manifest) -> None:
    """A manifest holds none of the marks that it was made with."""
    assert re.search(r"<<|>>|^ *%%", text(manifest, Options()), re.MULTILINE) is None


def test_ingress_nginx_names_every_header() -> None:
    """It copies none that is not named."""
    [line] = re.findall(r"auth-response-headers: (.*)", text(MANIFESTS["ingress-nginx"], Options()))
    assert line.split(",") == list(identity_headers("oauth2-proxy"))


def test_the_page_knows_every_one() -> None:
    """Every name is on the page about proxies."""
    page = (ROOT / "docs" / "proxies.md").read_text()
    assert [name for name in MANIFESTS if f"`authgate snippets {name}`" not in page] == []
