"""The strict parsing of a JWT, before any key is looked up."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authgate.dev.compact import JsonObject, json_bytes, segment
from authgate.errors import REASONS, Reason, Step
from authgate.model import Rejected
from authgate.verify.compact import (
    CompactParser,
    JOSEHeader,
    UnverifiedJWS,
    UnverifiedToken,
    holds_json_object,
)
from tests.support.tokens import claims, parsed, unsigned

HEADER: JsonObject = {"alg": "RS256", "kid": "key-1"}
H = segment(json_bytes(HEADER))
P = segment(json_bytes(claims()))
S = "c2lnbmF0dXJl"
ANY = b'{"iss":"https://issuer.example"}'


@pytest.mark.parametrize(("others", "held"), [(0, True), (15, True), (16, False), (4000, False)])
def test_a_json_object_is_looked_for_in_the_first_segments(others: int, held: bool) -> None:
    """A client can send thousands of segments, and decoding one takes microseconds."""
    assert holds_json_object(".".join([*["abcd"] * others, H])) is held


def parse(text: str) -> UnverifiedToken | Rejected:
    """Return the result of a new parser."""
    return CompactParser().parse(text)


def test_a_token_is_parsed() -> None:
    """The result has the unverified header, claims, signed text and signature."""
    token = parsed(f"{H}.{P}.{S}")

    assert token.header == JOSEHeader("RS256", "key-1", None)
    assert token.claims.members == claims()
    assert token.registered.issuer == "https://issuer.example"
    assert token.signing_input == f"{H}.{P}".encode()
    assert token.signature == b"signature"
    assert token.text == f"{H}.{P}.{S}"


def test_an_empty_signature_is_left_to_the_algorithm() -> None:
    """An unsecured JWT is well-formed (RFC 7519, section 6). Its algorithm `none` is never allowed."""
    assert parsed(f"{H}.{P}.").signature == b""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("abc", Reason.TOKEN_OPAQUE, id="1 segment"),
        pytest.param("a+/b~=", Reason.TOKEN_OPAQUE, id="1 segment of other characters"),
        pytest.param(f"{H}.{P}", Reason.TOKEN_MALFORMED, id="2 segments"),
        pytest.param(f"{H}.{P}.{S}.", Reason.TOKEN_MALFORMED, id="4 segments, the last empty"),
        pytest.param(f"{H}.{P}.{S}.{S}", Reason.TOKEN_MALFORMED, id="4 segments"),
        pytest.param(f"{H}.{S}.{S}.{S}.{S}", Reason.TOKEN_ENCRYPTED, id="5 segments"),
        pytest.param("....", Reason.TOKEN_OPAQUE, id="5 empty segments"),
        pytest.param(f"{H}.{P}.{S}" + ".a" * 100, Reason.TOKEN_MALFORMED, id="many segments"),
        pytest.param(f".{P}.{S}", Reason.TOKEN_MALFORMED, id="empty header"),
        pytest.param(f"{H}..{S}", Reason.TOKEN_MALFORMED, id="empty payload"),
        pytest.param("..", Reason.TOKEN_OPAQUE, id="3 empty segments"),
        pytest.param("ya29.a0AbCdEf_GhIj-k", Reason.TOKEN_OPAQUE, id="2 segments without JSON"),
        pytest.param("glpat-aBcDeFgHiJkL.01.0a1b2c3d4", Reason.TOKEN_OPAQUE, id="3 segments without JSON"),
        pytest.param("a.b.c.d.e", Reason.TOKEN_OPAQUE, id="5 segments without JSON"),
        pytest.param(f"{H}.{P}.{S}==", Reason.TOKEN_MALFORMED, id="padded signature"),
        pytest.param(f"{H}.{P}=.{S}", Reason.TOKEN_MALFORMED, id="padded payload"),
        pytest.param(f"{H}=.{P}.{S}", Reason.TOKEN_MALFORMED, id="padded header"),
        pytest.param(f"{H}.{P}.ab+/", Reason.TOKEN_MALFORMED, id="base64 of the other alphabet"),
        pytest.param(f"{H}.{P}.ab~c", Reason.TOKEN_MALFORMED, id="token68 but not base64url"),
        pytest.param(f"{H}.{P}.{S}\n", Reason.TOKEN_MALFORMED, id="newline at the end"),
        pytest.param(f" {H}.{P}.{S}", Reason.TOKEN_MALFORMED, id="space before"),
        pytest.param(f"{H}.{P}.ä", Reason.TOKEN_MALFORMED, id="letter outside ASCII"),
    ],
)
def test_text_without_the_form_of_a_jws_is_rejected(text: str, reason: Reason) -> None:
    """RFC 7515, section 3.1: exactly three base64url segments without padding."""
    found = parse(text)

    assert isinstance(found, Rejected)
    assert found.reason is reason


def not_canonical(text: str) -> str:
    """Return the segment with a different last character, which a lenient reader decodes to the same bytes."""
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) + 1]


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param("AQ", id="1 byte"),
        pytest.param("AQI", id="2 bytes"),
        pytest.param("AQID", id="3 bytes"),
        pytest.param("_-8", id="both signs of the alphabet"),
    ],
)
def test_canonical_base64url_is_read(signature: str) -> None:
    """This covers each length of the last group."""
    assert segment(parsed(f"{H}.{P}.{signature}").signature) == signature


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"{H}.{P}.A", id="signature of 1 character"),
        pytest.param(f"{H}.{P}.AAAAA", id="signature of 5 characters"),
        pytest.param(f"{H}.{P}.{not_canonical('AQ')}", id="trailing bits after 1 byte"),
        pytest.param(f"{H}.{P}.{not_canonical('AQI')}", id="trailing bits after 2 bytes"),
        pytest.param(f"{H}.{P[:-1]}.{S}", id="payload cut to length 1 mod 4"),
        pytest.param(f"{H}.{not_canonical(segment(b'{}'))}.{S}", id="trailing bits in the payload"),
        pytest.param(f"{not_canonical(segment(b'{ }  '))}.{P}.{S}", id="trailing bits in the header"),
        pytest.param(f"AAAAA.{P}.{S}", id="header of 5 characters"),
    ],
)
def test_bytes_have_one_spelling_only(text: str) -> None:
    """RFC 4648, section 3.5. Otherwise a token could be changed without invalidating its signature."""
    found = parse(text)

    assert isinstance(found, Rejected)
    assert found.reason is Reason.TOKEN_MALFORMED
    assert "canonical base64url" in found.detail


@pytest.mark.parametrize(
    ("header", "payload", "reason", "detail"),
    [
        pytest.param(b"[]", ANY, Reason.TOKEN_MALFORMED, "the header: not a JSON object", id="header array"),
        pytest.param(b"x", ANY, Reason.TOKEN_MALFORMED, "the header: not JSON", id="header no JSON"),
        pytest.param(b"\xff", ANY, Reason.TOKEN_MALFORMED, "the header: not UTF-8", id="header not UTF-8"),
        pytest.param(
            b'{"alg":"RS256","alg":"none"}', b"{}", Reason.DUPLICATE_MEMBER, "the header", id="header twice"
        ),
        pytest.param(HEADER, b"[]", Reason.TOKEN_MALFORMED, "the payload: not a JSON", id="payload array"),
        pytest.param(HEADER, b"x", Reason.TOKEN_MALFORMED, "the payload: not JSON", id="payload no JSON"),
        pytest.param(HEADER, b"\xff", Reason.TOKEN_MALFORMED, "the payload: not UTF-8", id="payload bytes"),
        pytest.param(HEADER, b"\xef\xbb\xbf{}", Reason.TOKEN_MALFORMED, "not JSON", id="payload with a BOM"),
        pytest.param(
            HEADER, b'{"iss":"a","iss":"b"}', Reason.DUPLICATE_MEMBER, "the payload", id="payload twice"
        ),
        pytest.param(
            HEADER, b'{"a":{"b":1,"b":1}}', Reason.DUPLICATE_MEMBER, "the payload", id="payload twice below"
        ),
        pytest.param(HEADER, b'{"exp":NaN}', Reason.TOKEN_MALFORMED, "not finite", id="payload NaN"),
        pytest.param(HEADER, b"[" * 9000, Reason.TOKEN_MALFORMED, "nested deeper", id="payload too deep"),
        pytest.param(b"[" * 3000, ANY, Reason.TOKEN_MALFORMED, "nested deeper", id="header too deep"),
    ],
)
def test_header_and_payload_are_strict_json_objects(
    header: bytes | JsonObject, payload: bytes, reason: Reason, detail: str
) -> None:
    """RFC 7519, section 7.2. A repeated member has its own reason."""
    found = parse(unsigned(header, payload))

    assert isinstance(found, Rejected)
    assert found.reason is reason
    assert detail in found.detail


def test_an_equal_header_is_parsed_once() -> None:
    """The tokens of an issuer have the same header. Its parsed form is cached by its text."""
    parser = CompactParser()
    first, second = (parser.parse(f"{H}.{P}.{signature}") for signature in ("AQ", "Ag"))

    assert isinstance(first, UnverifiedToken)
    assert isinstance(second, UnverifiedToken)
    assert first.header is second.header


def test_a_bad_header_is_rejected_each_time() -> None:
    """Rejected headers are not cached."""
    parser = CompactParser()
    text = unsigned({**HEADER, "crit": []}, claims())

    assert [parser.parse(text), parser.parse(text)] == [Rejected(Reason.CRITICAL_HEADER)] * 2
    assert parser._headers == {}


def test_a_flood_of_headers_does_not_grow_the_memory() -> None:
    """Clients can invent any number of headers."""
    parser = CompactParser()
    sizes = set()
    for number in range(2000):
        assert isinstance(parser.parse(unsigned({**HEADER, "kid": str(number)}, claims())), UnverifiedToken)
        sizes.add(len(parser._headers))

    assert max(sizes) == 512


def test_a_repr_shows_neither_token_nor_signature() -> None:
    """A traceback with local variables contains no token."""
    text = f"{H}.{P}.{S}"
    jws = CompactParser().parse_jws(text)

    assert isinstance(jws, UnverifiedJWS)
    for shown in (repr(jws), repr(parsed(text))):
        assert not any(part in shown for part in (H, P, S, "b'signature'"))


def test_a_jws_is_parsed_without_its_claims() -> None:
    """The caller checks payloads that are not JWTs."""
    text = unsigned(HEADER, b"\xff anything")
    jws = CompactParser().parse_jws(text)

    assert isinstance(jws, UnverifiedJWS)
    assert jws.payload == b"\xff anything"
    assert jws.signing_input == text.rpartition(".")[0].encode()


@given(st.text(max_size=80) | st.text(alphabet=string.ascii_letters + "-_.=", max_size=80))
def test_any_text_gives_a_token_or_a_reason_of_this_step(text: str) -> None:
    """No text raises, even if the credential parser would reject it before."""
    found = parse(text)

    assert isinstance(found, Rejected)
    assert REASONS[found.reason].step is Step.STRUCTURE


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_in_the_segments_give_a_token_or_a_reason_of_this_step(
    header: bytes, payload: bytes
) -> None:
    """This tests the bytes below the base64url."""
    found = parse(unsigned(header, payload))

    assert isinstance(found, Rejected)
    assert REASONS[found.reason].step is Step.STRUCTURE


@given(st.sampled_from(range(len(f"{H}.{P}.{S}"))), st.characters(codec="ascii"))
def test_a_changed_character_changes_what_is_read(position: int, char: str) -> None:
    """No two texts are the same token: if a changed text parses, then header, claims or signature differ."""
    text = f"{H}.{P}.{S}"
    changed = text[:position] + char + text[position + 1 :]
    found, original = parse(changed), parsed(text)

    if changed != text and isinstance(found, UnverifiedToken):
        assert (found.signing_input, found.signature) != (original.signing_input, original.signature)


def padded(text: str) -> str:
    """The same segments with their padding."""
    return ".".join(segment + "=" * (-len(segment) % 4) for segment in text.split("."))


def test_padding_is_removed_from_the_content_but_not_from_what_was_signed() -> None:
    """The signature of such a token covers the padding. The rest is the same."""
    header, payload = segment(b'{"alg":"ES256"}'), segment(json_bytes(claims()) + b" ")
    plain = f"{header}.{payload}.{segment(b'ab')}"
    assert padded(plain) != plain
    token, same = CompactParser().parse(padded(plain), padded=True), parse(plain)
    assert isinstance(token, UnverifiedToken)
    assert isinstance(same, UnverifiedToken)
    assert token.signing_input == padded(f"{header}.{payload}").encode()
    assert (token.header, token.claims.members) == (same.header, same.claims.members)
    assert (token.signature, token.text) == (same.signature, padded(plain))


@pytest.mark.parametrize(
    "text",
    [
        f"{H}.{P}.YQ=",
        f"{H}.{P}.YQ===",
        f"{H}.{P}.YWJj=",
        f"{H}.{P}.YWJj====",
        f"{H}.{P}.Y===",
        f"{H}.{P}.YR==",
        f"{H}.{P}.Y=Q=",
        f"{H}.====.YQ==",
        f"====.{P}.YQ==",
        "YQ==",
    ],
)
def test_wrong_padding_is_malformed(text: str) -> None:
    """Too little, too much, in the middle, or of bits that are not zero; and of anything that is not a JWT."""
    found = CompactParser().parse(text, padded=True)
    assert isinstance(found, Rejected)
    assert found.reason in (Reason.TOKEN_MALFORMED, Reason.TOKEN_OPAQUE)
