"""Check one entry of `jwt`: its discovery document, its keys, and the server's certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authgate.compose.issuers import key_fetcher, key_source
from authgate.config.models.fields import TENANT, issuer_url
from authgate.keys.fetch import UntrustedCertificateError, origin_of
from authgate.keys.remote import KeyFetchError
from authgate.keys.sources import InsecureAddressError, IssuerMismatchError
from authgate.tools.doctor.findings import Finding, bad, good, keys_found, static_keys_found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.config import JWTIssuerConfig
    from authgate.http_proxy import Proxy
    from authgate.keys.fetch import Fetcher, HTTPFetcher

_PUBLISH = "the issuer must publish a signing key: RSA with 2048 to 8192 bits, EC on P-256, P-384 or P-521, or Ed25519"


class _Recorder:
    """A fetcher that records the requested and the received documents."""

    def __init__(self, inner: Fetcher) -> None:
        self._inner = inner
        self.requested: list[str] = []
        self.received: list[str] = []

    async def fetch(self, url: str) -> bytes:
        """Fetch with the inner fetcher."""
        self.requested.append(url)
        body = await self._inner.fetch(url)
        self.received.append(url)
        return body


async def examine_issuer(item: JWTIssuerConfig, environ: Mapping[str, str]) -> list[Finding]:
    """Return the findings about an issuer and its keys; `environ` may name a proxy."""
    subject = f"jwt {item.name}"
    if item.gate.static_keys is not None:
        return static_keys_found(
            item.gate.static_keys,
            item.gate.algorithms,
            f"{subject}: keys",
            f"jwt issuer '{item.name}': gate.staticKeys",
            bundle=item.gate.spiffe is not None,
        )
    fetcher = key_fetcher(item, environ)
    if item.gate.alb is not None:
        return [await _load_balancer_keys(item.gate.alb.base_url, fetcher, f"{subject}: keys")]
    recorder = _Recorder(fetcher)
    try:
        document = await key_source(item, recorder).fetch()
    except KeyFetchError as error:
        found = (*_proxies(subject, fetcher, recorder), *_reached(item, subject, recorder))
        return [*found, _failure(item, subject, recorder, error)]
    return [
        *_proxies(subject, fetcher, recorder),
        *_reached(item, subject, recorder),
        *keys_found(f"{subject}: keys", recorder.received[-1], document, item.gate.algorithms),
    ]


async def _load_balancer_keys(base: str, fetcher: Fetcher, subject: str) -> Finding:
    """Return whether the place of the keys responds; which keys there are is known only to the load balancers."""
    try:
        await fetcher.fetch(f"{base.rstrip('/')}/00000000-0000-0000-0000-000000000000")
    except KeyFetchError as error:
        if error.status not in (403, 404):
            remedy = (
                "check gate.alb.region, name resolution, the proxy and network policies between here and AWS"
            )
            return bad(subject, str(error), remedy)
    return good(subject, f"{base} responds; each key is fetched when a token names it")


def _proxies(subject: str, fetcher: HTTPFetcher, recorder: _Recorder) -> list[Finding]:
    """Return the proxies of the requests."""
    through: dict[str, Proxy] = {}
    for url in recorder.requested:
        try:
            proxy = fetcher.proxy_for(url)
        except KeyFetchError:
            continue  # the error of the fetch reports it
        if proxy is not None:
            through[origin_of(url)] = proxy
    return [
        good(f"{subject}: proxy", f"{origin} is reached through {proxy}") for origin, proxy in through.items()
    ]


def _reached(item: JWTIssuerConfig, subject: str, recorder: _Recorder) -> list[Finding]:
    """Return the checks that passed before the keys were read."""
    found: list[Finding] = []
    if recorder.received:
        url = recorder.received[0]
        trust = "certificateAuthority" if item.issuer.certificate_authority else "the system's authorities"
        certificate = f"; its certificate is trusted by {trust}" if url.startswith("https:") else ""
        name = "keys' address" if item.gate.jwks_url is not None else "discovery"
        found.append(good(f"{subject}: {name}", f"{url} responds{certificate}"))
    if item.gate.jwks_url is None and len(recorder.requested) > 1:  # otherwise the document was rejected
        found.append(
            good(f"{subject}: issuer", f"the discovery document names {item.issuer.url}, as configured")
        )
    return found


def _failure(item: JWTIssuerConfig, subject: str, recorder: _Recorder, error: KeyFetchError) -> Finding:
    sentence = str(error)
    discovers = item.gate.jwks_url is None
    first = f"{subject}: {'discovery' if discovers else 'keys'}"
    if isinstance(error, UntrustedCertificateError):
        remedy = "set issuer.certificateAuthority to the PEM of the certificate authority that signed it"
        return bad(f"{subject}: certificate", sentence, remedy)
    if not recorder.received:
        setting = "issuer.url or issuer.discoveryURL" if discovers else "gate.jwksURL"
        remedy = (
            f"check {setting}, name resolution, the proxy and network policies between here and the issuer"
        )
        return bad(first, sentence, remedy)
    if isinstance(error, InsecureAddressError):
        remedy = (
            "configure the provider's external https:// address (Keycloak: KC_HOSTNAME), or set gate.jwksURL to an"
            " https:// URL of the keys; gate.unsafeAllowHTTP: true allows http"
        )
        return bad(f"{subject}: keys", sentence, remedy)
    if discovers and len(recorder.requested) == 1:
        return bad(f"{subject}: issuer", sentence, _other_issuer(error))
    if len(recorder.received) < len(recorder.requested):
        remedy = "if the advertised jwks_uri is not reachable from here, set gate.jwksURL to a URL that is"
        return bad(f"{subject}: keys", sentence, remedy)
    return bad(f"{subject}: keys", sentence, _PUBLISH)


def _other_issuer(error: KeyFetchError) -> str:
    """Return the remedy for a discovery document that is not the configured issuer's."""
    named = error.named[:200] if isinstance(error, IssuerMismatchError) else ""
    if TENANT in named:
        return (
            f"set issuer.url to {named} and gate.tenants to the ids of the tenants to accept, or issuer.url to"
            " the issuer of one tenant"
        )
    try:
        issuer_url(named or "https://issuer.example.com")
    except ValueError:
        return (
            f"if tokens have {named!r} in iss, set issuer.url to exactly that, and gate.jwksURL to the jwks_uri in the"
            " document"
        )
    return (
        "set issuer.url to exactly the issuer in the document, and issuer.discoveryURL if the document has another"
        " address"
    )
