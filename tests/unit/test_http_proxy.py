"""Which forward proxy the environment names for a URL, as in Go's net/http (golang.org/x/net/http/httpproxy)."""

from __future__ import annotations

import pytest

from authgate.http_proxy import Proxy, ProxyEnvironment, ProxyError, read_proxy

ISSUER = "https://issuer.example/keys"
BOTH = {"HTTPS_PROXY": "http://proxy:3128", "HTTP_PROXY": "http://plain:3128"}


def chosen(url: str, **environ: str) -> str | None:
    """Return the proxy's URL."""
    proxy = ProxyEnvironment(environ).proxy_for(url)
    return None if proxy is None else proxy.url


VARIABLES = {
    "none": (ISSUER, {}, None),
    "capitals": (ISSUER, {"HTTPS_PROXY": "http://proxy:1"}, "http://proxy:1"),
    "small letters": (ISSUER, {"https_proxy": "http://proxy:1"}, "http://proxy:1"),
    "capitals come first": (ISSUER, {"https_proxy": "http://b:1", "HTTPS_PROXY": "http://a:1"}, "http://a:1"),
    "an empty one is not set": (ISSUER, {"https_proxy": "http://b:1", "HTTPS_PROXY": ""}, "http://b:1"),
    "the scheme decides": (ISSUER, BOTH, "http://proxy:3128"),
    "the other scheme": ("http://issuer.example/", BOTH, "http://plain:3128"),
    "only the other scheme's": (ISSUER, {"HTTP_PROXY": "http://plain:1"}, None),
    "ALL_PROXY is not read": (ISSUER, {"ALL_PROXY": "http://all:1", "all_proxy": "http://all:1"}, None),
    "without a scheme": (ISSUER, {"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
    "without a port": (ISSUER, {"HTTPS_PROXY": "http://proxy"}, "http://proxy"),
    "with a path": (ISSUER, {"HTTPS_PROXY": "http://proxy:1/path?query"}, "http://proxy:1"),
    "IPv6": (ISSUER, {"HTTPS_PROXY": "http://[fd00::1]:3128"}, "http://[fd00::1]:3128"),
    "of TLS": (ISSUER, {"HTTPS_PROXY": "https://proxy"}, "https://proxy"),
    "in CGI, HTTP_PROXY may be the client's": ("http://a.example/", {**BOTH, "REQUEST_METHOD": "GET"}, None),
    "in CGI, http_proxy too": ("http://a.example/", {"http_proxy": "a:1", "REQUEST_METHOD": "GET"}, None),
    "in CGI, HTTPS_PROXY holds": (ISSUER, {**BOTH, "REQUEST_METHOD": "GET"}, "http://proxy:3128"),
    "an empty REQUEST_METHOD is not CGI": (
        "http://a.example/",
        {**BOTH, "REQUEST_METHOD": ""},
        "http://plain:3128",
    ),
    "another scheme": ("ftp://a.example/", BOTH, None),
}


@pytest.mark.parametrize(("url", "environ", "proxy"), VARIABLES.values(), ids=VARIABLES)
def test_a_variable_names_the_proxy(url: str, environ: dict[str, str], proxy: str | None) -> None:
    """The URL's scheme selects the variable."""
    assert chosen(url, **environ) == proxy


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost:8443", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::ffff:127.0.0.1]"],
)
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_loopback_is_reached_directly(scheme: str, host: str) -> None:
    """NO_PROXY does not change this."""
    assert chosen(f"{scheme}://{host}/", **BOTH) is None


DIRECT = {
    "everything": ("*", "issuer.example"),
    "everything, among others": ("a.example, *", "issuer.example"),
    "the domain itself": ("issuer.example", "issuer.example"),
    "below the domain": ("example", "issuer.example"),
    "in any case": ("Issuer.EXAMPLE", "issuer.example"),
    "a leading dot": (".example", "issuer.example"),
    "an asterisk and a dot": ("*.example", "issuer.example"),
    "white space": (" a.example ,\tissuer.example ", "issuer.example"),
    "the scheme's port": ("issuer.example:443", "issuer.example"),
    "another port": ("issuer.example:8443", "issuer.example:8443"),
    "an empty port": ("issuer.example:", "issuer.example:8443"),
    "a dotted domain and a port": (".example:443", "issuer.example"),
    "an address": ("10.0.0.1", "10.0.0.1"),
    "an address and its port": ("10.0.0.1:443", "10.0.0.1"),
    "a network": ("10.96.0.0/12", "10.100.0.1:6443"),
    "a network written by one of its addresses": ("10.96.0.7/12", "10.100.0.1"),
    "an IPv6 address": ("fd00::1", "[fd00::1]"),
    "an IPv6 address and its port": ("[fd00::1]:443", "[fd00::1]"),
    "an IPv6 address in brackets": ("[fd00::1]", "[fd00::1]"),
    "an IPv6 network": ("fd00::/8", "[fd12::1]"),
    "a mapped address": ("10.0.0.0/8", "[::ffff:10.0.0.1]"),
}


