"""What is read from Envoy's check requests, and what decisions become in its answers."""

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
    """A decision that lets pass with these identity headers."""
    return Allow(identity, Reason.AUTHENTICATED, NO_EVIDENCE, headers)


def answered(
    decision: Allow | Deny | Unavailable,
    forward: Headers = (),
    client: list[tuple[bytes, bytes]] | None = None,
) -> Checked:
    """What the answer says to a client with these header fields."""
    return Checked.of(answer_of(decision, forward, client or []))


def read(**request: Any) -> OriginalRequest:
    """The original request as it is read."""
    message = check_request(**request)
    return original_of(message, headers_of(message))


@pytest.mark.parametrize("name", ["X-Forwarded-Host", "Forwarded", "X_HTTP_Method_Override", "x-real-ip"])
def test_what_apps_believe_of_a_proxy_is_removed(name: str) -> None:
    """The client may have written it."""
    answer = answer_of(allowed(), (), [(name.encode(), b"mallory"), (b"x-forwarded-for", b"192.0.2.1")])
    assert name.lower() in answer.ok_response.headers_to_remove
    assert "x-forwarded-for" not in answer.ok_response.headers_to_remove


def test_envoys_own_header_for_certificates_stays() -> None:
    """Envoy removes a client's, and sets its own where it is configured to."""
    answer = answer_of(allowed(), (), [(b"x-forwarded-client-cert", b"By=spiffe://a")])
    assert "x-forwarded-client-cert" not in answer.ok_response.headers_to_remove


@pytest.mark.parametrize(
    ("path", "told", "query"),
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
def test_the_path_is_envoys(path: str, told: str | None, query: str | None) -> None:
    """It is the request target that Envoy tells, the query apart; another form than a path is not known."""
    request = read(path=path)
    assert (request.path, request.query) == (told, query)


def test_method_and_host_are_envoys() -> None:
    """They are told apart from the headers."""
    request = read(method="DELETE", host="shop.example:8443")
    assert (request.method, request.host) == ("DELETE", "shop.example:8443")


@pytest.mark.parametrize("text", ["", "sh\u00f6p", "a\x00b"])
def test_a_host_that_is_no_plain_text_is_not_known(text: str) -> None:
    """As over HTTP, where such a header tells nothing."""
    assert read(host=text).host is None


def test_no_header_tells_the_request() -> None:
    """Whatever a client writes into the headers by which other proxies tell it."""
    lies = {
        "x-original-uri": "/open",
        "x-forwarded-uri": "/open",
        "x-original-method": "HEAD",
        "x-forwarded-host": "open",
        "host": "open",
        ":path": "/open",
    }
    assert read(path="/secret", headers=lies) == read(path="/secret")


def test_a_preflight_is_one() -> None:
    """By the fields that a browser sends."""
    fields = {"origin": "https://app.example", "access-control-request-method": "PUT"}
    assert read(method="OPTIONS", headers=fields).preflight
    assert not read(method="OPTIONS").preflight


def test_headers_are_those_that_envoy_has_joined() -> None:
    """One of a name."""
    fields = headers_of(check_request(headers={"cookie": "a=1; b=2"}))
    assert (b"cookie", b"a=1; b=2") in fields


def test_raw_headers_stand_one_by_one() -> None:
    """With their bytes, and each line for itself; what Envoy has joined is not looked at beside them."""
    message = check_request("joined", raw=[("authorization", b"Bearer a"), ("authorization", b"\xff")])
    assert headers_of(message) == [(b"authorization", b"Bearer a"), (b"authorization", b"\xff")]


def test_a_raw_header_may_be_told_as_text() -> None:
    """Where Envoy has no need of bytes."""
    message = CheckRequest()
    message.attributes.request.http.header_map.headers.add(key="authorization", value="Bearer a")
    assert headers_of(message) == [(b"authorization", b"Bearer a")]


def test_an_empty_message_is_a_request_of_which_nothing_is_known() -> None:
    """It has no credential, and no path that a rule could fit."""
    message = CheckRequest()
    assert headers_of(message) == []
    assert original_of(message, []) == OriginalRequest()


@given(st.binary(max_size=300), st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=20)), max_size=5))
def test_whatever_is_asked_is_answered(data: bytes, fields: list[tuple[str, bytes]]) -> None:
    """No message that can be read at all is too strange."""
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
    """They come from Envoy's own configuration; without them it is the default."""
    assert policy_of(check_request(policy="billing")) == "billing"
    assert policy_of(check_request()) == "default"


