"""Where keys come from: a JWKS URL, OpenID Connect Discovery, and a cluster's API server."""

from __future__ import annotations

import pytest

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.dev.compact import OMIT, JsonObject, changed, json_bytes
from authgate.keys.fetch import MAX_BYTES
from authgate.keys.remote import KeyFetchError
from authgate.keys.sources import CLUSTER_JWKS, WELL_KNOWN, ClusterSource, DiscoverySource, JWKSSource
from tests.support.in_memory_cluster import InMemoryCluster
from tests.support.key_pool import KeyPool
from tests.support.key_sources import ScriptedFetcher

ISSUER = "https://issuer.example"
LOOPBACK = "http://127.0.0.1:9000"
JWKS = f"{ISSUER}/jwks"


@pytest.fixture
def jwks(pool: KeyPool) -> bytes:
    """A JWK Set of one key."""
    return json_bytes({"keys": [pool.key("ES256", kid="key-1").jwk()]})


def discovery(issuer: object = ISSUER, jwks_uri: object = JWKS) -> bytes:
    """A discovery document."""
    return json_bytes(changed({"issuer": issuer, "jwks_uri": jwks_uri}, None))


async def test_a_jwks_url_is_fetched_as_it_is(jwks: bytes) -> None:
    """The keys have their origin."""
    fetcher = ScriptedFetcher({JWKS: jwks})
    (key,) = (await JWKSSource(JWKS, fetcher).fetch()).keys

    assert fetcher.asked == [JWKS]
    assert (key.info.kid, key.info.origin) == ("key-1", JWKS)


async def test_a_bad_jwks_is_a_failed_fetch() -> None:
    """The message names the URL and what is wrong."""
    with pytest.raises(KeyFetchError, match=rf"^{JWKS}: not a JWK Set: not JSON$"):
        await JWKSSource(JWKS, ScriptedFetcher({JWKS: b"<html>"})).fetch()


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        pytest.param(ISSUER, ISSUER + WELL_KNOWN, id="bare"),
        pytest.param(f"{ISSUER}/", ISSUER + WELL_KNOWN, id="with a slash"),
        pytest.param(f"{ISSUER}/tenant", f"{ISSUER}/tenant{WELL_KNOWN}", id="with a path"),
        pytest.param(f"{ISSUER}/tenant/", f"{ISSUER}/tenant{WELL_KNOWN}", id="with a path and a slash"),
    ],
)
async def test_discovery_uses_the_well_known_path(jwks: bytes, issuer: str, url: str) -> None:
    """OpenID Connect Discovery 1.0, section 4.1: a terminating slash is removed before the path is added."""
    fetcher = ScriptedFetcher({url: discovery(issuer), JWKS: jwks})
    await DiscoverySource(issuer, fetcher).fetch()

    assert fetcher.asked == [url, JWKS]


async def test_discovery_can_have_another_url(jwks: bytes) -> None:
    """`discoveryURL` is the URL of the document. The issuer in it must be the configured one."""
    elsewhere = "https://mirror.example/issuer.json"
    fetcher = ScriptedFetcher({elsewhere: discovery(), JWKS: jwks})
    await DiscoverySource(ISSUER, fetcher, elsewhere).fetch()

    assert fetcher.asked == [elsewhere, JWKS]


@pytest.mark.parametrize(
    "issuer",
    [
        pytest.param(f"{ISSUER}/", id="a slash more"),
        pytest.param("https://ISSUER.example", id="another case"),
        pytest.param("http://issuer.example", id="another scheme"),
        pytest.param("https://issuer.example:443", id="the default port"),
        pytest.param("https://issuer.example.evil.example", id="a longer host"),
    ],
)
async def test_the_discovered_issuer_is_the_configured_one_exactly(jwks: bytes, issuer: str) -> None:
    """OpenID Connect Discovery 1.0, section 4.3: the message shows both issuers, and no key is fetched."""
    fetcher = ScriptedFetcher({ISSUER + WELL_KNOWN: discovery(issuer), JWKS: jwks})

    with pytest.raises(KeyFetchError, match=f"its issuer is '{issuer}', but '{ISSUER}' is configured"):
        await DiscoverySource(ISSUER, fetcher).fetch()
    assert JWKS not in fetcher.asked


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"<html>", id="HTML"),
        pytest.param(b"[]", id="array"),
        pytest.param(b'{"issuer":"a","issuer":"b"}', id="issuer twice"),
        pytest.param(discovery(issuer=OMIT), id="no issuer"),
        pytest.param(discovery(issuer=""), id="empty issuer"),
        pytest.param(discovery(issuer=1), id="issuer no string"),
        pytest.param(discovery(jwks_uri=OMIT), id="no jwks_uri"),
        pytest.param(discovery(jwks_uri=[JWKS]), id="jwks_uri no string"),
    ],
)
async def test_an_invalid_discovery_document_is_a_failed_fetch(document: bytes) -> None:
    """The answer may come from another server."""
    with pytest.raises(KeyFetchError, match="not a discovery document"):
        await DiscoverySource(ISSUER, ScriptedFetcher({ISSUER + WELL_KNOWN: document})).fetch()


