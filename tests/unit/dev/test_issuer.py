from __future__ import annotations

import jwt
import pytest

from authgate.dev.compact import OMIT, JsonObject
from authgate.dev.issuer import Issuer
from tests.support.clock import FakeClock
from tests.support.key_pool import KeyPool

URL = "https://issuer.example/tenant"


@pytest.fixture
def issuer(pool: KeyPool, clock: FakeClock) -> Issuer:
    """Return an issuer with a fixed time."""
    return Issuer(URL, pool.key("ES256"), clock=clock.now)


def unverified(token: str) -> JsonObject:
    """Return the claims without verification."""
    return dict(jwt.decode(token, options={"verify_signature": False}))


def test_pyjwt_accepts_a_minted_token(pool: KeyPool) -> None:
    """A token minted now passes every check of PyJWT's own decode."""
    issuer = Issuer(URL, pool.key("ES256"))
    claims = jwt.decode(
        issuer.mint("somebody", ["one", "two"]),
        issuer.key.public,
        algorithms=["ES256"],
        issuer=URL,
        audience="two",
        subject="somebody",
        options={"require": ["exp", "iat", "nbf", "iss", "sub", "aud", "jti"]},
    )
    assert claims["aud"] == ["one", "two"]


def test_times_come_from_the_clock(issuer: Issuer, clock: FakeClock) -> None:
    """A token is valid from now until the end of its lifetime, in whole seconds."""
    clock.set_wall(1000.7)
    claims = unverified(issuer.mint(lifetime=10))
    assert (claims["iat"], claims["nbf"], claims["exp"]) == (1000, 1000, 1010)


def test_a_single_audience_stays_a_string(issuer: Issuer) -> None:
    """Most issuers write one audience as a string, and so does this one."""
    assert unverified(issuer.mint(audience="mine"))["aud"] == "mine"


def test_claims_can_be_changed(issuer: Issuer) -> None:
    """A test can add, replace, null and leave out claims."""
    claims = unverified(
        issuer.mint(claims={"iss": "other", "nbf": OMIT, "iat": None, "email": "a@b.example"})
    )
    assert (claims["iss"], "nbf" in claims, claims["iat"], claims["email"]) == (
        "other",
        False,
        None,
        "a@b.example",
    )


def test_headers_can_be_changed(issuer: Issuer) -> None:
    """A test can replace and leave out members of the header."""
    header = jwt.get_unverified_header(issuer.mint(headers={"typ": "at+jwt", "kid": OMIT}))
    assert header == {"alg": "ES256", "typ": "at+jwt"}


def test_a_token_can_be_forged(issuer: Issuer, pool: KeyPool) -> None:
    """A key that was never published can sign with the issuer's name."""
    forger = pool.key("ES256", 1)
    token = issuer.mint(key=forger)
    assert jwt.get_unverified_header(token)["kid"] == forger.kid
    assert unverified(token)["iss"] == URL


def test_rotation_keeps_the_older_key_published(issuer: Issuer, pool: KeyPool) -> None:
    """After a rotation with overlap both keys are published, the new one first, and it signs."""
    old, new = issuer.key, pool.key("ES256", 1)
    assert issuer.rotate(new) is new
    assert (issuer.keys, issuer.key) == ((new, old), new)


def test_rotation_without_overlap_withdraws_the_older_keys(issuer: Issuer, pool: KeyPool) -> None:
    """After a rotation without overlap only the new key is published."""
    issuer.rotate(pool.key("ES256", 1), overlap=False)
    assert issuer.keys == (issuer.key,)


def test_rotation_makes_a_key_of_the_same_kind(issuer: Issuer) -> None:
    """Without a given key, a rotation generates one like the last."""
    old = issuer.key
    new = issuer.rotate()
    assert (new.algorithm, new.kid != old.kid) == ("ES256", True)


def test_a_key_can_be_announced_before_it_signs(issuer: Issuer, pool: KeyPool) -> None:
    """An announced key is published at once, signs after its rotation, and is published once."""
    old, new = issuer.key, pool.key("ES256", 1)
    issuer.announce(new)
    assert (issuer.keys, issuer.key) == ((old, new), old)
    issuer.rotate(new)
    assert issuer.keys == (new, old)


def test_a_withdrawn_key_is_no_longer_published(issuer: Issuer) -> None:
    """A withdrawn key is not in the set, although it still signs."""
    issuer.withdraw(issuer.key)
    assert issuer.jwks() == {"keys": []}


def test_the_set_has_the_invalid_keys_too(issuer: Issuer) -> None:
    """Invalid keys are published with the valid ones."""
    issuer.bad_keys.append({"kty": "nonsense"})
    assert issuer.jwks() == {"keys": [issuer.key.jwk(), {"kty": "nonsense"}]}


def test_the_discovery_document_names_issuer_keys_and_algorithms(issuer: Issuer, pool: KeyPool) -> None:
    """The document has the members of a kube-apiserver's."""
    issuer.announce(pool.key("RS256"))
    assert issuer.discovery() == {
        "issuer": URL,
        "jwks_uri": URL + "/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "RS256"],
    }


def test_the_discovery_document_can_be_wrong(issuer: Issuer) -> None:
    """A test can replace and leave out members of the document."""
    issuer.discovery_changes = {"issuer": "https://evil.example", "jwks_uri": OMIT}
    document = issuer.discovery()
    assert (document["issuer"], "jwks_uri" in document) == ("https://evil.example", False)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://issuer.example", "/.well-known/openid-configuration"),
        ("https://issuer.example/", "/.well-known/openid-configuration"),
        ("https://issuer.example/a/b", "/a/b/.well-known/openid-configuration"),
        ("https://issuer.example/a%20b/", "/a b/.well-known/openid-configuration"),
    ],
    ids=["bare", "slash", "prefix", "escaped"],
)
def test_the_discovery_document_is_below_the_issuer(pool: KeyPool, url: str, path: str) -> None:
    """The path follows OpenID Connect Discovery. A trailing slash is not doubled."""
    assert Issuer(url, pool.key("ES256")).discovery_path == path


def test_the_keys_can_be_at_another_url(pool: KeyPool) -> None:
    """A JWKS URL with another host and path is used unchanged."""
    issuer = Issuer(URL, pool.key("ES256"), jwks_uri="https://keys.example/all.json")
    assert (issuer.jwks_path, issuer.discovery()["jwks_uri"]) == (
        "/all.json",
        "https://keys.example/all.json",
    )
