"""The facts of a request that audit lines show."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authgate.credential.bearer import PaddedCredential
from authgate.model import OriginalRequest
from authgate.policy.routes import PathPattern, RequestMatch
from authgate.policy.rules import Policy, Rule
from authgate.server.request_facts import (
    Subrequest,
    TokenClaims,
    TraceParent,
    claims_of,
    facts_of,
    forwarded_for,
    trace_parent,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = {
    "sampled": (f"00-{TRACE}-{SPAN}-01", True),
    "not sampled": (f"00-{TRACE}-{SPAN}-00", False),
    "other flags": (f"00-{TRACE}-{SPAN}-fe", False),
    "white space around": (f" \t00-{TRACE}-{SPAN}-01 ", True),
    "a later version": (f"01-{TRACE}-{SPAN}-01", True),
    "a later version with more fields": (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be", True),
}
INVALID = {
    "empty": "",
    "no flags": f"00-{TRACE}-{SPAN}",
    "more fields in version 00": f"00-{TRACE}-{SPAN}-01-more",
    "a later version, more without a dash": f"01-{TRACE}-{SPAN}-01more",
    "version ff": f"ff-{TRACE}-{SPAN}-01",
    "no trace": f"00-{'0' * 32}-{SPAN}-01",
    "no span": f"00-{TRACE}-{'0' * 16}-01",
    "capitals": f"00-{TRACE.upper()}-{SPAN}-01",
    "not hexadecimal": f"00-{TRACE[:-1]}g-{SPAN}-01",
    "too short": f"00-{TRACE[:-1]}-{SPAN}-01",
    "too long": f"cc-{TRACE}-{SPAN}-01-{'x' * 512}",
    "a list": f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",
}


@pytest.mark.parametrize(("text", "sampled"), VALID.values(), ids=VALID.keys())
def test_a_trace_parent_is_read(text: str, sampled: bool) -> None:
    """W3C Trace Context, section 3.2."""
    assert trace_parent([(b"Traceparent", text.encode())]) == TraceParent(TRACE, SPAN, sampled)


@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID.keys())
def test_an_invalid_trace_parent_is_ignored(text: str) -> None:
    """The request has no trace then."""
    assert trace_parent([(b"traceparent", text.encode())]) is None


def test_two_trace_parents_are_ignored() -> None:
    """It is unknown which one the proxy wrote."""
    header = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())
    assert trace_parent([header, header]) is None


ADDRESSES = {
    "one": (["192.0.2.7"], "192.0.2.7"),
    "the proxy's is the last one": (["10.0.0.1, 192.0.2.7"], "192.0.2.7"),
    "in a header of its own": (["10.0.0.1", "192.0.2.7"], "192.0.2.7"),
    "IPv6": (["2001:DB8:0:0::1"], "2001:db8::1"),
    "nothing behind the comma": (["192.0.2.7,"], None),
    "a name": (["unknown"], None),
    "a port": (["192.0.2.7:80"], None),
    "a zone": (["fe80::1%eth0"], None),
    "long": (["1" * 10000], None),
    "empty": ([""], None),
    "missing": ([], None),
}


@pytest.mark.parametrize(("values", "address"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_the_proxy_reports_the_clients_address(values: list[str], address: str | None) -> None:
    """Without a configured proxy, the header could be the client's."""
    headers = [(b"X-Forwarded-For", value.encode()) for value in values]
    assert forwarded_for("nginx", headers) == address
    assert forwarded_for(None, headers) is None


def credential(payload: object, *, header: object = None, padded: bool = False) -> bytes:
    """Return an Authorization value with an unsigned token."""
    parts = [json.dumps(part).encode() for part in (header or {"alg": "ES256"}, payload)]
    segments = [urlsafe_b64encode(part).decode() for part in (*parts, b"no signature.")]
    text = ".".join(segments if padded else [segment.rstrip("=") for segment in segments])
    return f"Bearer {text}".encode()


