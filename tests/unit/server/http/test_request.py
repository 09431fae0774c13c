"""Reading the subrequest: its endpoint, its credentials, and the client's request as the proxy describes it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authgate.credential.bearer import values_of
from authgate.model import OriginalRequest
from authgate.policy.paths import plain_path
from authgate.server.http.request import (
    Endpoint,
    endpoint_of,
    original_request,
)
from authgate.vocabulary import Proxy

RawHeaders = list[tuple[bytes, bytes]]


@pytest.mark.parametrize(
    ("target", "policy", "rest"),
    [
        pytest.param("/verify", "default", "", id="the endpoint"),
        pytest.param("/verify/", "default", "/", id="a slash more"),
        pytest.param("/verify/app/x", "default", "/app/x", id="a path below"),
        pytest.param("/verify?policy=other", "default", "", id="a query chooses nothing"),
        pytest.param("/verify/a?/policies/b/verify", "default", "/a", id="another endpoint in the query"),
        pytest.param("/verify/?", "default", "/", id="an empty query"),
        pytest.param("/verify//", "default", "//", id="empty segments are kept"),
        pytest.param("/verify/../x", "default", "/../x", id="dot segments are kept"),
        pytest.param("/verify/%2e%2e/x", "default", "/%2e%2e/x", id="escapes are kept"),
        pytest.param("/policies/app/verify", "app", "", id="a policy"),
        pytest.param("/policies/app/verify/", "app", "/", id="a policy and a slash"),
        pytest.param("/policies/app/verify/a/b?c", "app", "/a/b", id="a path below a policy"),
        pytest.param("/policies/default/verify", "default", "", id="the default policy by name"),
        pytest.param("/policies/a-1/verify", "a-1", "", id="digits and a hyphen"),
        pytest.param("/policies/7/verify", "7", "", id="one digit"),
        pytest.param(f"/policies/{'a' * 63}/verify", "a" * 63, "", id="the longest name"),
        pytest.param(
            "/policies/a/verify/policies/b/verify", "a", "/policies/b/verify", id="the first counts"
        ),
    ],
)
def test_a_target_has_a_policy_and_a_rest(target: str, policy: str, rest: str) -> None:
    """Any path below an endpoint belongs to it. The rest of the path is unchanged."""
    assert endpoint_of(target) == Endpoint(policy, rest)


@pytest.mark.parametrize(
    "target",
    [
        *(
            "",
            "/",
            "*",
            "?",
            "/?/verify",
            "verify",
            "/verif",
            "/verifyx",
            "/verify-x",
            "/verify.json",
            "/verify;x",
        ),
        *(
            "/verify%2f",
            "/verify%20",
            "/verify#x",
            "/VERIFY",
            "/Verify/",
            "//verify",
            "/./verify",
            "/x/verify",
        ),
        *("/%76erify", "/verify\\x", " /verify", "/healthz", "/metrics"),
        *(
            "/policies/a",
            "/policies/a/",
            "/policies/a/verifyx",
            "/policies/a/verify-x",
            "/policies/a/verify%2f",
        ),
        *("/policies//verify", "/policies/verify", "/policies/../verify", "/policies/./verify"),
        *(
            "/policies/a/b/verify",
            "/policies/a/../b/verify",
            "/policies/%61/verify",
            "/policies/a%2fb/verify",
        ),
        *("/policies/A/verify", "/policies/a_b/verify", "/policies/-a/verify", "/policies/a-/verify"),
        *("/policies/a.b/verify", "/policies/a /verify", "/policies/ä/verify", "/policies/a\n/verify"),
        *(
            f"/policies/{'a' * 64}/verify",
            "/policies/a/verify\n",
            "/policies/a/verify;x",
            "/Policies/a/verify",
        ),
        *("gate.example:443", "http://gate.example", "http://gate.example/x", "http://gate.example?/verify"),
        *("http://gate.example/x/../verify", "http:///", "//gate.example/verify"),
        *("http://gate.example/verify", "https://gate.example:8443/policies/a/verify/x?y", "foo:/verify"),
        *(
            "http://gate.example/verify#x",
            "http://gate.example/ver\tify",
            "http:/verify",
            "x:/verify",
            "http:///verify",
        ),
    ],
    ids=ascii,
)
def test_other_targets_are_not_endpoints(target: str) -> None:
    """Targets are not decoded, case-folded or normalised."""
    assert endpoint_of(target) is None


@given(
    st.text(max_size=60)
    | st.text(alphabet="/verifypolcs.%2?#;:-a[]@", max_size=60)
    | st.builds("{}://{}{}".format, st.text(max_size=5), st.text(max_size=10), st.text(max_size=20))
)
def test_any_target_gives_an_endpoint_or_none(target: str) -> None:
    """No target raises an error, and every policy name is valid in a configuration."""
    found = endpoint_of(target)

    if found is not None:
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", found.policy)
        assert found.rest == "" or found.rest.startswith("/")
        assert "?" not in found.rest


def test_every_authorization_line_is_a_credential() -> None:
    """The name may be in any case. Lines are in order, and may be empty. Similar names do not count."""
    headers = [
        (b"Authorization", b"Bearer a"),
        (b"X-Authorization", b"Bearer x"),
        (b"AUTHORIZATION", b""),
        (b"Proxy-Authorization", b"Bearer y"),
        (b"authorization", b"Bearer b"),
        (b"authorizatioN ", b"Bearer z"),
        (b"Authorization_", b"Bearer w"),
    ]

    assert values_of(headers, b"authorization") == [b"Bearer a", b"", b"Bearer b"]
    assert values_of([], b"authorization") == []


def test_values_are_returned_raw() -> None:
    """They are neither decoded nor split at commas."""
    assert values_of([(b"X-A", b"a, b"), (b"x-a", b"\xff")], b"x-a") == [b"a, b", b"\xff"]


FORWARDED_HEADERS: dict[Proxy, tuple[bytes, bytes, str]] = {
    "nginx": (b"X-Original-Method", b"X-Original-URI", ""),
    "haproxy": (b"X-Original-Method", b"X-Original-URI", ""),
    "ingress-nginx": (b"X-Original-Method", b"X-Original-URL", "https://app.example"),
    "traefik": (b"X-Forwarded-Method", b"X-Forwarded-Uri", ""),
    "caddy": (b"X-Forwarded-Method", b"X-Forwarded-Uri", ""),
}
HOSTS: dict[Proxy, bytes] = {
    "nginx": b"X-Original-Host",
    "haproxy": b"X-Original-Host",
    "traefik": b"X-Forwarded-Host",
    "caddy": b"X-Forwarded-Host",
}


def forwarded_request(proxy: Proxy, headers: RawHeaders) -> OriginalRequest:
    """Return the client's request from a proxy's headers. The subrequest is a POST to /verify/of-the-proxy."""
    return original_request(proxy, headers, "POST", Endpoint("default", "/of-the-proxy", "of=the-proxy"))


@pytest.mark.parametrize("proxy", FORWARDED_HEADERS)
@pytest.mark.parametrize(
    ("uri", "path", "query"),
    [
        pytest.param("/a/b", "/a/b", "", id="path"),
        pytest.param("/a?b=/c", "/a", "b=/c", id="query"),
        pytest.param("/?a?b", "/", "a?b", id="root with a query"),
        pytest.param("/a/../b%2fc;d", "/a/../b%2fc;d", "", id="as it was sent"),
    ],
)
def test_a_proxy_sends_method_path_and_host(proxy: Proxy, uri: str, path: str, query: str) -> None:
    """The snippet configures it to send these headers."""
    method_name, uri_name, prefix = FORWARDED_HEADERS[proxy]
    headers = [(method_name, b"PATCH"), (uri_name, (prefix + uri).encode())]
    if proxy in HOSTS:
        headers.append((HOSTS[proxy], b"app.example"))

    assert forwarded_request(proxy, headers) == OriginalRequest("PATCH", path, "app.example", query)


def test_ingress_nginx_sends_a_whole_url() -> None:
    """If it sends only a path, the host is unknown."""
    assert (
        forwarded_request("ingress-nginx", [(b"X-Original-Url", b"https://app.example:8443/a")]).host
        == "app.example:8443"
    )
    assert (
        forwarded_request("ingress-nginx", [(b"X-Original-Url", b"/a"), (b"X-Original-Host", b"b")]).host
        is None
    )
    for uri in (b"https://app.example:8443/a?b", b"http://[::1]/a", b"/a"):
        assert forwarded_request("ingress-nginx", [(b"X-Original-Url", uri)]).path == "/a"


@pytest.mark.parametrize("proxy", FORWARDED_HEADERS)
def test_headers_of_other_proxies_are_ignored(proxy: Proxy) -> None:
    """A client may send them. The configured proxy overwrites only its own."""
    own = {name.lower() for name in (*FORWARDED_HEADERS[proxy][:2], HOSTS.get(proxy, b""))}
    headers = [
        (name, b"https://app.example/a" if name.endswith(b"L") else b"/a")
        for method, uri, _ in FORWARDED_HEADERS.values()
        for name in (method, uri)
        if name.lower() not in own
    ]

    headers += [(name, b"app.example") for name in {*HOSTS.values(), b"Host"} if name.lower() not in own]

    assert forwarded_request(proxy, [*headers, (b"X-Envoy-Original-Path", b"/a")]) == OriginalRequest()


@pytest.mark.parametrize("proxy", FORWARDED_HEADERS)
def test_a_repeated_header_is_ignored(proxy: Proxy) -> None:
    """One of the two may come from the client."""
    method_name, uri_name, prefix = FORWARDED_HEADERS[proxy]
    uri = f"{prefix}/a".encode()
    once = [(method_name, b"GET"), (uri_name, uri)]
    if proxy in HOSTS:
        once.append((HOSTS[proxy], b"app.example"))
    twice = [*once, *((name.upper(), value) for name, value in once)]

    assert forwarded_request(proxy, twice) == OriginalRequest()
    assert forwarded_request(proxy, once) == OriginalRequest("GET", "/a", "app.example", "")
    assert forwarded_request(proxy, []) == OriginalRequest()


@pytest.mark.parametrize("proxy", FORWARDED_HEADERS)
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3\xa4", b"\x00", b"\t", b"\x7f"], ids=ascii)
def test_unusual_bytes_are_kept_only_in_a_path(proxy: Proxy, bad: bytes) -> None:
    """The path is kept as it was sent, so that it can be refused as ambiguous."""
    method_name, uri_name, prefix = FORWARDED_HEADERS[proxy]
    headers = [(method_name, b"GE" + bad), (uri_name, f"{prefix}/a".encode() + bad)]
    if proxy in HOSTS:
        headers.append((HOSTS[proxy], b"app" + bad))
    found = forwarded_request(proxy, headers)

    assert (found.method, found.path) == (None, "/a" + bad.decode("latin-1"))
    assert proxy not in HOSTS or found.host is None
    assert plain_path(found.path or "") is None


@pytest.mark.parametrize("proxy", FORWARDED_HEADERS)
@pytest.mark.parametrize("uri", [b"", b"a", b"*", b"?/a", b"app.example:443", b"\\a"], ids=ascii)
def test_a_target_that_is_not_a_path_has_no_path(proxy: Proxy, uri: bytes) -> None:
    """OPTIONS and CONNECT can have such targets."""
    method_name, uri_name, _ = FORWARDED_HEADERS[proxy]

    assert forwarded_request(proxy, [(method_name, b"GET"), (uri_name, uri)]) == OriginalRequest("GET", None)


@pytest.mark.parametrize(
    "url",
    [
        b"https://app.example",
        b"https://app.example?/public/x",
        b"https://app.example#/public/x",
    ],
    ids=ascii,
)
def test_a_url_without_a_path_has_no_path(url: bytes) -> None:
    """Its host comes from the client."""
    assert forwarded_request("ingress-nginx", [(b"X-Original-Url", url)]) == OriginalRequest()


@pytest.mark.parametrize("proxy", FORWARDED_HEADERS)
def test_a_number_sign_is_part_of_the_path(proxy: Proxy) -> None:
    """A request target has no fragment, and an app may read what follows the sign."""
    method_name, uri_name, prefix = FORWARDED_HEADERS[proxy]
    uri = f"{prefix}/public/x#/../../secret"

    assert (
        forwarded_request(proxy, [(method_name, b"GET"), (uri_name, uri.encode())]).path
        == "/public/x#/../../secret"
    )


def test_envoy_sends_the_request_in_the_subrequest() -> None:
    """It sends the original method, and the original path behind the prefix. No header counts."""
    headers = [(b"X-Original-Method", b"GET"), (b"X-Original-URI", b"/b"), (b"X-Forwarded-Uri", b"/c")]

    headers.append((b"Host", b"app.example"))
    asked = Endpoint("default", "/a/b", "c=d")

    assert original_request("envoy", headers, "PUT", asked) == OriginalRequest(
        "PUT", "/a/b", "app.example", "c=d"
    )
    assert original_request("envoy", headers, "PUT", Endpoint("default", "")) == OriginalRequest()


ORIGIN = (b"Origin", b"https://pages.example:8443")
ASKED = (b"Access-Control-Request-Method", b"PATCH")


def preflight(proxy: Proxy, method: bytes, *headers: tuple[bytes, bytes]) -> bool:
    """Return whether a request with these fields is a CORS preflight."""
    method_name, uri_name, prefix = FORWARDED_HEADERS[proxy]
    told_by = [(method_name, method), (uri_name, f"{prefix}/x".encode())]
    return original_request(proxy, [*told_by, *headers], "POST", Endpoint("default", "")).preflight


@pytest.mark.parametrize("proxy", FORWARDED_HEADERS)
@pytest.mark.parametrize("origin", [b"https://pages.example:8443", b"http://[::1]", b"null", b"moz-x://a-b"])
def test_a_preflight_is_recognised_by_method_and_two_fields(proxy: Proxy, origin: bytes) -> None:
    """Names may be in any case, and the requested method is any that a page may use."""
    assert preflight(proxy, b"OPTIONS", (b"ORIGIN", origin), (b"access-control-request-method", b"x-own"))


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        pytest.param(b"GET", [ORIGIN, ASKED], id="another method"),
        pytest.param(b"options", [ORIGIN, ASKED], id="small letters"),
        pytest.param(b"OPTIONS", [], id="nothing"),
        pytest.param(b"OPTIONS", [ORIGIN], id="no method asked for"),
        pytest.param(b"OPTIONS", [ASKED], id="no origin"),
        pytest.param(b"OPTIONS", [ORIGIN, ASKED, ASKED], id="two methods"),
        pytest.param(b"OPTIONS", [ORIGIN, ORIGIN, ASKED], id="two origins"),
        pytest.param(b"OPTIONS", [(b"Origin", b""), ASKED], id="empty origin"),
        pytest.param(b"OPTIONS", [(b"Origin", b"pages.example"), ASKED], id="no scheme"),
        pytest.param(b"OPTIONS", [(b"Origin", b"https://a,https://b"), ASKED], id="joined origins"),
        pytest.param(b"OPTIONS", [(b"Origin", b"https://a/b"), ASKED], id="a path"),
        pytest.param(b"OPTIONS", [(b"Origin", b"https://" + b"a" * 261), ASKED], id="a long origin"),
        pytest.param(b"OPTIONS", [ORIGIN, (ASKED[0], b"")], id="empty method"),
        pytest.param(b"OPTIONS", [ORIGIN, (ASKED[0], b"GET, PUT")], id="joined methods"),
        pytest.param(b"OPTIONS", [ORIGIN, (ASKED[0], b"G" * 33)], id="a long method"),
    ],
)
def test_other_requests_are_not_preflights(method: bytes, headers: RawHeaders) -> None:
    """Requests that no browser sends are ordinary requests."""
    assert not preflight("nginx", method, *headers)


def test_envoys_preflight_is_recognised_by_the_subrequest() -> None:
    """Its method is that of the subrequest, below the prefix."""
    headers = [(b"Host", b"app.example"), ORIGIN, ASKED]
    assert original_request("envoy", headers, "OPTIONS", Endpoint("default", "/x")).preflight
    assert not original_request("envoy", headers, "GET", Endpoint("default", "/x")).preflight


def test_without_a_configured_proxy_no_header_is_read() -> None:
    """A configuration whose policies need them is refused."""
    headers = [
        (name, b"/a") for method, uri, _ in FORWARDED_HEADERS.values() for name in (method, uri, b"Host")
    ]
    assert original_request(None, headers, "POST", Endpoint("default", "/a", "")) == OriginalRequest()
