"""Reading Envoy's check requests and writing decisions as its answers."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from authgate.errors import Reason
from authgate.model import NO_EVIDENCE, Allow, Deny, Headers, Identity, OriginalRequest, Unavailable
from authgate.server.grpc.mapping import answer_of, headers_of, original_of, policy_of
from authgate.server.http.response import render
from tests.support.envoy_messages import Checked, check_request

ADA = Identity("corp:ada", groups=("dev", "ops"), issuer="https://issuer.example")
NAMED: Headers = (("X-Auth-Request-User", "corp:ada"), ("X-Auth-Request-Email", ""))


def allowed(headers: Headers = NAMED, identity: Identity | None = ADA) -> Allow:
    """Return an allowing decision with these identity headers."""
    return Allow(identity, Reason.AUTHENTICATED, NO_EVIDENCE, headers)


def answered(
    decision: Allow | Deny | Unavailable,
    forward: Headers = (),
    client: list[tuple[bytes, bytes]] | None = None,
) -> Checked:
    """Return the answer to a client with these header fields."""
    return Checked.of(answer_of(decision, forward, client or []))


def read(**request: Any) -> OriginalRequest:
    """Return the client's request as read from the message."""
    message = check_request(**request)
    return original_of(message, headers_of(message))


@pytest.mark.parametrize("name", ["X-Forwarded-Host", "Forwarded", "X_HTTP_Method_Override", "x-real-ip"])
def test_headers_that_apps_trust_from_proxies_are_removed(name: str) -> None:
    """The client may have sent them."""
    answer = answer_of(allowed(), (), [(name.encode(), b"mallory"), (b"x-forwarded-for", b"192.0.2.1")])
    assert name.lower() in answer.ok_response.headers_to_remove
    assert "x-forwarded-for" not in answer.ok_response.headers_to_remove


def test_envoys_certificate_header_is_kept() -> None:
    """Envoy removes a client's header, and sets its own if configured."""
    answer = answer_of(allowed(), (), [(b"x-forwarded-client-cert", b"By=spiffe://a")])
    assert "x-forwarded-client-cert" not in answer.ok_response.headers_to_remove


@pytest.mark.parametrize(
    ("path", "expected", "query"),
    [
        ("/a/b?x=1&y=%2f", "/a/b", "x=1&y=%2f"),
        ("/a?b?c", "/a", "b?c"),
        ("/", "/", ""),
        ("/a%2fb/../c", "/a%2fb/../c", ""),
        ("/a#b", "/a#b", ""),
        ("/é", "/\u00c3\u00a9", ""),  # one byte a character, as everywhere
        ("*", None, None),
        ("", None, None),
        ("http://other/a", None, None),
    ],
)
def test_the_path_comes_from_envoy(path: str, expected: str | None, query: str | None) -> None:
    """It comes from Envoy's request target, without the query. A target that is not a path has no known path."""
    request = read(path=path)
    assert (request.path, request.query) == (expected, query)


def test_method_and_host_come_from_envoy() -> None:
    """They are fields of their own, not headers."""
    request = read(method="DELETE", host="shop.example:8443")
    assert (request.method, request.host) == ("DELETE", "shop.example:8443")


@pytest.mark.parametrize("text", ["", "sh\u00f6p", "a\x00b"])
def test_a_host_that_is_not_plain_text_is_unknown(text: str) -> None:
    """Such a host is unknown over HTTP, too."""
    assert read(host=text).host is None


def test_headers_do_not_describe_the_request() -> None:
    """A client may send the headers of other proxies."""
    lies = {
        "x-original-uri": "/open",
        "x-forwarded-uri": "/open",
        "x-original-method": "HEAD",
        "x-forwarded-host": "open",
        "host": "open",
        ":path": "/open",
    }
    assert read(path="/secret", headers=lies) == read(path="/secret")


def test_a_cors_preflight_is_recognised() -> None:
    """The header fields of a browser identify it."""
    fields = {"origin": "https://app.example", "access-control-request-method": "PUT"}
    assert read(method="OPTIONS", headers=fields).preflight
    assert not read(method="OPTIONS").preflight


def test_headers_are_read_as_envoy_joined_them() -> None:
    """There is one value per name."""
    fields = headers_of(check_request(headers={"cookie": "a=1; b=2"}))
    assert (b"cookie", b"a=1; b=2") in fields


def test_raw_headers_are_read_one_by_one() -> None:
    """They are bytes, one for each line. Joined headers are then ignored."""
    message = check_request("joined", raw=[("authorization", b"Bearer a"), ("authorization", b"\xff")])
    assert headers_of(message) == [(b"authorization", b"Bearer a"), (b"authorization", b"\xff")]


def test_a_raw_header_may_have_a_text_value() -> None:
    """Envoy sends bytes only if it must."""
    message = CheckRequest()
    message.attributes.request.http.header_map.headers.add(key="authorization", value="Bearer a")
    assert headers_of(message) == [(b"authorization", b"Bearer a")]


def test_an_empty_message_is_a_request_without_known_parts() -> None:
    """It has no credential, and no rule matches its path."""
    message = CheckRequest()
    assert headers_of(message) == []
    assert original_of(message, []) == OriginalRequest()


@given(st.binary(max_size=300), st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=20)), max_size=5))
def test_any_message_gets_an_answer(data: bytes, fields: list[tuple[str, bytes]]) -> None:
    """Any message that can be parsed is answered."""
    message = CheckRequest()
    with suppress(DecodeError):
        message.ParseFromString(data)
    for name, value in fields:
        message.attributes.request.http.header_map.headers.add(key=name, raw_value=value)
    headers = headers_of(message)
    original_of(message, headers)
    policy_of(message)
    answered(allowed(), client=list(headers))


