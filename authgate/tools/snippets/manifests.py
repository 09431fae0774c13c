"""Proxies that are configured by Kubernetes objects: manifests, checked against the schemas of their kinds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from authgate.tools.snippets.catalog import TRAEFIKS_OWN
from authgate.tools.snippets.options import Options, Upstream
from authgate.vocabulary import DEFAULT_POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.vocabulary import Preset

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SERVICE = re.compile(rf"(?P<name>{_LABEL})\.(?P<namespace>{_LABEL})\.svc(?:\.cluster\.local)?")
_PLAIN: Final = Options()


@dataclass(frozen=True, slots=True)
class Service:
    """A Kubernetes Service and one of its ports."""

    name: str
    namespace: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The objects that put the gate in front of a Service, and the unsupported options."""

    proxy: str
    """Its name on the command line."""
    title: str
    checked: str
    """The version of the schemas that the tests check it against."""
    files: tuple[str, ...]
    server_proxy: str = "envoy"
    """The value of `server.proxy` in the gate's configuration."""
    grpc: bool = True
    """Whether the proxy uses gRPC, at the gate's `server.grpc`."""
    own_headers: frozenset[str] = frozenset()
    """Headers in `REMOVED_HEADERS` that the proxy itself removes from requests, and sets if configured."""
    grantee: tuple[str, str] = ("", "")
    """Group and kind of the object that refers to the gate from another namespace, if that needs a ReferenceGrant."""
    no_preset: Mapping[Preset, str] = field(default_factory=dict)
    no_policy: bool = False
    """Whether the proxy cannot select a policy of the gate."""

    def gate(self, options: Options) -> Service:
        """Return the gate's Service; raises ValueError with a sentence."""
        port = 9001 if self.grpc else 8080
        return _service(
            options.gate or Upstream("authgate.authgate.svc", port), "--gate", "authgate.authgate"
        )

    def app(self, options: Options) -> Service:
        """Return the app's Service; raises ValueError with a sentence."""
        return _service(options.app or Upstream("app.apps.svc", 3000), "--app", "app.apps")

    def refusal(self, options: Options) -> str | None:
        """Return a sentence about an option that the manifests do not support, or None."""
        try:
            self.gate(options)
            self.app(options)
        except ValueError as error:
            return str(error)
        if options.preset in self.no_preset:
            return self.no_preset[options.preset]
        if options.policy != DEFAULT_POLICY and self.no_policy:
            return (
                f"{self.title} cannot select a policy of the gate: distinguish apps by host in the rules of the policy"
                " 'default'"
            )
        if options.open_paths:
            return "with manifests, open paths in the gate's configuration, under policies.NAME.anonymous"
        if options.cookie:
            return "with manifests, the app would get the token in the cookie: let clients send it in Authorization"
        if options.token_header:
            return (
                "with manifests, add the token's header yourself to those that the proxy sends to the gate, and remove"
                " it for the app"
            )
        if options.error_pages:
            return (
                f"{self.title}: error pages are not supported; clients get the status, the challenge and"
                " X-Auth-Reason"
            )
        if options.tls or options.listen != _PLAIN.listen:
            return "with manifests, the proxy's own objects define its listen address and certificate"
        return None


def _service(upstream: Upstream, option: str, example: str) -> Service:
    match = _SERVICE.fullmatch(upstream.host)
    if match is None or upstream.scheme != "http":
        raise ValueError(
            f"{option} must name a Service here, such as http://{example}.svc:{upstream.port or 8080}"
        )
    return Service(match["name"], match["namespace"], upstream.port)


MANIFESTS: Final = {
    manifest.proxy: manifest
    for manifest in (
        Manifest(
            proxy="istio",
            title="Istio",
            checked="istio.io/api 1.31.1",
            files=("istio.yaml", "istio-mesh.yaml"),
            no_policy=True,
        ),
        Manifest(
            proxy="gateway-api",
            title="Gateway API's ExternalAuth",
            checked="Gateway API 1.6.3, experimental channel",
            files=("gateway-api.yaml",),
            grantee=("gateway.networking.k8s.io", "HTTPRoute"),
            no_policy=True,
        ),
        Manifest(
            proxy="envoy-gateway",
            title="Envoy Gateway",
            checked="Envoy Gateway 1.9.1",
            files=("envoy-gateway.yaml",),
            grantee=("gateway.envoyproxy.io", "SecurityPolicy"),
        ),
        Manifest(proxy="contour", title="Contour", checked="Contour 1.33.8", files=("contour.yaml",)),
        Manifest(
            proxy="emissary",
            title="Emissary-ingress",
            checked="Emissary 3.9.1",
            files=("emissary.yaml",),
            no_policy=True,
        ),
        Manifest(
            proxy="traefik-crd",
            title="Traefik's own kinds",
            checked="Traefik 3.6.12",
            files=("traefik-crd.yaml",),
            server_proxy="traefik",
            own_headers=TRAEFIKS_OWN,
            grpc=False,
        ),
        Manifest(
            proxy="ingress-nginx",
            title="ingress-nginx",
            checked="the schema of Ingress, which does not cover annotations",
            files=("ingress-nginx.yaml",),
            server_proxy="ingress-nginx",
            own_headers=frozenset(
                {"Proxy", "X-Forwarded-Port", "X-Original-Forwarded-For", "X-Real-IP", "X-Scheme"}
            ),
            grpc=False,
            no_preset={
                "kubernetes": "ingress-nginx reads only the first of several headers, and X-Remote-Group is sent once"
                " for each group: choose --preset oauth2-proxy or remote, which join groups into one header"
            },
        ),
    )
}