@pytest.mark.parametrize(("text", "host"), DIRECT.values(), ids=DIRECT)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy_lists_hosts_that_are_reached_directly(name: str, text: str, host: str) -> None:
    """Entries are domains, addresses and networks, each with or without a port."""
    assert chosen(f"https://{host}/", **BOTH, **{name: text}) is None


PROXIED = {
    "empty": ("", "issuer.example"),
    "commas alone": (",, ,", "issuer.example"),
    "another domain": ("other.example", "issuer.example"),
    "the end of a label": ("ssuer.example", "issuer.example"),
    "a leading dot, the domain itself": (".issuer.example", "issuer.example"),
    "an asterisk and a dot, the domain itself": ("*.issuer.example", "issuer.example"),
    "an asterisk in a name": ("*issuer.example", "issuer.example"),
    "another port": ("issuer.example:8443", "issuer.example"),
    "a port alone": (":443", "issuer.example"),
    "dots alone": ("...", "issuer.example"),
    "another address": ("10.0.0.2", "10.0.0.1"),
    "an address and another port": ("10.0.0.1:80", "10.0.0.1"),
    "another network": ("10.96.0.0/12", "10.0.0.1"),
    "a network, for a name": ("0.0.0.0/0", "issuer.example"),
    "a network of the other kind": ("::/0", "10.0.0.1"),
    "a network with a mask": ("10.0.0.0/255.0.0.0", "10.0.0.1"),
    "no network": ("10.0.0.0/99", "10.0.0.1"),
    "part of an address": ("10.0.0", "10.0.0.1"),
    "spaces for commas": ("issuer.example other.example", "issuer.example"),
}


@pytest.mark.parametrize(("text", "host"), PROXIED.values(), ids=PROXIED)
def test_anything_else_goes_through_the_proxy(text: str, host: str) -> None:
    """An entry matches only what it names."""
    assert chosen(f"https://{host}/", **BOTH, NO_PROXY=text) == "http://proxy:3128"


def test_no_proxy_in_capitals_has_precedence() -> None:
    """The proxy variables have the same order."""
    assert chosen(ISSUER, **BOTH, NO_PROXY="other.example", no_proxy="*") == "http://proxy:3128"


@pytest.mark.parametrize(
    ("value", "authorization"),
    [
        pytest.param("http://proxy:1", "", id="none"),
        pytest.param("http://user:secret@proxy:1", "Basic dXNlcjpzZWNyZXQ=", id="user and password"),
        pytest.param("http://user@proxy:1", "Basic dXNlcjo=", id="user alone"),
        pytest.param("http://user:s%40cret@proxy:1", "Basic dXNlcjpzQGNyZXQ=", id="escaped"),
        pytest.param("user:secret@proxy:1", "Basic dXNlcjpzZWNyZXQ=", id="without a scheme"),
    ],
)
def test_a_proxys_password_is_sent_only_to_the_proxy(value: str, authorization: str) -> None:
    """No text about the proxy contains it."""
    proxy = read_proxy(value, "HTTPS_PROXY")
    assert proxy == Proxy("http://proxy:1", authorization, "HTTPS_PROXY")
    assert str(proxy) == "http://proxy:1 (HTTPS_PROXY)"
    assert repr(proxy) == "Proxy(url='http://proxy:1', origin='HTTPS_PROXY')"


UNUSABLE = {
    "SOCKS": "socks5://user:secret@proxy:1080",
    "a scheme alone": "http://",
    "no host": "http://secret:x@",
    "an open bracket": "http://[::1",
    "no number": "http://proxy:port",
    "no scheme": "//proxy",
    "a slash in the password": "http://user:sec/ret@proxy",
    "a space": "http://pro xy:1",
    "a character that cannot be seen": "http://proxy\u200b:1",
    "a port alone": ":3128",
}


@pytest.mark.parametrize("value", UNUSABLE.values(), ids=UNUSABLE)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_a_proxy_that_cannot_be_used_is_an_error(name: str, value: str) -> None:
    """The request does not bypass the proxy, and the message does not contain the value."""
    with pytest.raises(ProxyError) as raised:
        chosen(ISSUER, **{name: value})
    assert str(raised.value).startswith(f"{name}: must be a URL such as http://proxy:3128")
    assert "sec" not in str(raised.value)


def test_a_proxy_that_is_not_needed_is_not_read() -> None:
    """Hosts in NO_PROXY are reached directly, even if the proxy is invalid."""
    assert chosen(ISSUER, HTTPS_PROXY="socks5://proxy:1080", NO_PROXY="issuer.example") is None
