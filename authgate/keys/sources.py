"""The sources of an issuer's keys: a JWKS URL, OpenID Connect discovery, or the cluster's API server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.keys.fetch import MAX_BYTES, is_loopback
from authgate.keys.jwk import KeyDocument, KeyDocumentError, NoKeySetError, read_jwk_set, without_x509_svids
from authgate.keys.remote import FetchFailure, KeyFetchError
from authgate.strict_json import StrictJSONError, parse_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.cluster.api import ClusterAPI
    from authgate.keys.fetch import Fetcher

WELL_KNOWN = "/.well-known/openid-configuration"
CLUSTER_JWKS = "/openid/v1/jwks"


class InsecureAddressError(KeyFetchError):
    """A discovery document names keys at a plain http address."""


class IssuerMismatchError(KeyFetchError):
    """A discovery document is another issuer's."""

    def __init__(self, url: str, named: str, configured: str) -> None:
        super().__init__(f"{url}: its issuer is {named[:200]!r}, but {configured!r} is configured")
        self.named = named


class JWKSSource:
    """Fetches keys from a fixed JWKS URL; `bundle` also reads a SPIFFE bundle."""

    def __init__(self, url: str, fetcher: Fetcher, *, bundle: bool = False) -> None:
        self._url = url
        self._bundle = bundle
        self._fetcher = fetcher

    async def fetch(self) -> KeyDocument:
        """Return the current keys; raises `KeyFetchError`."""
        data = await self._fetcher.fetch(self._url)
        return _read(without_x509_svids(data) if self._bundle else data, self._url)


class DiscoverySource:
    """Fetches keys through OpenID Connect Discovery 1.0, section 4.

    The document's `issuer` must be equal to the configured one, or to the `template` of several tenants, also if the
    document is fetched from a `discovery_url` (kube-apiserver's `issuer.discoveryURL`). `http` allows plain http.
    """

    def __init__(
        self,
        issuer: str,
        fetcher: Fetcher,
        discovery_url: str | None = None,
        *,
        template: str | None = None,
        http: bool = False,
    ) -> None:
        self._issuer = issuer
        self._template = template
        self._url = discovery_url or issuer.rstrip("/") + WELL_KNOWN
        self._fetcher = fetcher
        self._http = http

    async def fetch(self) -> KeyDocument:
        """Return the current keys; raises `KeyFetchError`."""
        jwks_uri = await discover(
            self._issuer, "jwks_uri", self._fetcher, self._url, template=self._template, http=self._http
        )
        return _read(await self._fetcher.fetch(jwks_uri), jwks_uri)


async def discover(
    issuer: str,
    member: str,
    fetcher: Fetcher,
    url: str | None = None,
    *,
    template: str | None = None,
    http: bool = False,
) -> str:
    """Return a URL in an issuer's discovery document, which is at `url` if given; raises `KeyFetchError`.

    The document must name exactly this issuer, or the `template` of several tenants. `http` allows a plain http URL.
    """
    url = url or issuer.rstrip("/") + WELL_KNOWN
    named, found = _read_discovery(await fetcher.fetch(url), url, member)
    if named not in (issuer, template):
        raise IssuerMismatchError(url, named, issuer)
    _check_url(found, member, url, https=issuer.startswith("https:"), http=http)
    return found


class ClusterSource:
    """Fetches a cluster's keys from `/openid/v1/jwks` of its API server; the `jwks_uri` of discovery is not used.

    `on_issuer` gets the issuer in the cluster's discovery document, and may raise `KeyFetchError` to reject it.
    """

    def __init__(
        self, api: ClusterAPI, on_issuer: Callable[[str], None], timeout: float | None = None
    ) -> None:
        self._api = api
        self._timeout = timeout
        self._on_issuer = on_issuer

    async def fetch(self) -> KeyDocument:
        """Return the current keys; raises `KeyFetchError`."""
        issuer, _ = _read_discovery(await self._get(WELL_KNOWN), WELL_KNOWN, "jwks_uri")
        self._on_issuer(issuer)
        return replace(_read(await self._get(CLUSTER_JWKS), CLUSTER_JWKS), issuer=issuer)

    async def _get(self, path: str) -> bytes:
        try:
            return await self._api.get(path, limit=MAX_BYTES, within=self._timeout)
        except ApiError as error:
            retry_after = error.retry_after if error.kind is ApiErrorKind.RATE_LIMITED else 0
            # the error has the cause and no token
            raise KeyFetchError(f"{path}: {error}", retry_after=retry_after) from error


def _read(data: bytes, origin: str) -> KeyDocument:
    try:
        return read_jwk_set(data, origin)
    except KeyDocumentError as error:
        failure = FetchFailure.NO_KEY_SET if isinstance(error, NoKeySetError) else None
        raise KeyFetchError(f"{origin}: {error}", failure=failure) from None


def _read_discovery(data: bytes, url: str, member: str) -> tuple[str, str]:
    try:
        members = parse_object(data)
    except StrictJSONError as error:
        raise KeyFetchError(f"{url}: not a discovery document: {error}") from None
    issuer, found = members.get("issuer"), members.get(member)
    if not isinstance(issuer, str) or not issuer or not isinstance(found, str):
        raise KeyFetchError(
            f"{url}: not a discovery document: 'issuer' or '{member}' is missing or not a string"
        )
    return issuer, found


def _check_url(uri: str, member: str, discovery_url: str, *, https: bool, http: bool) -> None:
    if not uri.isprintable() or " " in uri:
        raise KeyFetchError(f"{discovery_url}: its '{member}' contains control characters or spaces")
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        raise KeyFetchError(f"{discovery_url}: its '{member}' is not a URL") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise KeyFetchError(f"{discovery_url}: its '{member}' is not an absolute http(s) URL")
    if "@" in parts.netloc:
        raise KeyFetchError(f"{discovery_url}: its '{member}' contains user information")
    https = https or urlsplit(discovery_url).scheme == "https"
    if parts.scheme == "http" and not http and (https or not is_loopback(parts.hostname)):
        raise InsecureAddressError(f"{discovery_url}: its '{member}' is {uri[:200]}, which is not https")
