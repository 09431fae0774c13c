from __future__ import annotations

import pytest

from authgate.cli.healthcheck import DEFAULT_ADMIN
from authgate.cli.probe import Target, target_of_address, target_of_url
from authgate.config.models.server import ServerConfig
from authgate.listen_address import ListenAddress


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("127.0.0.1:9090", Target("127.0.0.1", 9090)),
        ("0.0.0.0:9090", Target("127.0.0.1", 9090)),
        (":9090", Target("127.0.0.1", 9090)),
        ("[::]:9090", Target("::1", 9090)),
        ("[fe80::1]:9090", Target("fe80::1", 9090)),
        ("localhost:80", Target("localhost", 80)),
        ("unix:/run/authgate/admin.sock", Target("localhost", 0, "/run/authgate/admin.sock")),
    ],
    ids=["v4", "any-v4", "any", "any-v6", "v6", "name", "unix"],
)
def test_a_probe_uses_the_address_of_the_listener(address: str, target: Target) -> None:
    """A wildcard address is reached on loopback."""
    assert target_of_address(ListenAddress.parse(address)) == target


def test_a_port_that_the_kernel_chooses_is_rejected() -> None:
    """It cannot be known from outside."""
    with pytest.raises(ValueError, match="--url"):
        target_of_address(ListenAddress.parse("127.0.0.1:0"))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1:9090", Target("127.0.0.1", 9090)),
        ("http://gate.example/", Target("gate.example", 80)),
        ("http://[::1]:1/readyz", Target("::1", 1, path="/readyz")),
        ("unix:/run/a.sock", Target("localhost", 0, "/run/a.sock")),
    ],
    ids=["base", "slash", "path", "unix"],
)
def test_a_url_is_parsed(url: str, target: Target) -> None:
    """Its path is kept if it has one."""
    assert target_of_url(url) == target


@pytest.mark.parametrize(
    "url", ["https://a", "a:80", "http://", "http://me@a", "http://a:port", "http://[::1"]
)
def test_another_url_is_refused(url: str) -> None:
    """The admin port speaks plain HTTP."""
    with pytest.raises(ValueError):  # noqa: PT011 - urllib's own words among them
        target_of_url(url)


def test_the_default_is_the_configurations() -> None:
    """It is known without loading the configuration, and must not differ from it."""
    assert str(ServerConfig().admin) == DEFAULT_ADMIN