CLAIMS = {
    "all": (
        {"iss": "https://a", "aud": ["x", "y"], "jti": "1"},
        TokenClaims("https://a", ("x", "y"), "1"),
    ),
    "one audience": ({"aud": "x"}, TokenClaims(None, ("x",))),
    "of other types": ({"iss": 1, "aud": {"x": "y"}, "jti": ["1"]}, TokenClaims()),
    "audiences of other types": ({"aud": ["x", 1, None, ["y"], "z"]}, TokenClaims(None, ("x", "z"))),
    "long": (
        {"iss": "i" * 10000, "aud": ["a" * 10000], "jti": "j" * 10000},
        TokenClaims("i" * 256 + "…", ("a" * 256 + "…",), "j" * 256 + "…"),
    ),
    "many audiences": ({"aud": ["x"] * 1000}, TokenClaims(None, ("x",) * 8 + ("…",))),
    "as many as are shown": ({"aud": ["x"] * 8}, TokenClaims(None, ("x",) * 8)),
    "none": ({}, TokenClaims()),
    "no object": (["iss"], TokenClaims()),
}


@pytest.mark.parametrize(("payload", "claims"), CLAIMS.values(), ids=CLAIMS.keys())
def test_claims_are_read_and_shortened(payload: object, claims: TokenClaims) -> None:
    """The signature does not matter: they are what the client claims."""
    assert claims_of([credential(payload)]) == claims


def test_a_padded_token_is_read() -> None:
    """As a load balancer of AWS sends it."""
    value = PaddedCredential(credential({"iss": "https://a"}, padded=True))
    assert claims_of([value]) == TokenClaims("https://a")


@pytest.mark.parametrize(
    "values",
    [[], [b"Bearer opaque"], [b"Basic abc"], [b"Bearer a.b.c"], [credential({"iss": "a"})] * 2],
    ids=["none", "opaque", "basic", "malformed", "two"],
)
def test_other_credentials_have_no_claims(values: list[bytes]) -> None:
    """There is no claim to show."""
    assert claims_of(values) == TokenClaims()


def test_the_pattern_is_that_of_the_matching_rule() -> None:
    """The path of the rule that matches, of several ones the first."""
    rules = [
        Rule(RequestMatch(paths=(PathPattern("/a"), PathPattern("/users/*/posts"), PathPattern("/users/*")))),
        Rule(RequestMatch(methods=frozenset({"PUT"}))),
        Rule(RequestMatch(paths=(PathPattern("/raw/*"),), raw=True)),
    ]
    policy = Policy("default", rules=tuple(rules))
    patterns = {
        path: policy.pattern_for(OriginalRequest("GET", path, "a.example"))
        for path in ("/a", "/users/7/posts", "/us%65rs/7", "/raw/a%2Fb", "/elsewhere", "/users/../a", None)
    }
    assert patterns == {
        "/a": "/a",
        "/users/7/posts": "/users/*/posts",
        "/us%65rs/7": "/users/*",
        "/raw/a%2Fb": "/raw/*",
        "/elsewhere": None,
        "/users/../a": None,
        None: None,
    }
    assert policy.pattern_for(OriginalRequest("PUT", "/x", "a.example")) is None


@given(
    headers=st.lists(
        st.tuples(st.sampled_from([b"traceparent", b"x-forwarded-for", b"x-other"]), st.binary(max_size=80))
    ),
    credentials=st.lists(st.binary(max_size=80).map(lambda data: b"Bearer " + data), max_size=2),
    path=st.none() | st.text(max_size=40),
)
def test_no_request_causes_an_error(
    headers: list[tuple[bytes, bytes]], credentials: list[bytes], path: str | None
) -> None:
    """Nor does its representation show the token."""
    policy = Policy("default", rules=(Rule(RequestMatch(paths=(PathPattern("/a/*"),), raw=True)),))
    request = OriginalRequest("GET", path, "a.example")
    subrequest = Subrequest(
        "default", headers, lambda _proxy: request, lambda proxy: forwarded_for(proxy, headers)
    )
    facts = facts_of(subrequest, "nginx", policy, credentials)
    assert isinstance(claims_of(facts.credentials), TokenClaims)
    assert "Bearer" not in f"{facts} {subrequest}"
