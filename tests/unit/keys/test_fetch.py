"""What of fetching is pure: how URLs are compared, and which hosts are this machine."""

from __future__ import annotations

import pytest

from authgate.keys.fetch import is_loopback, origin_of


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
    """RFC 6454, section 4: case aside, and with the scheme's own port."""
    assert origin_of(url) == origin


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.255.0.9", "::1"])
def test_loopback_is_this_machine(host: str) -> None:
    """Where plain HTTP can be borne."""
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
def test_anything_else_is_not(host: str) -> None:
    """Whatever it begins with."""
    assert not is_loopback(host)