def test_identity_headers_are_set() -> None:
    """In the place of the client's."""
    answer = answered(allowed())
    assert answer.status == 200
    assert answer.code == 0
    assert answer.headers == (("X-Auth-Request-User", "corp:ada"),)


def test_headers_without_a_value_are_removed() -> None:
    """The app sees none of them."""
    assert answered(allowed()).removed == ("x-auth-request-email",)


def test_a_repeated_header_is_set_and_then_appended_to() -> None:
    """The first value takes the client's place, the others join it."""
    answer = answered(allowed((("X-Remote-Group", "dev"), ("X-Remote-Group", "ops"))))
    assert (answer.headers, answer.appended) == ((("X-Remote-Group", "dev"),), (("X-Remote-Group", "ops"),))


def test_a_repeated_header_is_appended_for_every_envoy() -> None:
    """Envoy goes by the older of two fields."""
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
    ],
)
def test_what_a_client_calls_itself_is_removed(name: str) -> None:
    """In the words of any preset, of the gate's own headers, and with underscores for dashes."""
    answer = answered(allowed((*NAMED, ("X-Department", "sales"))), client=[(name.encode(), b"mallory")])
    assert name.lower() in answer.removed


@pytest.mark.parametrize("name", ["authorization", "cookie", "x-own", "x-forwarded-for", ":path", "\xff"])
def test_other_headers_stay(name: str) -> None:
    """They are nobody's identity."""
    assert name not in answered(allowed(), client=[(name.encode("latin-1"), b"1")]).removed


def test_what_is_set_is_never_removed() -> None:
    """Envoy removes after it has set, in any case."""
    answer = answered(allowed(), client=[(b"X-AUTH-REQUEST-USER", b"mallory")])
    assert "x-auth-request-user" not in answer.removed


def test_what_is_left_of_credentials_places_is_told() -> None:
    """As over HTTP; where nothing is left, a client cannot say it either."""
    assert answered(allowed(), (("X-Auth-Forward-Cookie", "a=1"),)).value("X-Auth-Forward-Cookie") == "a=1"
    assert "x-auth-forward-cookie" in answered(allowed(), (("X-Auth-Forward-Cookie", ""),)).removed


def test_metadata_names_the_sender() -> None:
    """For Envoy's logs and further filters."""
    assert answered(allowed()).metadata == {
        "username": "corp:ada",
        "groups": ["dev", "ops"],
        "issuer": "https://issuer.example",
    }


def test_nobody_has_no_metadata() -> None:
    """On an open path."""
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
def test_a_refusal_is_the_one_over_http(reason: Reason, status: int, code: int) -> None:
    """Status, challenge and reason; nothing of HTTP's framing."""
    decision = Deny(reason, "why", NO_EVIDENCE)
    answer = answered(decision)
    expected = [pair for pair in render(decision)[1] if pair[0] not in ("Content-Length", "Server")]
    assert (answer.status, answer.code, list(answer.headers)) == (status, code, expected)


def test_a_503_says_when_to_try_again() -> None:
    """With its reason."""
    answer = answered(Unavailable(Reason.REVIEW_UNAVAILABLE, "", 7, NO_EVIDENCE))
    assert (answer.verdict, answer.code) == ((503, "review_unavailable"), 14)
    assert answer.value("Retry-After") == "7"


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_every_refusal_can_be_written(reason: Reason) -> None:
    """There is a code for each status."""
    if reason not in (Reason.AUTHENTICATED, Reason.ANONYMOUS):
        assert answered(Deny(reason, "", NO_EVIDENCE)).code != 0
