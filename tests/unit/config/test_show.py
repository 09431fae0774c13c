from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from authgate.config import effective, load
from authgate.config.problems import dotted, masked, shown

if TYPE_CHECKING:
    from tests.unit.config.conftest import Load

ENV = {"AUTHGATE_CLUSTER__AUDIENCES": "a, b"}


def test_every_effective_value_is_shown_with_its_source() -> None:
    """Values are written as in the file."""
    shown_values = {dotted(path): (value, source) for path, value, source in effective(load(None, ENV))}
    assert {
        path: shown_values[path]
        for path in ("cluster.audiences", "cluster.tokenReview.maxAge", "jwt", "server.tls")
    } == {
        "cluster.audiences": (["a", "b"], "env AUTHGATE_CLUSTER__AUDIENCES"),
        "cluster.tokenReview.maxAge": ("1m", "default"),
        "jwt": ([], "default"),
        "server.tls": (None, "default"),
    }


def test_a_token_in_a_wrong_place_is_masked(load_text: Load) -> None:
    """Showing the configuration never shows a token."""
    text = "cluster: {audiences: [a]}\npolicies: {default: {allow: [{users: [eyJhbGciOiJub25lIn0.e30.]}]}}"
    values = {dotted(path): value for path, value, _ in effective(load_text(text))}
    assert values["policies.default.allow[0].users"] == ["***"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:secret@a.example/b", "https://***@a.example/b"),
        ("Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln-_", "Bearer ***"),
        ("-----BEGIN EC PRIVATE KEY-----\nAAAA\n", "***"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA", "-----BEGIN PUBLIC KEY-----\nAAAA"),
        ('{"keys":[{"kty":"oct", "k" : "c2VjcmV0"}]}', '{"keys":[{"kty":"oct", ***'),
        ('{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"d"}', '{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"d"}'),
        ("/etc/authgate/tls.key", "/etc/authgate/tls.key"),
        ("me@example.com", "me@example.com"),
    ],
    ids=["password", "token", "private-key", "public-key", "secret-jwk", "public-jwk", "path", "mail"],
)
def test_only_secrets_are_masked(text: str, expected: str) -> None:
    """Passwords, tokens and private keys are masked; paths and public keys are not."""
    assert masked(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (1, "1"),
        (1.5, "1.5"),
        (10**400, "a huge number"),
        ("a\nb", '"a\\nb"'),
        ("\ud800", '"\\ud800"'),
        ("x" * 100, '"' + "x" * 80 + '…"'),
        ([1], "a list"),
        ((), "an empty list"),
        ({}, "a mapping"),
        (b"x", "a bytes"),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_value_is_shown_on_one_short_line(value: object, expected: str) -> None:
    """Any value is rendered short and without line breaks."""
    assert shown(value) == expected


def test_a_path_is_one_line() -> None:
    """A key with a line break is quoted."""
    assert dotted(("policies", "a\nb", "allow", 0, "x" * 100)) == (
        f'policies["a\\nb"].allow[0]["{"x" * 80}…"]'
    )
