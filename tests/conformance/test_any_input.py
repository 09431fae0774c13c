"""No input makes the credential parser, the token parser or a verifier raise. There is always a verdict."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authgate.credential.bearer import parse_credential
from authgate.dev.compact import changed, compact, json_bytes
from authgate.keys.jwk import KeyDocument, KeyDocumentError, read_jwk_set, read_pem_keys
from authgate.model import Authenticated, BearerToken, Rejected
from authgate.strict_json import StrictJSONError, parse_object
from authgate.verify.claims import TimeRules
from authgate.verify.compact import CompactParser, holds_json_object
from authgate.verify.identity import cluster_identity
from authgate.verify.jwt import IssuerRules, JWTVerifier
from authgate.verify.router import IssuerRouter
from tests.conformance.tokens import claim_changes, header_changes, json_texts, json_values, token_texts
from tests.conformance.trusted import AUDIENCE, ISSUER, NOW, StoppedClock, claims, published, trusting, verify

if TYPE_CHECKING:
    from tests.support.key_pool import KeyPool

HYPOTHESIS = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])

_objects = st.dictionaries(st.sampled_from(["name", "uid", "x"]), json_values, max_size=3) | json_values
_kubernetes = _objects | st.fixed_dictionaries(
    {},
    optional={
        "namespace": st.just("prod") | json_values,
        "serviceaccount": st.just({"name": "web", "uid": "1"}) | _objects,
        "pod": _objects,
        "node": _objects,
        "warnafter": json_values,
    },
)
_jwks = st.fixed_dictionaries(
    {"kty": st.sampled_from(["RSA", "EC", "OKP", "oct"]) | json_values},
    optional={
        "crv": st.sampled_from(["P-256", "P-384", "P-521", "Ed25519", "Ed448", "X25519"]) | json_values,
        **dict.fromkeys(
            ["n", "e", "x", "y", "k", "d", "kid", "x5c"], st.text("AQgw_-=", max_size=90) | json_values
        ),
        "alg": st.sampled_from(["RS256", "ES256", "EdDSA", "HS256"]) | json_values,
        "use": st.sampled_from(["sig", "enc"]) | json_values,
        "key_ops": st.lists(st.sampled_from(["verify", "sign"]) | json_values) | json_values,
    },
)


@HYPOTHESIS
@given(
    values=st.lists(
        st.binary(max_size=40) | token_texts.map(lambda text: b"Bearer " + text.encode()), max_size=3
    )
)
def test_any_field_lines(values: list[bytes]) -> None:
    """Any Authorization field lines give a token or a reason."""
    assert isinstance(parse_credential(values, 64), BearerToken | Rejected)


@HYPOTHESIS
@given(text=token_texts)
async def test_any_token(pool: KeyPool, text: str) -> None:
    """Any token68 is rejected with a reason."""
    assert isinstance(await verify(trusting(pool.key("ES256")), text), Rejected)


@HYPOTHESIS
@given(text=st.text())
def test_any_text(text: str) -> None:
    """The parser rejects any text, even text that the credential parser rejects before it."""
    assert isinstance(CompactParser().parse(text), Rejected)


@HYPOTHESIS
@given(header=header_changes, payload=claim_changes(NOW))
async def test_any_signed_token(pool: KeyPool, header: dict[str, object], payload: dict[str, object]) -> None:
    """A signed token with any header and any claims gets a verdict."""
    key = pool.key("ES256")
    token = key.sign(claims(payload), header)
    assert isinstance(await verify(trusting(key), token), Authenticated | Rejected)


@HYPOTHESIS
@given(spaces=st.text(" \t\r\n", max_size=9), cut=st.integers(min_value=0, max_value=40))
def test_any_spelling_of_a_jwt_is_never_opaque(spaces: str, cut: int) -> None:
    """White space in the header or a missing end does not turn a JWT of any issuer into a static token."""
    header = f'{spaces}{{{spaces}"alg"{spaces}:"ES256"}}'.encode()
    text = compact(header, json_bytes(claims()), b"signature")
    assert holds_json_object(text)
    assert holds_json_object(text[: len(text) - cut])


@HYPOTHESIS
@given(header=json_texts | st.just(b'{"alg":"ES256"}'), payload=json_texts | st.binary(max_size=60))
async def test_any_signed_bytes(pool: KeyPool, header: bytes, payload: bytes) -> None:
    """Signed bytes that are almost JSON are rejected with a reason."""
    key = pool.key("ES256")
    assert isinstance(await verify(trusting(key), key.sign_raw(header, payload)), Rejected)


@HYPOTHESIS
@given(signature=st.binary(max_size=200))
@pytest.mark.parametrize("algorithm", ["RS256", "PS512", "ES256", "ES512", "EdDSA"])
async def test_any_signature(pool: KeyPool, algorithm: str, signature: bytes) -> None:
    """Any bytes in place of a signature are invalid without an error."""
    key = pool.key(algorithm)
    (verification,) = read_jwk_set(json_bytes({"keys": [key.jwk()]}), "test").keys
    assert not verification.verify(algorithm, b"text", signature)


@HYPOTHESIS
@given(private=_kubernetes, payload=claim_changes(NOW))
async def test_any_service_account(pool: KeyPool, private: object, payload: dict[str, object]) -> None:
    """A token signed by a cluster with any `kubernetes.io` claim gets a verdict."""
    key = pool.key("ES256")
    rules = IssuerRules(
        name="home",
        audiences=frozenset({AUDIENCE}),
        algorithms=frozenset({"ES256"}),
        types=frozenset({"jwt"}),
        time=TimeRules(max_lifetime=3600),
    )
    identify = partial(cluster_identity, cluster="home")
    router = IssuerRouter({ISSUER: JWTVerifier(rules, published(key.jwk()), identify, StoppedClock())})
    token = key.sign(changed(claims(payload), {"kubernetes.io": private}))
    assert isinstance(await verify(router, token), Authenticated | Rejected)


@HYPOTHESIS
@given(data=json_texts | st.binary() | json_values.map(lambda value: json_bytes({"a": value})))
def test_any_json(data: bytes) -> None:
    """Any bytes give a JSON object or a StrictJSONError, and no other error."""
    with suppress(StrictJSONError):
        assert isinstance(parse_object(data), dict)


@HYPOTHESIS
@given(keys=st.lists(_jwks | json_values, max_size=4) | json_values)
def test_any_key_set(keys: object) -> None:
    """Any document in place of a JWK Set gives keys or a KeyDocumentError."""
    with suppress(KeyDocumentError):
        assert isinstance(read_jwk_set(json_bytes({"keys": keys}), "test"), KeyDocument)


@HYPOTHESIS
@given(
    pieces=st.lists(
        st.binary(max_size=30)
        | st.sampled_from(
            [b"-----BEGIN PUBLIC KEY-----", b"-----END PUBLIC KEY-----", b"\n", b"MCowBQYDK2VwAyEA"]
        )
    )
)
def test_any_pem(pieces: list[bytes]) -> None:
    """Any bytes in place of PEM keys give keys or a KeyDocumentError."""
    with suppress(KeyDocumentError):
        assert isinstance(read_pem_keys(b"".join(pieces), "test"), KeyDocument)