@pytest.mark.parametrize(
    ("issuer", "discovery_url", "jwks_uri", "why"),
    [
        pytest.param(ISSUER, None, "/jwks", "not an absolute", id="relative path"),
        pytest.param(ISSUER, None, "//issuer.example/jwks", "not an absolute", id="relative to the scheme"),
        pytest.param(ISSUER, None, "jwks", "not an absolute", id="relative"),
        pytest.param(ISSUER, None, "", "not an absolute", id="empty"),
        pytest.param(ISSUER, None, "https:///jwks", "not an absolute", id="no host"),
        pytest.param(ISSUER, None, "file:///etc/passwd", "not an absolute", id="a file"),
        pytest.param(ISSUER, None, "ftp://issuer.example/jwks", "not an absolute", id="another scheme"),
        pytest.param(ISSUER, None, "data:application/json,{}", "not an absolute", id="data"),
        pytest.param(ISSUER, None, "https://u@issuer.example/", "user information", id="user"),
        pytest.param(ISSUER, None, "https://u:p@issuer.example/", "user information", id="user and password"),
        pytest.param(ISSUER, None, "https://@issuer.example/", "user information", id="empty user"),
        pytest.param(ISSUER, None, "https://good\\@evil.example/", "user information", id="backslash"),
        pytest.param(ISSUER, None, "https://issuer.example/\n", "control characters", id="newline"),
        pytest.param(ISSUER, None, "https://issuer.example/\x00", "control characters", id="NUL"),
        pytest.param(ISSUER, None, "\thttps://issuer.example/", "control characters", id="tab"),
        pytest.param(ISSUER, None, "https://issuer.example/a b", "control characters", id="space"),
        pytest.param(ISSUER, None, "https://issuer.example/\u200b", "control characters", id="zero width"),
        pytest.param(ISSUER, None, "https://issuer.example/\ud800", "control characters", id="surrogate"),
        pytest.param(ISSUER, None, "https://[::1/jwks", "not a URL", id="half an address"),
        pytest.param(ISSUER, None, "https://issuer.example:99999/", "not a URL", id="port out of range"),
        pytest.param(ISSUER, None, "https://issuer.example:x/", "not a URL", id="port no number"),
        pytest.param(ISSUER, None, "http://issuer.example/jwks", "not https", id="http for https"),
        pytest.param(ISSUER, None, "http://127.0.0.1/jwks", "not https", id="http on loopback for https"),
        pytest.param(ISSUER, LOOPBACK, "http://127.0.0.1/jwks", "not https", id="the same found by http"),
        pytest.param(LOOPBACK, None, "http://issuer.example/jwks", "not https", id="http off loopback"),
        pytest.param(
            LOOPBACK, None, "http://127.0.0.1.evil.example/", "not https", id="host that begins alike"
        ),
        pytest.param(
            LOOPBACK, None, "http://localhost.evil.example/", "not https", id="name that begins alike"
        ),
        pytest.param(LOOPBACK, None, "http://10.0.0.1/jwks", "not https", id="http to a private address"),
        pytest.param(LOOPBACK, f"{ISSUER}/d", "http://127.0.0.1/jwks", "not https", id="found by https"),
    ],
)
async def test_a_discovered_jwks_uri_is_an_absolute_and_safe_url(
    jwks: bytes, issuer: str, discovery_url: str | None, jwks_uri: str, why: str
) -> None:
    """It must use https if the issuer does, also on loopback. It must have no user and only printable characters."""
    found = discovery_url or issuer + WELL_KNOWN
    fetcher = ScriptedFetcher({found: discovery(issuer, jwks_uri), jwks_uri: jwks})

    with pytest.raises(KeyFetchError, match=why):
        await DiscoverySource(issuer, fetcher, discovery_url).fetch()
    assert fetcher.asked == [found]


