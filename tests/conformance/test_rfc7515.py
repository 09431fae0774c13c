"""RFC 7515, JSON Web Signature: the RFC's own examples and the rules of the compact serialization."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from authgate.credential.bearer import parse_credential
from authgate.dev.compact import OMIT, json_bytes, segment
from authgate.errors import Reason
from authgate.keys.jwk import KeyDocumentError
from authgate.model import BearerToken, Rejected
from authgate.verify.compact import CompactParser
from tests.conformance.trusted import (
    StoppedClock,
    Trusted,
    claims,
    gate,
    judged,
    jws_accepted,
    published,
    trusting,
)
from tests.support.vectors import rfc_example

if TYPE_CHECKING:
    from tests.support.key_pool import KeyPool

EXPIRY = 1300819380
"""The `exp` of the RFC's examples."""


@pytest.mark.parametrize("name", ["RFC 7515 A.2", "RFC 7515 A.3", "RFC 7515 A.4"])
def test_appendix_a_signatures_verify(name: str) -> None:
    """The RFC's RS256, ES256 and ES512 signatures verify with the RFC's keys."""
    example = rfc_example(name)
    assert jws_accepted(published(example["key"]), example["jws"])


@pytest.mark.parametrize("name", ["RFC 7515 A.2", "RFC 7515 A.3", "RFC 7515 A.4"])
@pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "payload", "signature"])
def test_appendix_a_changed_signatures_do_not_verify(name: str, part: int) -> None:
    """One changed bit in any segment of the RFC's examples makes them invalid."""
    example = rfc_example(name)
    segments = example["jws"].split(".")
    middle = len(segments[part]) // 2
    changed = "A" if segments[part][middle] != "A" else "B"
    segments[part] = segments[part][:middle] + changed + segments[part][middle + 1 :]
    assert not jws_accepted(published(example["key"]), ".".join(segments))


@pytest.mark.parametrize("name", ["RFC 7515 A.2", "RFC 7515 A.3"])
async def test_appendix_a_examples_are_valid_tokens(name: str) -> None:
    """Signature and time of the examples that are JWTs are valid. They have no audience."""
    example = rfc_example(name)
    verifier = gate(Trusted((example["key"],), issuer="joe"), clock=StoppedClock(EXPIRY - 1))
    assert await judged(verifier, example["jws"]) is Reason.AUDIENCE_MISMATCH


@pytest.mark.parametrize("name", ["RFC 7515 A.2", "RFC 7515 A.3"])
async def test_appendix_a_examples_expire(name: str) -> None:
    """At their `exp` the examples have expired."""
    example = rfc_example(name)
    verifier = gate(Trusted((example["key"],), issuer="joe"), clock=StoppedClock(EXPIRY))
    assert await judged(verifier, example["jws"]) is Reason.TOKEN_EXPIRED


async def test_appendix_a_4_is_not_a_token() -> None:
    """The signature of the example whose payload is a word verifies, but the payload is not a JWT's."""
    example = rfc_example("RFC 7515 A.4")
    assert await judged(gate(Trusted((example["key"],))), example["jws"]) is Reason.TOKEN_MALFORMED


def test_appendix_a_1_key_is_rejected() -> None:
    """authgate cannot verify with the HMAC key."""
    with pytest.raises(KeyDocumentError, match="symmetric"):
        published(rfc_example("RFC 7515 A.1")["key"])


@pytest.mark.parametrize("name", ["RFC 7515 A.1", "RFC 7515 A.5"], ids=["HMAC", "unsecured"])
async def test_appendix_a_examples_without_public_key_are_rejected(name: str) -> None:
    """An issuer with signing keys rejects the HMAC example and the unsecured one."""
    key = rfc_example("RFC 7515 A.2")["key"]
    verifier = gate(Trusted((key,), issuer="joe"), clock=StoppedClock(EXPIRY - 1))
    assert await judged(verifier, rfc_example(name)["jws"]) is Reason.ALGORITHM_NOT_ALLOWED


@pytest.mark.parametrize("name", ["RFC 7515 A.6", "RFC 7515 A.7"], ids=["general", "flattened"])
def test_section_7_2_json_serialization_is_not_a_credential(name: str) -> None:
    """The JSON serializations of a JWS are not bearer tokens."""
    text = json.dumps(rfc_example(name)["jws"], separators=(",", ":")).encode()
    assert isinstance(parse_credential([b"Bearer " + text], 65536), Rejected)


