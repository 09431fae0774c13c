from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from authgate.tools.snippets.options import (
    Listen,
    Upstream,
    parse_app,
    parse_gate,
    parse_header,
    parse_listen,
    parse_open_path,
    parse_policy,
    parse_preset,
    parse_token_header,
    verify_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FOREIGN = [
    "a;b",
    "a b",
    "a\nb",
    'a"b',
    "a'b",
    "a{b}",
    "a$b",
    "a`b`",
    "a#b",
    "a%b",
    "a\\b",
    "a<<b>>",
    "a\u00e4",
    "a\u0660",
    "a\x00",
    "",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:8080", Upstream("127.0.0.1", 8080)),
        ("http://authgate.authgate.svc:8080/", Upstream("authgate.authgate.svc", 8080)),
        ("http://authgate", Upstream("authgate", 80)),
        ("http://[::1]:8080", Upstream("[::1]", 8080)),
        ("unix:/run/authgate/authgate.sock", Upstream("", 0, "/run/authgate/authgate.sock")),
    ],
)
def test_a_gate_address_is_parsed(text: str, expected: Upstream) -> None:
    """It is a URL of host and port, or a socket."""
    assert parse_gate(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "https://gate:8080",
        "http://gate:8080/verify",
        "http://user@gate",
        "http://gate:0",
        "http://gate:65536",
        "http://gate?x",
        "http://1.2.3.400",
        "http://[1::2::3]",
        "http://-gate",
        "http://a..b",
        "unix:relative",
        "unix:/run/",
        "unix:/" + "x" * 107,
        "gate:8080",
        "tcp://gate",
    ],
)
def test_an_invalid_gate_address(text: str) -> None:
    """The message names the option."""
    with pytest.raises(ValueError, match="--gate"):
        parse_gate(text)


def test_an_app_address_may_be_grpc() -> None:
    """h2c is HTTP/2 without TLS; TLS to the app is not supported."""
    assert parse_app("h2c://app:3000") == Upstream("app", 3000, scheme="h2c")
    with pytest.raises(ValueError, match="--app must be"):
        parse_app("https://app")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":8000", Listen("", 8000)),
        ("127.0.0.1:8000", Listen("127.0.0.1", 8000)),
        ("[::]:443", Listen("[::]", 443)),
    ],
)
def test_a_listen_address_is_parsed(text: str, expected: Listen) -> None:
    """It is a port, or an address and a port."""
    assert parse_listen(text) == expected


@pytest.mark.parametrize(
    "text", ["8000", "app.example.com:80", ":0", ":99999", "1.2.3:80", "[x]:80", ":", "::1:80"]
)
def test_an_invalid_listen_address(text: str) -> None:
    """Names are rejected: they may resolve to another machine's address."""
    with pytest.raises(ValueError, match="--listen"):
        parse_listen(text)


@pytest.mark.parametrize(
    "text", ["/", "healthz", "/a/", "/a//b", "/a/../b", "/..", "/.hidden", "/a/*", "/" + "x" * 101]
)
def test_an_invalid_open_path(text: str) -> None:
    """An open path is exactly one path in its plain spelling."""
    with pytest.raises(ValueError, match="--open"):
        parse_open_path(text)


@pytest.mark.parametrize(
    "text", ["Host", "authorization", "X-Forwarded-For", "X-Original-URI", "Cookie", "1X", "X_Y"]
)
def test_a_header_that_the_gate_cannot_set(text: str) -> None:
    """Headers of HTTP and of proxies cannot be identity headers."""
    with pytest.raises(ValueError, match="--header"):
        parse_header(text)
    with pytest.raises(ValueError, match="--token-header"):
        parse_token_header(text)


@pytest.mark.parametrize("inside", FOREIGN)
@pytest.mark.parametrize(
    ("parse", "form"),
    [
        (parse_gate, "http://{}:8080"),
        (parse_gate, "http://gate:{}"),
        (parse_gate, "unix:/run/{}/"),
        (parse_app, "http://{}"),
        (parse_listen, "{}:80"),
        (parse_listen, "127.0.0.1:{}"),
        (parse_policy, "{}"),
        (parse_preset, "{}"),
        (parse_open_path, "/{}"),
        (parse_header, "{}"),
        (parse_header, "X-{}"),
        (parse_token_header, "X-{}"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_nothing_can_be_smuggled_into_a_configuration(
    parse: Callable[[str], object], form: str, inside: str
) -> None:
    """No option accepts a character with a meaning in a proxy's configuration."""
    if (form, inside) in {("{}:80", ""), ("X-{}", "")}:
        pytest.skip("not applicable: nothing is inside")
    with pytest.raises(ValueError, match="--"):
        parse(form.format(inside))


def test_a_policy_has_its_own_path() -> None:
    """The default policy has the short path."""
    assert verify_path("default") == "/verify"
    assert verify_path(parse_policy("billing")) == "/policies/billing/verify"
