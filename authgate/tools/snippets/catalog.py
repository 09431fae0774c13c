"""The proxies that there are snippets for, and what each of them cannot do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from authgate.tools.snippets.options import Options, Upstream
from authgate.tools.snippets.pages import Places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.vocabulary import Preset


@dataclass(frozen=True, slots=True)
class Snippet:
    """One proxy's snippet: its files, and where it says no."""

    proxy: str
    """Its name on the command line, and of its folder."""
    title: str
    runs_on: tuple[str, ...]
    """The versions that the tests have run it on."""
    paste: tuple[str, ...]
    """The files for a configuration that is already there."""
    complete: tuple[str, ...]
    """The files of a whole configuration."""
    server_proxy: str
    """The gate's `server.proxy` for it."""
    no_preset: Mapping[Preset, str] = field(default_factory=dict)
    """Presets that it cannot carry, and why."""
    no_socket: str = ""
    """Why it cannot ask a gate on a unix socket."""
    no_open_path: str = ""
    """Why it cannot leave a path open by itself."""
    no_cookie: str = ""
    """Why it cannot take a token out of the cookies that the app gets."""
    app_schemes: tuple[str, ...] = ("http",)
    pages: Places | None = None
    """What it can write into error pages; None where it has none to send."""
    own_headers: frozenset[str] = frozenset()
    """Headers of `REMOVED_HEADERS` that it takes from clients by itself, and sets where it is configured to."""
    templates: str = ""
    """The folder of its templates, where it is another's."""
    grpc: bool = False
    """Whether it asks in gRPC, at the gate's `server.grpc`."""

    def gate_of(self, options: Options) -> Upstream:
        """Return where it asks."""
        return options.gate or Upstream("127.0.0.1", 9001 if self.grpc else 8080)

    def app_of(self, options: Options) -> Upstream:
        """Return where the app is."""
        return options.app or Upstream("127.0.0.1", 3000)

    def refusal(self, options: Options) -> str | None:
        """Return a sentence that says what of these options the proxy cannot carry, or None."""
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
                f"{self.title} has no error pages of its own to send: clients get the status, the challenge and"
                " X-Auth-Reason"
            )
        scheme = self.app_of(options).scheme
        if scheme not in self.app_schemes:
            return f"{self.title} speaks {' and '.join(self.app_schemes)} to the app here, not {scheme}"
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
                "kubernetes": "nginx reads only the first of a repeated header, and X-Remote-Group stands once for each"
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
            no_socket="Traefik asks no unix socket: let the gate listen on 127.0.0.1 and give --gate its URL",
            no_open_path="Traefik clears a client's identity headers only where it asks the gate: leave the path open"
            " there, under policies.NAME.anonymous",
            no_cookie="Traefik cannot put the cookies that the gate leaves in the place of the client's, and the app"
            " would see the token: let clients send it in Authorization",
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
                "kubernetes": "Caddy copies headers one by one, and of X-Remote-Group and X-Remote-Extra-* there may be"
                " any number: choose --preset oauth2-proxy or remote, which join groups into one header"
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
                "kubernetes": "httpd's Lua sets a header once, and X-Remote-Group stands once for each group: choose"
                " --preset oauth2-proxy or remote, which join groups into one header"
            },
        ),
    )
}