@pytest.mark.parametrize("name", ["RFC 7515 A.6", "RFC 7515 A.7"], ids=["general", "flattened"])
def test_section_7_2_json_serialization_is_not_parsed(name: str) -> None:
    """The token parser also rejects the JSON serializations."""
    assert isinstance(CompactParser().parse(json.dumps(rfc_example(name)["jws"])), Rejected)


async def test_appendix_e_critical_extension_is_rejected() -> None:
    """The RFC's negative test for `crit` is rejected for its critical extension."""
    key = rfc_example("RFC 7515 A.2")["key"]
    assert await judged(gate(Trusted((key,))), rfc_example("RFC 7515 E")["jws"]) is Reason.CRITICAL_HEADER


@pytest.mark.parametrize(
    "critical",
    [["http://example.com/UNDEFINED"], ["b64"], ["exp"], ["alg"], [], [1], None, "exp", {}, False],
    ids=repr,
)
async def test_section_4_1_11_crit_is_rejected(pool: KeyPool, critical: object) -> None:
    """A signed token with `crit` is rejected, whatever it lists. authgate supports no extension."""
    key = pool.key("ES256")
    token = key.sign(claims(), {"crit": critical, "exp": 1, "b64": True})
    assert await judged(trusting(key), token) is Reason.CRITICAL_HEADER


@pytest.mark.parametrize("encoded", [False, None, 0, "false", {}], ids=repr)
async def test_an_unencoded_payload_is_rejected(pool: KeyPool, encoded: object) -> None:
    """A signed token that allows an unencoded payload is rejected (RFC 7797, section 7)."""
    key = pool.key("ES256")
    assert await judged(trusting(key), key.sign(claims(), {"b64": encoded})) is Reason.CRITICAL_HEADER


@pytest.mark.parametrize(
    "typ", ["JWT", "jwt", "Jwt", "application/jwt", "APPLICATION/JWT", "at+jwt", "application/AT+JWT"]
)
async def test_section_4_1_9_typ_is_compared_as_a_media_type(pool: KeyPool, typ: str) -> None:
    """The comparison of `typ` ignores case, and "application/" is optional."""
    key = pool.key("ES256")
    assert await judged(trusting(key), key.sign(claims(), {"typ": typ})) is Reason.AUTHENTICATED


@pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "payload", "signature"])
@pytest.mark.parametrize(
    "extra", ["=", "==", " ", "\n", "\r\n", "\t", "\x00", "+", "/", "é", "%3D"], ids=ascii
)
@pytest.mark.parametrize("at", ["start", "end"])
def test_section_2_only_base64url_characters_are_accepted(
    pool: KeyPool, part: int, at: str, extra: str
) -> None:
    """A segment with padding, white space, line breaks or other characters is rejected."""
    segments = pool.key("ES256").sign(claims()).split(".")
    segments[part] = extra + segments[part] if at == "start" else segments[part] + extra
    assert isinstance(CompactParser().parse(".".join(segments)), Rejected)


@pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "payload", "signature"])
def test_section_2_base64url_has_one_form(pool: KeyPool, part: int) -> None:
    """A last character with unused bits that are not zero decodes to the same token. It is rejected."""
    pieces = [b'{"alg":"ES256" }', json_bytes(claims({"pad": ""})), b"\xff" * 64]
    pieces[1] += b" " * (-(len(pieces[1]) - 1) % 3)
    segments = [segment(piece) for piece in pieces]
    assert not isinstance(CompactParser().parse(".".join(segments)), Rejected)
    assert len(segments[part]) % 4 == 2, "the last character holds four unused bits"
    segments[part] = segments[part][:-1] + chr(ord(segments[part][-1]) + 1)
    assert isinstance(CompactParser().parse(".".join(segments)), Rejected)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"ES256"',
        b'{"alg":null}',
        b'{"alg":256}',
        b'{"alg":["ES256"]}',
        b'{"alg":"ES256"',
        b'{"alg":"ES256"}}',
        b'{"alg":"ES256",}',
        b"{'alg':'ES256'}",
        b'{"alg":"ES256","kid":1}',
        b'{"alg":"ES256","kid":null}',
        b'{"alg":"ES256","typ":1}',
        b'\xef\xbb\xbf{"alg":"ES256"}',
        b'{"alg":"ES256","x":"\xff"}',
    ],
    ids=repr,
)
async def test_section_5_2_header_must_be_a_json_object_with_alg(pool: KeyPool, header: bytes) -> None:
    """A header that is not a JSON object in UTF-8 with string parameters is rejected, even with a valid signature."""
    key = pool.key("ES256")
    assert await judged(trusting(key), key.sign_raw(header, json_bytes(claims()))) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    "header",
    [b'{"alg":"ES256","alg":"ES256"}', b'{"alg":"none","alg":"ES256"}', b'{"alg":"ES256","x":{"a":1,"a":2}}'],
    ids=["the same twice", "another first", "inside a parameter"],
)
async def test_section_4_parameter_names_are_unique(pool: KeyPool, header: bytes) -> None:
    """A header with a repeated parameter is rejected, even with a valid signature."""
    key = pool.key("ES256")
    assert await judged(trusting(key), key.sign_raw(header, json_bytes(claims()))) is Reason.DUPLICATE_MEMBER


async def test_section_4_2_unknown_parameters_are_ignored(pool: KeyPool) -> None:
    """Unknown parameters, and white space between them, have no effect."""
    key = pool.key("ES256").without_kid()
    token = key.sign_raw(b' {\r\n\t"alg" : "ES256", "x" : [1] } ', json_bytes(claims({"sub": "alice"})))
    assert await judged(trusting(key), token) is Reason.AUTHENTICATED


async def test_appendix_f_detached_content_is_rejected(pool: KeyPool) -> None:
    """A token whose payload was removed is rejected."""
    key = pool.key("ES256")
    header, _, signature = key.sign(claims()).split(".")
    assert await judged(trusting(key), f"{header}..{signature}") is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize("segments", [2, 4, 6])
async def test_section_7_1_a_token_has_three_segments(pool: KeyPool, segments: int) -> None:
    """A token with another number of segments is rejected."""
    key = pool.key("ES256")
    token = ".".join((key.sign(claims()).split(".") * 2)[:segments])
    assert await judged(trusting(key), token) is Reason.TOKEN_MALFORMED


async def test_ecdsa_signatures_are_r_and_s(pool: KeyPool) -> None:
    """An ECDSA signature in ASN.1 is rejected. JWS uses the octets of R and S (RFC 7518, section 3.4)."""
    key = pool.key("ES256")
    header, payload, signature = key.sign(claims()).split(".")
    jws = CompactParser().parse_jws(f"{header}.{payload}.{signature}")
    assert not isinstance(jws, Rejected)
    r, s = int.from_bytes(jws.signature[:32]), int.from_bytes(jws.signature[32:])
    token = f"{header}.{payload}.{segment(encode_dss_signature(r, s))}"
    assert await judged(trusting(key), token) is Reason.SIGNATURE_INVALID


async def test_section_4_1_4_kid_chooses_the_key(pool: KeyPool) -> None:
    """A token is verified with the key that its `kid` names, even if another key made the signature."""
    first, second = pool.key("ES256", kid="first"), pool.key("ES256", 1, kid="second")
    token = first.sign(claims(), {"kid": "second"})
    assert await judged(trusting(first, second), token) is Reason.SIGNATURE_INVALID


async def test_section_4_1_4_kid_is_optional(pool: KeyPool) -> None:
    """A token without a `kid` is verified with every key of the issuer."""
    first, second = pool.key("ES256", kid="first"), pool.key("ES256", 1, kid="second")
    token = second.sign(claims(), {"kid": OMIT})
    assert await judged(trusting(first, second), token) is Reason.AUTHENTICATED


def test_section_3_1_compact_serialization_is_a_bearer_token() -> None:
    """A compact JWS is a token68, so it is a valid credential without changes."""
    text = rfc_example("RFC 7515 A.3")["jws"]
    token = parse_credential([b"Bearer " + text.encode()], 16384)
    assert isinstance(token, BearerToken)
    assert token.text == text
