"""Check one entry of `jwt`: its discovery document, its keys, and the server's certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authgate.compose.dependencies import CompositionError
from authgate.compose.issuers import key_fetcher, key_source
from authgate.config import issuer_url
from authgate.config.models.fields import TENANT
from authgate.keys.fetch import UntrustedCertificateError, origin_of
from authgate.keys.remote import FetchFailure, KeyFetchError
from authgate.keys.sources import WELL_KNOWN, InsecureAddressError, IssuerMismatchError
from authgate.strict_json import parse_object
from authgate.tools.doctor.findings import (
    REWRITE_CERTIFICATE,
    Finding,
    bad,
    good,
    keys_found,
    static_keys_found,
    warning,
)

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
        self.first = b""
        """The first document that was received."""

    async def fetch(self, url: str) -> bytes:
        """Fetch with the inner fetcher."""
        self.requested.append(url)
        body = await self._inner.fetch(url)
        self.first = self.first or body
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
    try:
        fetcher = key_fetcher(item, environ)
    except CompositionError as error:
        return [bad(f"{subject}: certificate", str(error), REWRITE_CERTIFICATE)]
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
        *_other_access_tokens(item, subject, recorder.first),
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


def _other_access_tokens(item: JWTIssuerConfig, subject: str, document: bytes) -> list[Finding]:
    """Return a warning if access tokens have another issuer than ID tokens, as those of AD FS do."""
    if item.gate.jwks_url is not None:
        return []
    members = parse_object(document)  # the fetch has succeeded, so it is valid
    named, keys = members.get("access_token_issuer"), members.get("jwks_uri")
    if not isinstance(named, str) or named == item.issuer.url:
        return []
    return [
        warning(
            f"{subject}: issuer",
            f"the discovery document names another issuer for access tokens: '{named[:200]}'",
            f"to accept access tokens, set issuer.url to that text and gate.jwksURL to {keys}",
        )
    ]


def _failure(item: JWTIssuerConfig, subject: str, recorder: _Recorder, error: KeyFetchError) -> Finding:
    sentence = str(error)
    discovers = item.gate.jwks_url is None
    first = f"{subject}: {'discovery' if discovers else 'keys'}"
    if isinstance(error, UntrustedCertificateError):
        remedy = "set issuer.certificateAuthority to the PEM of the certificate authority that signed it"
        return bad(f"{subject}: certificate", sentence, remedy)
    if not recorder.received:
        setting = "gate.jwksURL"
        if discovers:
            setting = "issuer.discoveryURL" if item.issuer.discovery_url else "issuer.url"
        return bad(first, sentence, _unreached(error, recorder.requested[0], setting))
    if isinstance(error, InsecureAddressError):
        remedy = (
            "configure the provider's external https:// address (Keycloak: KC_HOSTNAME), or set gate.jwksURL to an"
            " https:// URL of the keys; gate.unsafeAllowHTTP: true allows http"
        )
        return bad(f"{subject}: keys", sentence, remedy)
    if isinstance(error, IssuerMismatchError):
        return bad(f"{subject}: issuer", sentence, _other_issuer(item, error.named, recorder.requested[0]))
    if discovers and len(recorder.requested) == 1:
        remedy = (
            "check the path of issuer.url: the document at this address is not a discovery document; if the provider"
            " has none, set gate.jwksURL to the URL of its keys"
        )
        return bad(f"{subject}: issuer", sentence, remedy)
    if len(recorder.received) < len(recorder.requested):
        remedy = "if the advertised jwks_uri is not reachable from here, set gate.jwksURL to a URL that is"
        return bad(f"{subject}: keys", sentence, remedy)
    if error.failure is FetchFailure.NO_KEY_SET:
        remedy = (
            "set gate.jwksURL to the URL of the keys: the jwks_uri in the provider's discovery document"
            if not discovers
            else "the provider's jwks_uri leads to another document: set gate.jwksURL to the URL of its keys"
        )
        return bad(f"{subject}: keys", sentence, remedy)
    return bad(f"{subject}: keys", sentence, _PUBLISH)


def _unreached(error: KeyFetchError, url: str, setting: str) -> str:
    """Return the remedy for a first request that got no document; `setting` has its URL."""
    plain = url.startswith("http:")
    match error.failure:
        case FetchFailure.UNKNOWN_HOST:
            return f"check the host in {setting}, and name resolution on this machine"
        case FetchFailure.REFUSED:
            return f"nothing listens there: check the port in {setting}, and that the issuer is running"
        case FetchFailure.TIMEOUT:
            return (
                f"check {setting}, the proxy, firewalls and network policies between here and the issuer;"
                " gate.keys.timeout is the limit"
            )
        case FetchFailure.NO_TLS:
            return (
                f"this port serves plain http: write the port that serves https in {setting}; without one,"
                " write http:// and set gate.unsafeAllowHTTP: true"
            )
        case FetchFailure.DISCONNECTED | FetchFailure.BAD_REQUEST if plain:
            return f"this port probably serves https: write https:// in {setting}"
        case FetchFailure.REDIRECT:
            return f"open the URL in a browser, and write the address that it leads to in {setting}"
        case FetchFailure.CREDENTIALS:
            return "the server requires a credential: set gate.keys.tokenFile to a file with a bearer token"
        case FetchFailure.NOT_FOUND if setting == "issuer.url":
            return (
                "check the path of issuer.url, such as the realm, the tenant or the application; if the provider has"
                " no discovery document, set gate.jwksURL to the URL of its keys"
            )
        case FetchFailure.NOT_FOUND:
            return f"check the path of {setting}"
        case FetchFailure.LIMITED:
            return "the issuer limits the number of requests from here: try again in a few minutes"
        case FetchFailure.SERVER:
            return "the issuer's server fails: read its log, and try again"
        case _:
            return f"check {setting}, name resolution, the proxy and network policies between here and the issuer"


def _other_issuer(item: JWTIssuerConfig, named: str, url: str) -> str:
    """Return the remedy for a discovery document at `url` that is for another issuer."""
    if TENANT in named:
        return (
            f"replace the tenant in issuer.url by your tenant's id, or set issuer.url to {named[:200]} and gate.tenants"
            " to the ids of the tenants to accept"
        )
    try:
        issuer_url(named, http=item.gate.unsafe_allow_http)
    except ValueError:
        return (
            "configure the provider's external https:// address (Keycloak: KC_HOSTNAME); if the tokens really have"
            " this issuer, set issuer.url to it and gate.jwksURL to the URL of the keys"
        )
    remedy = f"if the tokens have this issuer, set issuer.url to {named}"
    if named.rstrip("/") + WELL_KNOWN != url:
        remedy += f" and issuer.discoveryURL to {url}"
    return remedy