@pytest.mark.parametrize(
    ("issuer", "jwks_uri"),
    [
        pytest.param(ISSUER, "https://keys.example/jwks", id="another host"),
        pytest.param(ISSUER, "HTTPS://issuer.example:8443/jwks?v=1", id="port and query"),
        pytest.param(LOOPBACK, "http://127.0.0.1:9000/jwks", id="loopback by address"),
        pytest.param(LOOPBACK, "http://localhost:9000/jwks", id="loopback by name"),
        pytest.param(LOOPBACK, "http://[::1]:9000/jwks", id="loopback by IPv6"),
        pytest.param(LOOPBACK, "https://issuer.example/jwks", id="https from loopback"),
    ],
)
async def test_a_safe_jwks_uri_is_fetched(jwks: bytes, issuer: str, jwks_uri: str) -> None:
    """Another host is allowed, because large issuers have one for their keys."""
    fetcher = ScriptedFetcher({issuer + WELL_KNOWN: discovery(issuer, jwks_uri), jwks_uri: jwks})

    assert len((await DiscoverySource(issuer, fetcher).fetch()).keys) == 1


async def test_issuer_and_keys_of_a_cluster_are_fetched(jwks: bytes) -> None:
    """The advertised `jwks_uri` is not used, because it has a node's address, which is often unreachable."""
    api = InMemoryCluster(
        documents={WELL_KNOWN: discovery("https://cluster", "https://10.0.0.1/jwks"), CLUSTER_JWKS: jwks}
    )
    issuers: list[str] = []
    (key,) = (await ClusterSource(api, issuers.append, timeout=4).fetch()).keys

    assert issuers == ["https://cluster"]
    assert key.info.origin == CLUSTER_JWKS
    assert api.asked == [(WELL_KNOWN, MAX_BYTES, 4), (CLUSTER_JWKS, MAX_BYTES, 4)]


async def test_a_cluster_with_a_rejected_issuer_has_no_keys(jwks: bytes) -> None:
    """An issuer that is configured elsewhere cannot be the issuer of this cluster."""
    api = InMemoryCluster(documents={WELL_KNOWN: discovery(), CLUSTER_JWKS: jwks})

    def refuse(issuer: str) -> None:
        raise KeyFetchError(f"{issuer} is taken")

    with pytest.raises(KeyFetchError, match="is taken"):
        await ClusterSource(api, refuse).fetch()
    assert [path for path, _, _ in api.asked] == [WELL_KNOWN]


@pytest.mark.parametrize("path", [WELL_KNOWN, CLUSTER_JWKS])
@pytest.mark.parametrize("kind", ApiErrorKind)
async def test_an_api_error_is_a_failed_fetch(jwks: bytes, path: str, kind: ApiErrorKind) -> None:
    """The error has the path and the server's message. A rate limit also has its Retry-After."""
    documents: dict[str, bytes | ApiError] = {WELL_KNOWN: discovery(), CLUSTER_JWKS: jwks}
    documents[path] = ApiError(kind, "no", retry_after=7)

    with pytest.raises(KeyFetchError, match=rf"^{path}: {kind.value}: no$") as raised:
        await ClusterSource(InMemoryCluster(documents=documents), lambda _: None).fetch()
    assert raised.value.retry_after == (7 if kind is ApiErrorKind.RATE_LIMITED else 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({WELL_KNOWN: b"{}"}, "not a discovery document", id="bad discovery"),
        pytest.param({CLUSTER_JWKS: b'{"keys":[]}'}, "no usable key", id="no keys"),
    ],
)
async def test_a_bad_document_of_a_cluster_is_a_failed_fetch(
    jwks: bytes, changes: JsonObject, message: str
) -> None:
    """The same rules apply as for other issuers."""
    documents = {WELL_KNOWN: discovery(), CLUSTER_JWKS: jwks} | {
        path: data for path, data in changes.items() if isinstance(data, bytes)
    }

    with pytest.raises(KeyFetchError, match=message):
        await ClusterSource(InMemoryCluster(documents=documents), lambda _: None).fetch()
