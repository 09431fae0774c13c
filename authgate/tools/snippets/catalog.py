"""The proxies with snippets, and the options that each does not support."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from authgate.tools.snippets.options import Options, Upstream
from authgate.tools.snippets.pages import Places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.vocabulary import Preset


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """The snippet of one proxy: its files and unsupported options."""

    proxy: str
    """Its name on the command line and the name of its folder."""
    title: str
    runs_on: tuple[str, ...]
    """The tested versions of the proxy."""
    paste: tuple[str, ...]
    """The files to add to an existing configuration."""
    complete: tuple[str, ...]
    """The files of a complete configuration."""
    server_proxy: str
    """The value of `server.proxy` in the gate's configuration."""
    no_preset: Mapping[Preset, str] = field(default_factory=dict)
    """Unsupported presets, and why."""
    no_socket: str = ""
    """Why a gate on a unix socket is not supported; "" if it is."""
    no_open_path: str = ""
    """Why open paths are not supported; "" if they are."""
    no_cookie: str = ""
    """Why removing a token from the app's cookies is not supported; "" if it is."""
    app_schemes: tuple[str, ...] = ("http",)
    pages: Places | None = None
    """The placeholders for error pages; None if the proxy cannot send any."""
    own_headers: frozenset[str] = frozenset()
    """Headers in `REMOVED_HEADERS` that the proxy itself removes from requests, and sets if configured."""
    templates: str = ""
    """The folder of the templates, if it is another proxy's."""
    grpc: bool = False
    """Whether the proxy uses gRPC, at the gate's `server.grpc`."""

    def gate_of(self, options: Options) -> Upstream:
        """Return the address of the gate."""
        return options.gate or Upstream("127.0.0.1", 9001 if self.grpc else 8080)

    def app_of(self, options: Options) -> Upstream:
        """Return the address of the app."""
        return options.app or Upstream("127.0.0.1", 3000)

    def refusal(self, options: Options) -> str | None:
        """Return a sentence about an option that the proxy does not support, or None."""
        if options.preset in self.no_preset:
            return self.no_preset[options.preset]
        if self.gate_of(options).socket and self.no_socket:
            return self.no_socket
        if options.open_paths and self.no_open_path:
            return self.no_open_path
        if options.cookie and self.no_cookie:
            return self.no_cookie
        if options.error_pages and self.pages is None:
            return (
                f"{self.title}: error pages are not supported; clients get the status, the challenge and"
                " X-Auth-Reason"
            )
        scheme = self.app_of(options).scheme
        if scheme not in self.app_schemes:
            return f"{self.title} supports {' and '.join(self.app_schemes)} to the app here, not {scheme}"
        return None


_ENVOY: Final = Places(code="%RESP(X-AUTH-REASON)%", request_id="%REQ(X-REQUEST-ID)%")

TRAEFIKS_OWN: Final = frozenset(
    {
        "X-Forwarded-Method",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Server",
        "X-Forwarded-Uri",
        "X-Real-IP",
    }
)
"""Headers that Traefik's entry points replace or remove; its middlewares may set them again."""

SNIPPETS: Final = {
    snippet.proxy: snippet
    for snippet in (
        Snippet(
            proxy="nginx",
            title="nginx",
            runs_on=("1.22.1",),
            paste=("authgate-http.conf", "authgate-server.conf", "authgate-protect.conf"),
            complete=("authgate.conf", "nginx.conf"),
            server_proxy="nginx",
            no_preset={
                "kubernetes": "nginx reads only the first of several headers, and X-Remote-Group is sent once for each"
                " group: choose --preset oauth2-proxy or remote, which join groups into one header"
            },
            pages=Places(
                '<!--# echo var="authgate_words" -->',
                '<!--# echo var="authgate_reason" -->',
                '<!--# echo var="request_id" -->',
            ),
        ),
        Snippet(
            proxy="envoy",
            title="Envoy, HTTP ext_authz",
            runs_on=("1.40.0",),
            paste=("authgate-filters.yaml", "authgate-manager.yaml", "authgate-cluster.yaml"),
            complete=("envoy.yaml",),
            server_proxy="envoy",
            app_schemes=("http", "h2c"),
            pages=_ENVOY,
            own_headers=frozenset({"X-Forwarded-Client-Cert"}),
        ),
        Snippet(
            proxy="envoy-grpc",
            title="Envoy, gRPC ext_authz",
            runs_on=("1.40.0",),
            paste=("authgate-filters.yaml", "authgate-manager.yaml", "authgate-cluster.yaml"),
            complete=("envoy.yaml",),
            server_proxy="envoy",
            app_schemes=("http", "h2c"),
            pages=_ENVOY,
            own_headers=frozenset({"X-Forwarded-Client-Cert"}),
            templates="envoy",
            grpc=True,
        ),
        Snippet(
            proxy="traefik",
            title="Traefik",
            runs_on=("3.6.12",),
            paste=("authgate.yaml", "authgate-entrypoint.yaml"),
            complete=("traefik.yaml", "authgate.yaml"),
            server_proxy="traefik",
            no_socket="Traefik does not support unix sockets: let the gate listen on 127.0.0.1 and give --gate its URL",
            no_open_path="Traefik removes a client's identity headers only on requests to the gate: open the path in"
            " the gate's configuration, under policies.NAME.anonymous",
            no_cookie="Traefik cannot remove a token from the cookies, so the app would get it: let clients send it in"
            " Authorization",
            app_schemes=("http", "h2c"),
            own_headers=TRAEFIKS_OWN,
        ),
        Snippet(
            proxy="caddy",
            title="Caddy",
            runs_on=("2.6.2", "2.11.9"),
            paste=("authgate.caddy",),
            complete=("Caddyfile", "authgate.caddy"),
            server_proxy="caddy",
            no_preset={
                "kubernetes": "Caddy copies a fixed list of headers, but X-Remote-Group and X-Remote-Extra-* may occur"
                " any number of times: choose --preset oauth2-proxy or remote, which join groups into one header"
            },
            pages=Places(
                '{{placeholder "authgate_words" | html}}',
                '{{placeholder "authgate_reason" | html}}',
                '{{placeholder "http.request.uuid" | html}}',
            ),
        ),
        Snippet(
            proxy="haproxy",
            title="HAProxy",
            runs_on=("2.6.12",),
            paste=("authgate.lua", "authgate-frontend.cfg", "authgate-listen.cfg"),
            complete=("haproxy.cfg", "authgate.lua"),
            server_proxy="haproxy",
            pages=Places("{{words}}", "{{code}}", "{{request_id}}"),
        ),
        Snippet(
            proxy="apache",
            title="Apache httpd",
            runs_on=("2.4.71",),
            paste=("authgate.conf", "authgate.lua"),
            complete=("httpd.conf", "authgate.lua"),
            server_proxy="haproxy",
            no_preset={
                "kubernetes": "httpd's Lua sets a header only once, and X-Remote-Group is sent once for each group:"
                " choose --preset oauth2-proxy or remote, which join groups into one header"
            },
        ),
    )
}
