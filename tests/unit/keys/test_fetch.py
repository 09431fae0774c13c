"""How URLs are compared, and which hosts are loopback."""

from __future__ import annotations

import pytest

from authgate.keys.fetch import is_loopback, origin_of, retry_after


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://issuer.example", "https://issuer.example:443"),
        ("https://ISSUER.example/a?b#c", "https://issuer.example:443"),
        ("https://issuer.example:443/", "https://issuer.example:443"),
        ("https://issuer.example:8443/", "https://issuer.example:8443"),
        ("http://issuer.example", "http://issuer.example:80"),
        ("HTTP://issuer.example", "http://issuer.example:80"),
        ("https://[::1]:1/", "https://::1:1"),
        ("https://user@issuer.example/", "https://issuer.example:443"),
        ("/path", "://:None"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    """RFC 6454, section 4: in lower case, and with the scheme's default port."""
    assert origin_of(url) == origin


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.255.0.9", "::1"])
def test_loopback_is_this_machine(host: str) -> None:
    """Plain HTTP is allowed there."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "localhost.example",
        "127.0.0.1.example",
        "0.0.0.0",
        "10.0.0.1",
        "::",
        "issuer.example",
        "",
        "2130706433",
    ],
)
def test_other_hosts_are_not_loopback(host: str) -> None:
    """This also holds for names that begin like a loopback host."""
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [
        pytest.param(429, "30", 30, id="seconds"),
        pytest.param(429, "", 0, id="missing"),
        pytest.param(429, "-1", 0, id="negative"),
        pytest.param(429, "1e9", 0, id="exponent"),
        pytest.param(429, "٣", 0, id="other digits"),
        pytest.param(429, "9" * 400, 0, id="endless"),
        pytest.param(429, "Fri, 15 Jan 2027 08:00:00 GMT", 0, id="date"),
        pytest.param(503, "30", 0, id="another status"),
    ],
)
def test_only_a_429_in_seconds_is_a_wait(status: int, value: str, seconds: float) -> None:
    """A 503 of an overloaded proxy must not keep a gate without keys for long."""
    assert retry_after(status, value) == seconds
