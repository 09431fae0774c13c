from __future__ import annotations

import pytest

from authgate.listen_address import ListenAddress


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:8080", ListenAddress("0.0.0.0", 8080)),
        ("127.0.0.1:0", ListenAddress("127.0.0.1", 0)),
        ("[::1]:8080", ListenAddress("::1", 8080)),
        ("[::]:65535", ListenAddress("::", 65535)),
        (":8080", ListenAddress("", 8080)),
        ("Localhost:80", ListenAddress("localhost", 80)),
        ("gate.example.com:80", ListenAddress("gate.example.com", 80)),
        ("unix:/run/authgate/authgate.sock", ListenAddress(unix="/run/authgate/authgate.sock")),
    ],
)
def test_an_address_is_read(text: str, address: ListenAddress) -> None:
    """Each form of an address is parsed."""
    assert ListenAddress.parse(text) == address


@pytest.mark.parametrize("text", ["0.0.0.0:80", "[::1]:80", ":80", "a.example:80", "unix:/run/a.sock"])
def test_an_address_is_written_as_it_was_read(text: str) -> None:
    """A configuration that is shown can be read again."""
    assert str(ListenAddress.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        "0.0.0.0",
        "0.0.0.0:",
        "0.0.0.0:65536",
        "0.0.0.0:-1",
        "256.0.0.1:80",
        "::1:8080",
        "[::1]",
        "[127.0.0.1]:80",
        "[zz]:80",
        "-a.example:80",
        "a b:80",
        "http://a:80",
        "unix:",
        "unix:relative.sock",
        "unix:/run/",
        "unix:/a\nb",
        "unix:/" + "x" * 107,
    ],
    ids=lambda text: repr(text)[:24],
)
def test_other_texts_are_refused(text: str) -> None:
    """The message lists the forms."""
    with pytest.raises(ValueError, match="must"):
        ListenAddress.parse(text)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("localhost:80", "0.0.0.0:80", True),
        ("0.0.0.0:80", "[::]:80", False),
        ("[::]:80", "[::1]:80", True),
        ("[::]:80", "127.0.0.1:80", False),
        (":80", "[::1]:80", True),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("unix:/a", "unix:/a", True),
        ("unix:/a", "unix:/b", False),
        ("unix:/a", ":80", False),
    ],
)
def test_addresses_collide_if_both_cannot_be_opened(one: str, other: str, expected: bool) -> None:
    """The order does not matter."""
    addresses = ListenAddress.parse(one), ListenAddress.parse(other)
    assert (addresses[0].collides_with(addresses[1]), addresses[1].collides_with(addresses[0])) == (
        expected,
        expected,
    )
