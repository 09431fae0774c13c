"""Request ids: taken from the request if well-formed, else generated."""

from __future__ import annotations

import re

import pytest

from authgate.server.request_ids import MAX_LENGTH, RequestIds

NEW = re.compile(r"[0-9a-f]{32}")
WELL_FORMED = {
    "nginx": b"5b7a1c1a0c7f4d1f9b1a2c3d4e5f6071",
    "Envoy": b"7e0d2a4c-9b1f-4a8f-8f0a-0d7c1f3b2a11",
    "HAProxy": b"7F000001:8296_7F00001E:1F90_4F7B0A69_0003:790B",
    "AWS": b"Root=1-67891233-abcdef012345678912345678",
    "base64": b"q1w2/e3r4+t5==",
    "others": b"|a.b~c@d",
    "one character": b"1",
    "longest": b"x" * MAX_LENGTH,
    "white space around": b" \t abc \t",
}
MALFORMED = {
    "empty": b"",
    "white space": b" \t",
    "too long": b"x" * (MAX_LENGTH + 1),
    "a space": b"a b",
    "a comma": b"a,b",
    "a semicolon": b"a;b",
    "markup": b"<b>",
    "an ampersand": b"a&b",
    "a quote": b"a'b",
    "a double quote": b'a"b',
    "a backslash": b"a\\b",
    "a percent sign": b"a%0ab",
    "a line break": b"a\nb",
    "a NUL": b"a\x00b",
    "not ASCII": "ä".encode(),
    "like a token": b"eyJhbGciOiJFUzI1NiJ9",
    "with a token": b"id:eyJhbGciOiJFUzI1NiJ9.e30.c2ln",
}


@pytest.mark.parametrize("value", WELL_FORMED.values(), ids=WELL_FORMED.keys())
def test_a_well_formed_id_is_taken(value: bytes) -> None:
    """Case of the header's name does not matter."""
    ids = RequestIds("X-Request-Id")
    expected = value.strip().decode()
    assert ids.of([(b"Host", b"gate"), (b"x-rEQUEST-id", value)]) == expected
    assert ids.line(value) == f"X-Request-Id: {expected}\r\n".encode()


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED.keys())
def test_another_value_is_replaced(value: bytes) -> None:
    """Neither logs nor pages show text of a client that is not an id."""
    assert NEW.fullmatch(RequestIds("X-Request-Id").of([(b"X-Request-Id", value)]))


def test_two_ids_are_replaced() -> None:
    """It is unknown which one the proxy wrote."""
    assert NEW.fullmatch(RequestIds("X-Request-Id").of([(b"X-Request-Id", b"a"), (b"x-request-id", b"b")]))


def test_only_the_configured_header_is_read() -> None:
    """The response has it, too."""
    ids = RequestIds("X-Correlation-Id")
    headers = [(b"X-Request-Id", b"other"), (b"X-Correlation-Id", b"abc")]
    assert ids.answer_headers(ids.of(headers)) == (("X-Correlation-Id", "abc"),)


def test_generated_ids_are_all_different() -> None:
    """Also those of another process, which reads other random bytes."""
    one, other = RequestIds("X-Request-Id"), RequestIds("X-Request-Id")
    made = [ids.of([]) for _ in range(1000) for ids in (one, other)]
    assert len(set(made)) == 2000
    assert all(NEW.fullmatch(text) for text in made)
