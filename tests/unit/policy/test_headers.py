"""The identity headers of each preset."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authgate.errors import Reason
from authgate.model import Headers, Identity, ServiceAccount
from authgate.policy.headers import HeaderFailure, HeaderMapper
from authgate.vocabulary import Preset

POD = Identity(
    username="system:serviceaccount:prod:web",
    uid="uid-1",
    groups=("system:serviceaccounts", "system:authenticated"),
    extra=(
        ("authentication.kubernetes.io/credential-id", ("JTI=t-1",)),
        ("authentication.kubernetes.io/pod-name", ("web-0",)),
        ("example.org/Roles", ("a", "b")),
    ),
    issuer="https://issuer.example",
    issuer_name="home",
    cluster="home",
    service_account=ServiceAccount("prod", "web"),
    audiences=("my-audience",),
)
ALICE = Identity("alice", groups=("dev",), email="alice@corp.example", preferred_username="Alice")
PRESETS: list[Preset] = ["oauth2-proxy", "kubernetes", "remote"]


def headers(preset: Preset, identity: Identity) -> Headers:
    """The headers of an identity, which must not fail."""
    found = HeaderMapper(preset, 100_000).map(identity)
    assert not isinstance(found, HeaderFailure)
    return found


def test_the_oauth2_proxy_preset_names_every_part() -> None:
    """The headers are in this order, with empty values for unknown parts."""
    assert headers("oauth2-proxy", POD) == (
        ("X-Auth-Request-User", "system:serviceaccount:prod:web"),
        ("X-Auth-Request-Groups", "system:serviceaccounts,system:authenticated"),
        ("X-Auth-Request-Uid", "uid-1"),
        ("X-Auth-Request-Issuer", "https://issuer.example"),
        ("X-Auth-Request-Cluster", "home"),
        ("X-Auth-Request-Namespace", "prod"),
        ("X-Auth-Request-Service-Account", "web"),
        ("X-Auth-Request-Pod", "web-0"),
        ("X-Auth-Request-Email", ""),
        ("X-Auth-Request-Preferred-Username", ""),
    )


def test_the_oauth2_proxy_preset_names_a_person() -> None:
    """A person has an email address and no namespace."""
    found = dict(headers("oauth2-proxy", ALICE))

    assert found["X-Auth-Request-Email"] == "alice@corp.example"
    assert found["X-Auth-Request-Preferred-Username"] == "Alice"
    assert found["X-Auth-Request-Namespace"] == found["X-Auth-Request-Pod"] == ""
    assert found["X-Auth-Request-Cluster"] == ""


def test_the_kubernetes_preset_repeats_groups_and_extra() -> None:
    """As the request-header authenticator reads them: keys are in lower case and percent-encoded."""
    prefix = "X-Remote-Extra-authentication.kubernetes.io%2F"
    assert headers("kubernetes", POD) == (
        ("X-Remote-User", "system:serviceaccount:prod:web"),
        ("X-Remote-Group", "system:serviceaccounts"),
        ("X-Remote-Group", "system:authenticated"),
        ("X-Remote-Uid", "uid-1"),
        (f"{prefix}credential-id", "JTI=t-1"),
        (f"{prefix}pod-name", "web-0"),
        ("X-Remote-Extra-example.org%2Froles", "a"),
        ("X-Remote-Extra-example.org%2Froles", "b"),
    )


def test_the_kubernetes_preset_always_has_a_group() -> None:
    """Without groups it is empty, so that it always replaces the client's header."""
    assert headers("kubernetes", Identity("alice")) == (
        ("X-Remote-User", "alice"),
        ("X-Remote-Group", ""),
        ("X-Remote-Uid", ""),
    )


