"""Examining one entry of `jwt`: its discovery document, its keys, and the certificate that they come with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authgate.compose.dependencies import CompositionError
from authgate.compose.issuers import key_fetcher, key_source, read_static_keys
from authgate.keys.fetch import UntrustedCertificateError, origin_of
from authgate.keys.remote import KeyFetchError
from authgate.tools.doctor.findings import Finding, bad, good, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from authgate.config import JWTIssuerConfig, StaticKeysConfig
    from authgate.http_proxy import Proxy
    from authgate.keys.fetch import Fetcher, HTTPFetcher
    from authgate.keys.jwk import KeyDocument

_PUBLISH = (
    "the issuer must publish a signing key: RSA of 2048 to 8192 bits, EC on P-256, P-384 or P-521, or Ed25519"
)


class _Witness:
    """A fetcher that remembers which documents it was asked for, and which of them came."""

    def __init__(self, inner: Fetcher) -> None:
        self._inner = inner
        self.asked: list[str] = []
        self.came: list[str] = []

    async def fetch(self, url: str) -> bytes:
        """Return what the inner fetcher returns."""
        self.asked.append(url)
        body = await self._inner.fetch(url)
        self.came.append(url)
        return body


async def examine_issuer(item: JWTIssuerConfig, environ: Mapping[str, str]) -> list[Finding]:
    """Return what there is to say of an issuer and its keys; `environ` may name a proxy on the way to it."""
    subject = f"jwt {item.name}"
    if item.gate.static_keys is not None:
        return static_keys_found(
            item.gate.static_keys,
            item.gate.algorithms,
            f"{subject}: keys",
            f"jwt issuer '{item.name}': gate.staticKeys",
        )
    fetcher = key_fetcher(item, environ)
    witness = _Witness(fetcher)
    try:
        document = await key_source(item, witness).fetch()
    except KeyFetchError as error:
        found = (*_proxies(subject, fetcher, witness), *_reached(item, subject, witness))
        return [*found, _failure(item, subject, witness, error)]
    return [
        *_proxies(subject, fetcher, witness),
        *_reached(item, subject, witness),
        *keys_found(f"{subject}: keys", witness.came[-1], document, item.gate.algorithms),
    ]


def keys_found(subject: str, origin: str, document: KeyDocument, algorithms: Iterable[str]) -> list[Finding]:
    """Return what there is to say of keys that could be read, `algorithms` being those that are accepted."""
    usable = {name for key in document.keys for name in key.algorithms}.intersection(algorithms)
    fitting = [key for key in document.keys if usable.intersection(key.algorithms)]
    found: list[Finding] = []
    if fitting:
        count = "1 usable key" if len(fitting) == 1 else f"{len(fitting)} usable keys"
        found.append(good(subject, f"{count} from {origin}, for {', '.join(sorted(usable))}"))
    else:
        sentence = f"no key from {origin} fits an accepted algorithm ({', '.join(algorithms)})"
        found.append(
            bad(subject, sentence, "name the algorithm that the issuer signs with in gate.algorithms")
        )
    found += (
        warning(
            subject,
            f"skipped: {reason}",
            "tokens that it signs are refused; have it removed, or replaced by one that can be used",
        )
        for reason in document.skipped
    )
    return found


def static_keys_found(
    static: StaticKeysConfig, algorithms: Iterable[str], subject: str, path: str
) -> list[Finding]:
    """Return what there is to say of keys that stand at a path of the configuration, or in its file."""
    try:
        document = read_static_keys(static, path)
    except CompositionError as error:
        return [bad(subject, str(error), "put the issuer's public keys there, as a JWKS or in PEM")]
    return keys_found(subject, static.file or "the configuration", document, algorithms)


def _proxies(subject: str, fetcher: HTTPFetcher, witness: _Witness) -> list[Finding]:
    """Return which proxies the requests went through."""
    through: dict[str, Proxy] = {}
    for url in witness.asked:
        try:
            proxy = fetcher.proxy_for(url)
        except KeyFetchError:
            continue  # the fetch failed because of it, and says so
        if proxy is not None:
            through[origin_of(url)] = proxy
    return [
        good(f"{subject}: proxy", f"{origin} is reached through {proxy}") for origin, proxy in through.items()
    ]


def _reached(item: JWTIssuerConfig, subject: str, witness: _Witness) -> list[Finding]:
    """Return what went well until the keys were read."""
    found: list[Finding] = []
    if witness.came:
        url = witness.came[0]
        trust = "certificateAuthority" if item.issuer.certificate_authority else "the system's authorities"
        certificate = f", its certificate is trusted by {trust}" if url.startswith("https:") else ""
        name = "keys' address" if item.gate.jwks_url is not None else "discovery"
        found.append(good(f"{subject}: {name}", f"{url} answers{certificate}"))
    if item.gate.jwks_url is None and len(witness.asked) > 1:  # else the document was refused before
        found.append(good(f"{subject}: issuer", f"it names {item.issuer.url}, as configured"))
    return found


def _failure(item: JWTIssuerConfig, subject: str, witness: _Witness, error: KeyFetchError) -> Finding:
    sentence = str(error)
    discovers = item.gate.jwks_url is None
    first = f"{subject}: {'discovery' if discovers else 'keys'}"
    if isinstance(error, UntrustedCertificateError):
        remedy = "put the PEM of the authority that signed it into issuer.certificateAuthority"
        return bad(f"{subject}: certificate", sentence, remedy)
    if not witness.came:
        setting = "issuer.url or issuer.discoveryURL" if discovers else "gate.jwksURL"
        remedy = f"check {setting}, name resolution, proxy and network policy from here to there"
        return bad(first, sentence, remedy)
    if discovers and len(witness.asked) == 1:
        remedy = (
            "write issuer.url exactly as the document names it, and issuer.discoveryURL where the document is"
            " elsewhere"
        )
        return bad(f"{subject}: issuer", sentence, remedy)
    if len(witness.came) < len(witness.asked):
        remedy = "where the advertised jwks_uri cannot be reached from here, set gate.jwksURL to one that can"
        return bad(f"{subject}: keys", sentence, remedy)
    return bad(f"{subject}: keys", sentence, _PUBLISH)
