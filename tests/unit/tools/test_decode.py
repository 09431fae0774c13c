from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authgate.dev.compact import compact, json_bytes, segment
from authgate.errors import Reason
from authgate.tools.explain.decode import Kind, decode, span
from authgate.vocabulary import LEGACY_ISSUER
from tests.support.clock import START
from tests.support.tokens import OMIT, POD_BOUND, claims, unsigned

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER = {"alg": "RS256"}


def payload(data: bytes) -> str:
    """Return a token with this payload."""
    return compact(json_bytes(HEADER), data, b"signature")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (unsigned(HEADER, claims()), Kind.SIGNED),
        (unsigned(HEADER, claims(exp=OMIT)), Kind.SIGNED),
        (payload(b'{"iss": "a", "iss": "b"}'), Kind.SIGNED),
        (unsigned({"alg": "dir", "enc": "A128GCM"}, claims()), Kind.ENCRYPTED),
        (segment(b'{"alg":"dir","enc":"A128GCM"}') + "..a.b.c", Kind.ENCRYPTED),
        (payload(b"no JSON"), Kind.MALFORMED),
        (segment(json_bytes(HEADER)) + "." + segment(b"{}"), Kind.MALFORMED),
        (unsigned(HEADER, claims()) + ".more", Kind.MALFORMED),
        ("opaque", Kind.OPAQUE),
        ("abcdef.0123456789abcdef", Kind.OPAQUE),
        ("a.b.c.d.e", Kind.OPAQUE),
        ("....", Kind.OPAQUE),
        ("", Kind.OPAQUE),
    ],
    ids=[
        "signed", "no-exp", "duplicate", "encrypted-three", "encrypted-five", "bad-payload", "two-segments",
        "four-segments", "opaque", "bootstrap-token", "five-words", "dots", "empty",
    ],
)  # fmt: skip
def test_the_form_of_a_token_is_recognized(text: str, kind: Kind) -> None:
    """Only its segments are used."""
    assert decode(text, START).kind is kind


@pytest.mark.parametrize(
    "text",
    [
        unsigned(HEADER, claims()),
        unsigned(HEADER, claims()).replace(".", "\n.\n"),
        ".".join(part + "=" * (-len(part) % 4) for part in unsigned(HEADER, claims()).split(".")),
        unsigned(HEADER, claims(note="?>~")).replace("-", "+").replace("_", "/"),
    ],
    ids=["canonical", "lines", "padding", "other-alphabet"],
)
def test_claims_of_an_invalid_token_are_shown(text: str) -> None:
    """A token that the gate denies can still be decoded."""
    decoded = decode(text, START)
    assert decoded.claims is not None
    assert decoded.claims["sub"] == "user-1"


def test_the_strict_parsers_refusal_is_included() -> None:
    """The reason is the gate's own."""
    refusal = decode(unsigned(HEADER, claims(exp="tomorrow")), START).refusal
    assert refusal is not None
    assert refusal.reason is Reason.CLAIM_MALFORMED


def test_a_well_formed_token_is_not_refused() -> None:
    """Its structure has no error."""
    assert decode(unsigned(HEADER, claims()), START).refusal is None


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"1" * 100_000 + b"}",
        b'{"a": 1e999, "b": -1e999, "c": NaN, "d": Infinity}',
        b'{"a": "\xff\xfe"}',
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": "\\ud800"}',
        b"[1]",
        b"null",
    ],
    ids=[
        "deep",
        "open-lists",
        "open-objects",
        "digits",
        "not-finite",
        "utf-8",
        "bom",
        "surrogate",
        "list",
        "null",
    ],
)
def test_a_hostile_payload_is_bounded_and_can_be_written_as_json(data: bytes) -> None:
    """No error is raised, and the result is plain JSON."""
    decoded = decode(payload(data), START)
    json.dumps(decoded.claims, allow_nan=False)


@given(st.text(max_size=200) | st.binary(max_size=200).map(payload))
def test_any_text_is_decoded_without_an_error(text: str) -> None:
    """No input raises an error."""
    decoded = decode(text, START)
    json.dumps([decoded.header, decoded.claims], allow_nan=False)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (89.9, "89 s"),
        (-90, "1 min"),
        (42 * 60 + 59, "42 min"),
        (90 * 60, "1 h"),
        (47.9 * 3600, "47 h"),
        (48 * 3600, "2 d"),
        (400 * 86400, "400 d"),
    ],
)
def test_a_duration_has_one_unit(seconds: float, words: str) -> None:
    """It is rounded down, so that a token never expires earlier than shown."""
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("name", "offset", "relation"),
    [
        ("exp", 60, "expires in 60 s"),
        ("exp", -60, "expired 60 s ago"),
        ("exp", 0, "expired 0 s ago"),
        ("nbf", 60, "becomes valid in 60 s"),
        ("nbf", -60, "became valid 60 s ago"),
        ("iat", 60, "issued 60 s in the future"),
        ("iat", -60, "issued 60 s ago"),
        ("auth_time", -7200, "2 h ago"),
    ],
)
def test_each_time_is_relative_to_now(name: str, offset: float, relation: str) -> None:
    """The words depend on the claim."""
    moment = decode(unsigned(HEADER, {name: START + offset}), START).moment(name)
    assert moment is not None
    assert moment.relation == relation


def test_the_time_to_renew_a_token_is_included() -> None:
    """A kube-apiserver writes it into `kubernetes.io`."""
    token = unsigned(HEADER, {"kubernetes.io": {"warnafter": START + 60}})
    assert [moment.relation for moment in decode(token, START).moments] == ["in 60 s"]


@pytest.mark.parametrize("value", ["1", True, None, -1, 1e300, [1]])
def test_an_invalid_time_is_not_a_date(value: object) -> None:
    """The claim is shown unchanged."""
    assert decode(unsigned(HEADER, {"exp": value}), START).moments == ()


@pytest.mark.parametrize(
    ("members", "named"),
    [
        (
            {"kubernetes.io": POD_BOUND, "jti": "id"},
            {
                "namespace": "prod",
                "service account": "web",
                "service account uid": "uid-of-web",
                "pod": "web-0",
                "pod uid": "uid-of-web-0",
                "node": "node-1",
                "node uid": "uid-of-node-1",
                "token id (jti)": "id",
            },
        ),
        (
            {
                "iss": LEGACY_ISSUER,
                "kubernetes.io/serviceaccount/namespace": "prod",
                "kubernetes.io/serviceaccount/service-account.name": "web",
                "kubernetes.io/serviceaccount/service-account.uid": "uid",
                "kubernetes.io/serviceaccount/secret.name": "web-token",
            },
            {
                "namespace": "prod",
                "service account": "web",
                "service account uid": "uid",
                "secret": "web-token",
            },
        ),
        ({"kubernetes.io": {"pod": "no object", "namespace": 1}, "jti": "id"}, {}),
        ({"jti": "id"}, {}),
    ],
    ids=["bound", "legacy", "mistyped", "other-issuer"],
)
def test_kubernetes_claims_are_named(members: Mapping[str, object], named: Mapping[str, str]) -> None:
    """The names are those of kubectl's users. Tokens of other issuers have no such names."""
    assert dict(decode(unsigned(HEADER, members), START).kubernetes) == named


def test_neither_the_text_nor_the_signature_is_kept() -> None:
    """So code that prints the result cannot print them."""
    token = unsigned(HEADER, claims())
    assert not any(part in repr(decode(token, START)) for part in token.split("."))