def test_the_remote_preset_names_a_person() -> None:
    """The headers are those of Authelia."""
    assert headers("remote", ALICE) == (
        ("Remote-User", "alice"),
        ("Remote-Groups", "dev"),
        ("Remote-Email", "alice@corp.example"),
        ("Remote-Name", "Alice"),
    )


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("identity", [POD, ALICE, Identity("x")], ids=["pod", "person", "hardly anything"])
def test_every_header_of_a_preset_is_always_sent(preset: Preset, identity: Identity) -> None:
    """Also, with empty values, for anonymous requests: otherwise the client's own header could reach the app."""
    anonymous = HeaderMapper(preset, 100_000).anonymous()
    named = {name for name, _ in headers(preset, identity) if not name.startswith("X-Remote-Extra-")}

    assert named == {name for name, _ in anonymous}
    assert {value for _, value in anonymous} == {""}


@pytest.mark.parametrize(
    ("preset", "name"), [("oauth2-proxy", "X-Auth-Request-Groups"), ("remote", "Remote-Groups")]
)
@pytest.mark.parametrize(
    ("groups", "joined"),
    [
        pytest.param((), "", id="none"),
        pytest.param(("a",), "a", id="one"),
        pytest.param(("a", "b"), "a,b", id="two"),
        pytest.param(("a,b",), "a%2Cb", id="comma"),
        pytest.param(("100%",), "100%25", id="percent"),
        pytest.param(("%2C",), "%252C", id="an encoded comma"),
        pytest.param(("a", ""), "a,", id="an empty one"),
        pytest.param(("dév", "☃"), "dév,☃", id="other letters, raw"),
        pytest.param(("a b",), "a b", id="space"),
    ],
)
def test_a_joined_list_can_be_split(preset: Preset, name: str, groups: tuple[str, ...], joined: str) -> None:
    """Only `%` and `,` inside a value are percent-encoded."""
    assert dict(headers(preset, replace(ALICE, groups=groups)))[name] == joined


@given(st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])), min_size=1))
def test_splitting_returns_the_groups(groups: list[str]) -> None:
    """Splitting at commas and decoding is the inverse of joining, so no group can look like two."""
    identity = replace(ALICE, groups=tuple(group.strip() for group in groups))
    joined = dict(headers("remote", identity))["Remote-Groups"]

    assert tuple(map(unquote, joined.split(","))) == identity.groups


UNSENDABLE = {
    "username": replace(ALICE, username=" alice"),
    "uid": replace(ALICE, uid="1 "),
    "group": replace(ALICE, groups=("dev", "ops\t")),
    "issuer": replace(ALICE, issuer=" https://issuer.example"),
    "email": replace(ALICE, email="\u00a0a@b"),
    "preferred name": replace(ALICE, preferred_username="Alice\u2003"),
    "extra": replace(ALICE, extra=(("a", ("x", " y")),)),
    "only white space": replace(ALICE, username=" "),
}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("identity", UNSENDABLE.values(), ids=UNSENDABLE)
def test_a_value_with_white_space_at_an_end_is_not_sent(preset: Preset, identity: Identity) -> None:
    """Parsers drop it (RFC 9110, section 5.5), so " admin" would become "admin"."""
    assert HeaderMapper(preset, 100_000).map(identity) == HeaderFailure(Reason.IDENTITY_UNSENDABLE)


@pytest.mark.parametrize("preset", PRESETS)
def test_headers_have_a_limit_in_bytes(preset: Preset) -> None:
    """Names, values in UTF-8 and four bytes per line count. The limit itself is allowed."""
    identity = replace(ALICE, groups=("ä" * 50,))
    size = sum(len(f"{name}: {value}\r\n".encode()) for name, value in headers(preset, identity))

    assert HeaderMapper(preset, size).map(identity) == headers(preset, identity)
    assert HeaderMapper(preset, size - 1).map(identity) == HeaderFailure(Reason.IDENTITY_TOO_LARGE)


def test_any_extra_key_becomes_a_header_name() -> None:
    """It is percent-encoded, because a header name is a token (RFC 9110, section 5.6.2)."""
    found = headers("kubernetes", replace(ALICE, extra=(("Ä/b c%:", ("1",)),)))

    assert found[-1] == ("X-Remote-Extra-%C3%A4%2Fb%20c%25%3A", "1")
