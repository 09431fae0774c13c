"""Every snippet with every option that it supports. tests/proxies runs them in real proxies."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from authgate.tools.snippets import SNIPPETS, Options, Snippet, Upstream, identity_headers, rendered
from authgate.vocabulary import PRESETS

ROOT = Path(__file__).parents[4]
ALL = pytest.mark.parametrize("snippet", SNIPPETS.values(), ids=list(SNIPPETS))
COMPLETE = Options(complete=True)
CHANGES: dict[str, dict[str, object]] = {
    "policy": {"policy": "billing"},
    "open paths": {"open_paths": ("/healthz", "/metrics")},
    "token stays": {"strip_authorization": False},
    "tls": {"tls": True},
    "cookie": {"cookie": True},
    "token's header": {"token_header": "X-Token"},
    "error pages": {"error_pages": True},
    "headers": {"headers": ("X-Department", "X-Team")},
    "socket": {"gate": Upstream("", 0, "/run/authgate.sock")},
    "h2c": {"app": Upstream("app", 3000, scheme="h2c")},
    **{preset: {"preset": preset} for preset in PRESETS},
}


def text(snippet: Snippet, options: Options) -> str:
    """Return the text of all files of a snippet."""
    return "".join(file.text for file in rendered(snippet, options))


@ALL
def test_the_folder_of_a_proxy_holds_its_snippet(snippet: Snippet) -> None:
    """deploy/proxies is what the command prints by default (`make proxies`)."""
    folder = ROOT / "deploy" / "proxies" / snippet.proxy
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        file.name: file.text for file in rendered(snippet, COMPLETE)
    }


@ALL
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_an_option_has_an_effect_or_is_rejected(snippet: Snippet, change: dict[str, object]) -> None:
    """Every option changes the text, or is rejected with a message."""
    options = replace(COMPLETE, **change)  # type: ignore[arg-type]  # each of its own field's type
    refusal = snippet.refusal(options)
    if refusal is None:
        assert (text(snippet, options) == text(snippet, COMPLETE)) is (options == COMPLETE)
    else:
        with pytest.raises(ValueError, match=re.escape(refusal)):
            rendered(snippet, options)


@ALL
@pytest.mark.parametrize("complete", [False, True], ids=["paste", "complete"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_no_template_marks_remain(snippet: Snippet, change: dict[str, object], *, complete: bool) -> None:
    """A configuration has no marks of its template."""
    options = replace(Options(complete=complete), **change)  # type: ignore[arg-type]  # each of its own field's type
    if snippet.refusal(options) is None:
        assert re.search(r"<<|>>|^ *%%", text(snippet, options), re.MULTILINE) is None


@ALL
def test_fragments_are_part_of_the_complete_configuration(snippet: Snippet) -> None:
    """Every line of them is in the configuration that the tests run."""

    def lines(options: Options) -> list[str]:
        return [
            line.strip()
            for line in text(snippet, options).splitlines()
            if line.strip() and not line.strip().startswith(("#", "--", "include "))
        ]

    options = Options(open_paths=("/healthz",)) if not snippet.no_open_path else Options()
    whole = set(lines(replace(options, complete=True)))
    # the address of the app and the path of the log are the user's own
    own = ("proxy_pass http://127.0.0.1:3000/healthz;", "access_log /var/log/nginx/", "CustomLog ")
    assert [line for line in lines(options) if line not in whole and not line.startswith(own)] == []


@ALL
def test_every_header_of_the_preset_is_named(snippet: Snippet) -> None:
    """No header is missing, in the form that the proxy needs."""
    rendered_text = text(snippet, COMPLETE).lower()
    if snippet.grpc:
        pytest.skip("not applicable: the gate's answer names them")
    if snippet.proxy == "traefik":  # it names only their prefix
        assert "x-auth-request-" in rendered_text
        return
    assert [name for name in identity_headers("oauth2-proxy") if name.lower() not in rendered_text] == []


@ALL
def test_a_snippet_names_the_settings_of_the_gate(snippet: Snippet) -> None:
    """Comments have the gate's own settings for the proxy."""
    rendered_text = " ".join(text(snippet, Options(preset="remote")).split())
    assert ("`server.grpc`" if snippet.grpc else f"`server.proxy: {snippet.server_proxy}`") in rendered_text
    assert "`headers.preset: remote`" in rendered_text


@ALL
@pytest.mark.parametrize("complete", [False, True], ids=["paste", "complete"])
def test_a_snippet_has_the_request_id(snippet: Snippet, *, complete: bool) -> None:
    """tests/proxies show what becomes of it."""
    assert "x-request-id" in text(snippet, Options(complete=complete)).lower()


@pytest.mark.parametrize("snippet", [SNIPPETS["envoy"], SNIPPETS["traefik"]], ids=["envoy", "traefik"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_yaml_files_can_be_parsed(snippet: Snippet, change: dict[str, object]) -> None:
    """The files are valid YAML for all options."""
    options = replace(COMPLETE, **change)  # type: ignore[arg-type]  # each of its own field's type
    if snippet.refusal(options) is None:
        for complete in (False, True):
            for file in rendered(snippet, replace(options, complete=complete)):
                assert not file.name.endswith(".yaml") or yaml.safe_load(file.text)


def test_the_page_lists_every_proxy() -> None:
    """Every proxy's name is on the page about proxies."""
    page = (ROOT / "docs" / "proxies.md").read_text()
    assert [proxy for proxy in SNIPPETS if f"`authgate snippets {proxy}" not in page] == []
