"""Proxy configurations for use with the gate: one folder of templates per proxy, filled in with addresses.

Users get what the tests run: `deploy/proxies` has these files with the default options.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from authgate.policy.headers import HeaderMapper
from authgate.tools.snippets.catalog import SNIPPETS, Snippet
from authgate.tools.snippets.manifests import MANIFESTS, Manifest
from authgate.tools.snippets.options import Listen, Options, Upstream, verify_path
from authgate.tools.snippets.pages import PAGES, page_reasons
from authgate.tools.snippets.template import render
from authgate.vocabulary import (
    DEFAULT_POLICY,
    IDENTITY_PREFIXES,
    OTHER_IDENTITY_HEADERS,
    PRESET_PREFIXES,
    PRESETS,
    REMOVED_HEADERS,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from authgate.tools.snippets.template import Value
    from authgate.vocabulary import Preset

__all__ = [
    "MANIFESTS",
    "SNIPPETS",
    "File",
    "Listen",
    "Manifest",
    "Options",
    "Snippet",
    "Upstream",
    "identity_headers",
    "manifests",
    "rendered",
]

_CLEARED_BY_PREFIX: Final = tuple(PRESET_PREFIXES.values())
"""Prefixes of headers that are removed by proxies that can match prefixes."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a snippet."""

    name: str
    text: str


def identity_headers(preset: Preset) -> tuple[str, ...]:
    """Return the headers that a preset always sends."""
    return tuple(name for name, _ in HeaderMapper(preset, 0).anonymous())


def rendered(snippet: Snippet, options: Options) -> tuple[File, ...]:
    """Return the files of a proxy's snippet; raises ValueError if the proxy does not support an option."""
    refusal = snippet.refusal(options)
    if refusal is not None:
        raise ValueError(refusal)
    names = snippet.complete if options.complete else snippet.paste
    made = _filled(snippet.templates or snippet.proxy, names, _values(snippet, options))
    if options.error_pages and snippet.pages is not None:
        made += tuple(File(page.name, page.html(snippet.pages)) for page in PAGES)
    return made


def manifests(manifest: Manifest, options: Options) -> tuple[File, ...]:
    """Return the files of manifests; raises ValueError if they do not support an option."""
    refusal = manifest.refusal(options)
    if refusal is not None:
        raise ValueError(refusal)
    return _filled(
        "kubernetes", manifest.files, _names(options, manifest.own_headers) | _services(manifest, options)
    )


def _services(manifest: Manifest, options: Options) -> dict[str, Value]:
    gate, app = manifest.gate(options), manifest.app(options)
    named = [name for name in OTHER_IDENTITY_HEADERS if not name.startswith(_CLEARED_BY_PREFIX)]
    return {
        "gate_service": gate.name,
        "gate_namespace": gate.namespace,
        "gate_port": str(gate.port),
        "app_service": app.name,
        "app_namespace": app.namespace,
        "app_port": str(app.port),
        "grantee_group": manifest.grantee[0],
        "grantee": manifest.grantee[1],
        "grpc_policy": "" if options.policy == DEFAULT_POLICY else options.policy,
        "removed": [_header(name) for name in (*["Authorization"] * options.strip_authorization, *named)],
        "identity_list": ",".join((*identity_headers(options.preset), *options.headers)),
    }


def _names(options: Options, own_headers: Collection[str] = ()) -> dict[str, Value]:
    """Return the values for all templates: the gate's headers, and those that only the gate or the proxy may set.

    `own_headers` are the headers in `REMOVED_HEADERS` that the proxy sets itself.
    """
    removed = [name for name in REMOVED_HEADERS if name not in {*own_headers, *options.headers}]
    own = (*identity_headers(options.preset), *options.headers)
    others = [name for preset in PRESETS for name in identity_headers(preset) if name not in own]
    return {
        "preset": options.preset,
        "gate_timeout": str(options.gate_timeout),
        "client_timeout": str(options.gate_timeout + 3),
        "kubernetes": options.preset == "kubernetes",
        "verify_path": verify_path(options.policy),
        "identity": [_header(name) for name in own],
        "identity_once": [_header(name) for name in own if name != "X-Remote-Group"],
        "foreign": [_header(name) for name in (*others, *OTHER_IDENTITY_HEADERS)],
        "cleared_by_name": [
            _header(name)
            for name in (*OTHER_IDENTITY_HEADERS, *own)
            if not name.startswith(_CLEARED_BY_PREFIX)
        ],
        "prefixes": [_header(prefix) for prefix in IDENTITY_PREFIXES],
        "preset_prefix_pattern": "|".join(PRESET_PREFIXES.values()),
        "believed": [_header(name) for name in removed],
        "believed_pattern": "|".join(removed),
        "further_pattern": "".join(f"|{name}$" for name in options.headers),
        "strip_authorization": options.strip_authorization,
    }


def _values(snippet: Snippet, options: Options) -> dict[str, Value]:
    gate, app, listen = snippet.gate_of(options), snippet.app_of(options), options.listen
    return {
        **_names(options, snippet.own_headers),
        "gate_socket": gate.socket,
        "gate_address": gate.address,
        "gate_dial": f"unix/{gate.socket}" if gate.socket else gate.address,
        "gate_haproxy": f"unix@{gate.socket}" if gate.socket else gate.address,
        "gate_host": gate.bare_host,
        "gate_port": str(gate.port),
        "app_address": app.address,
        "app_host": app.bare_host,
        "app_port": str(app.port),
        "app_upstream": "app" if options.complete else app.address,
        "app_url": f"{app.scheme}://{app.address}",
        "app_http2": app.scheme == "h2c",
        "listen_address": f"{listen.host}:{listen.port}" if listen.host else str(listen.port),
        "listen_host": listen.bare_host,
        "listen_any": listen.bare_host or "0.0.0.0",  # noqa: S104 - printed, not bound
        "listen_port": str(listen.port),
        "inner_name": f"authgate-{listen.port}",
        "inner_port": str(listen.port + 1),
        "grpc": snippet.grpc,
        "grpc_policy": options.policy if snippet.grpc and options.policy != DEFAULT_POLICY else "",
        "gate_setting": "server.grpc" if snippet.grpc else "verify port",
        "gate_needs": "server.grpc" if snippet.grpc else "server.proxy: envoy",
        "server_proxy": snippet.server_proxy,
        "open_paths": [
            {"path": path, "number": str(number)} for number, path in enumerate(options.open_paths, 1)
        ],
        "open_list": " ".join(options.open_paths),
        "asked_matcher": " @authgate_asked" if options.open_paths else "",
        "cookie": options.cookie,
        "token_header": options.token_header,
        "token_header_lower": options.token_header.lower(),
        "token_header_item": f"{options.token_header}, " if options.token_header else "",
        "token_header_removal": f', {options.token_header}: ""' if options.token_header else "",
        "error_pages": options.error_pages,
        "pages_folder": "." if options.complete else f"/etc/{snippet.templates or snippet.proxy}",
        "refusals": [
            {"status": str(page.status), "error": page.error} for page in PAGES if page.status < 500
        ],
        "reasons": page_reasons(),
        "tls": options.tls,
    }


def _filled(folder: str, names: tuple[str, ...], values: dict[str, Value]) -> tuple[File, ...]:
    def text_of(name: str) -> str:
        return (files("authgate.tools.snippets") / folder / name).read_text(encoding="utf-8")

    return tuple(File(name, render(text_of(name), values, text_of)) for name in names)


def _header(name: str) -> dict[str, str]:
    return {"name": name, "lower": name.lower(), "variable": name.lower().replace("-", "_")}