def test_the_policy_is_named_by_context_extensions() -> None:
    """They come from Envoy's configuration. Without them it is the default policy."""
    assert policy_of(check_request(policy="billing")) == "billing"
    assert policy_of(check_request()) == "default"


def test_identity_headers_are_set() -> None:
    """They replace the client's headers."""
    answer = answered(allowed())
    assert answer.status == 200
    assert answer.code == 0
    assert answer.headers == (("X-Auth-Request-User", "corp:ada"),)


def test_headers_without_a_value_are_removed() -> None:
    """The app does not get the client's headers of these names."""
    assert answered(allowed()).removed == ("x-auth-request-email",)


def test_a_repeated_header_is_set_and_then_appended_to() -> None:
    """The first value replaces the client's header; the others are appended."""
    answer = answered(allowed((("X-Remote-Group", "dev"), ("X-Remote-Group", "ops"))))
    assert (answer.headers, answer.appended) == ((("X-Remote-Group", "dev"),), (("X-Remote-Group", "ops"),))


def test_a_repeated_header_is_appended_for_every_envoy() -> None:
    """Envoy uses the older of two fields."""
    message = answer_of(allowed((("X-Remote-Group", "dev"), ("X-Remote-Group", "ops"))), (), [])
    assert [option.append.value for option in message.ok_response.headers] == [False, True]


@pytest.mark.parametrize(
    "name",
    [
        "X_Auth_Request_User",
        "x-auth_request-user",
        "X-Remote-Extra-Scopes",
        "Remote-User",
        "x-auth-forward-cookie",
        "x-auth-request-unheard-of",
        "X_Department",
        "X-Forwarded-User",
        "X-Forwarded-Groups",
        "x-forwarded-email",
        "X_Forwarded_Preferred_Username",
    ],
)
def test_identity_headers_of_the_client_are_removed(name: str) -> None:
    """This includes every preset, other authentication proxies, and names with underscores instead of dashes."""
    answer = answered(allowed((*NAMED, ("X-Department", "sales"))), client=[(name.encode(), b"mallory")])
    assert name.lower() in answer.removed


@pytest.mark.parametrize("name", ["authorization", "cookie", "x-own", "x-forwarded-for", ":path", "\xff"])
def test_other_headers_are_kept(name: str) -> None:
    """They do not name an identity."""
    assert name not in answered(allowed(), client=[(name.encode("latin-1"), b"1")]).removed


def test_an_identity_header_of_another_proxy_can_be_authgates_own() -> None:
    """If the configuration sets X-Forwarded-User, the client's header is replaced and not removed."""
    own: Headers = (("X-Forwarded-User", "corp:ada"),)
    answer = answered(allowed(own), client=[(b"x-forwarded-user", b"mallory")])
    assert (answer.value("X-Forwarded-User"), answer.removed) == ("corp:ada", ())


def test_no_header_is_both_set_and_removed() -> None:
    """Envoy removes headers after setting them, and ignores case."""
    answer = answered(allowed(), client=[(b"X-AUTH-REQUEST-USER", b"mallory")])
    assert "x-auth-request-user" not in answer.removed


def test_headers_are_forwarded_without_credentials() -> None:
    """This is the same as over HTTP. If nothing remains, the client's header is removed."""
    assert answered(allowed(), (("X-Auth-Forward-Cookie", "a=1"),)).value("X-Auth-Forward-Cookie") == "a=1"
    assert "x-auth-forward-cookie" in answered(allowed(), (("X-Auth-Forward-Cookie", ""),)).removed


def test_metadata_names_the_identity() -> None:
    """Envoy's logs and other filters can use it."""
    assert answered(allowed()).metadata == {
        "username": "corp:ada",
        "groups": ["dev", "ops"],
        "issuer": "https://issuer.example",
    }


def test_an_anonymous_request_has_no_metadata() -> None:
    """The path is listed under `anonymous`."""
    assert answered(allowed((("X-Auth-Request-User", ""),), None)).metadata == {}


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        (Reason.NO_CREDENTIAL, 401, 16),
        (Reason.TOKEN_EXPIRED, 401, 16),
        (Reason.DENIED, 403, 7),
        (Reason.NO_SUCH_ENDPOINT, 404, 5),
    ],
)
def test_a_denial_is_the_same_as_over_http(reason: Reason, status: int, code: int) -> None:
    """It has status, challenge and reason, without HTTP's framing headers."""
    decision = Deny(reason, "why", NO_EVIDENCE)
    answer = answered(decision)
    expected = [pair for pair in render(decision)[1] if pair[0] not in ("Content-Length", "Server")]
    assert (answer.status, answer.code, list(answer.headers)) == (status, code, expected)


def test_a_503_has_retry_after() -> None:
    """It has its reason, too."""
    answer = answered(Unavailable(Reason.REVIEW_UNAVAILABLE, "", 7, NO_EVIDENCE))
    assert (answer.verdict, answer.code) == ((503, "review_unavailable"), 14)
    assert answer.value("Retry-After") == "7"


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_every_refusal_can_be_written(reason: Reason) -> None:
    """Each status has a gRPC code."""
    if reason not in (Reason.AUTHENTICATED, Reason.ANONYMOUS):
        assert answered(Deny(reason, "", NO_EVIDENCE)).code != 0
