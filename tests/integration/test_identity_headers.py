"""The identity headers, as they are sent."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.service import cluster, knowing, of_cluster, running
from tests.support.wire import Reply, ask, bearer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.gate import Gate

ISSUER = "https://issuer.example.com"
CLAIMS = {"sub": "ada", "jti": "j-1", "groups": ["dev", "ops"], "email": "ada@example.com"}
NAMES = {
    "oauth2-proxy": [
        "x-auth-request-user",
        "x-auth-request-groups",
        "x-auth-request-uid",
        "x-auth-request-issuer",
        "x-auth-request-cluster",
        "x-auth-request-namespace",
        "x-auth-request-service-account",
        "x-auth-request-pod",
        "x-auth-request-email",
        "x-auth-request-preferred-username",
    ],
    "kubernetes": ["x-remote-user", "x-remote-group", "x-remote-uid"],
    "remote": ["remote-user", "remote-groups", "remote-email", "remote-name"],
}


@pytest.fixture
def issuer() -> Issuer:
    """An issuer whose keys are in the gate's configuration."""
    return Issuer(ISSUER, SigningKey.generate("ES256"))


@asynccontextmanager
async def gate_with(issuer: Issuer, preset: str = "oauth2-proxy", **headers: Any) -> AsyncIterator[Gate]:
    """A gate with this preset. `/open` is allowed without a token."""
    document = {
        "jwt": [knowing(issuer)],
        "headers": {"preset": preset, **headers},
        "server": {"proxy": "nginx"},
        "policies": {"default": {"anonymous": ["/open"]}},
    }
    async with running(document) as gate:
        yield gate


async def answer(gate: Gate, token: str | None, *lines: str) -> Reply:
    """Return the answer to a request with this token."""
    credential = [] if token is None else [bearer(token)]
    return await ask(gate.address, "GET /verify HTTP/1.1", "Host: gate", *credential, *lines)


def identity(reply: Reply) -> list[tuple[str, str]]:
    """Return the identity headers of an answer, in order."""
    prefixes = ("x-auth-request-", "x-remote-", "remote-")
    return [(name, value) for name, value in reply.lines if name.startswith(prefixes)]


@pytest.mark.parametrize("preset", NAMES)
async def test_every_name_of_the_preset_is_sent(issuer: Issuer, preset: str) -> None:
    """A proxy copies each header. If one were missing, the client's header of that name could reach the app."""
    async with gate_with(issuer, preset) as gate:
        named = identity(await answer(gate, issuer.mint(claims={"groups": None})))
        nobody = identity(await answer(gate, None, "X-Original-URI: /open"))
    names = list(dict.fromkeys(name for name, _ in named if not name.startswith("x-remote-extra-")))
    assert names == NAMES[preset]
    assert nobody == [(name, "") for name in NAMES[preset]]


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (
            "oauth2-proxy",
            {
                "x-auth-request-user": "corp:ada",
                "x-auth-request-groups": "dev,ops,system:authenticated",
                "x-auth-request-uid": "j-1",
                "x-auth-request-issuer": ISSUER,
                "x-auth-request-email": "ada@example.com",
            },
        ),
        ("kubernetes", {"x-remote-user": "corp:ada", "x-remote-uid": "j-1"}),
        (
            "remote",
            {
                "remote-user": "corp:ada",
                "remote-groups": "dev,ops,system:authenticated",
                "remote-email": "ada@example.com",
            },
        ),
    ],
)
async def test_an_identity_is_sent(issuer: Issuer, preset: str, expected: dict[str, str]) -> None:
    """Each value has its own header."""
    async with gate_with(issuer, preset) as gate:
        reply = await answer(gate, issuer.mint(claims=CLAIMS))
    assert {name: reply.value(name) for name in expected} == expected


async def test_the_kubernetes_preset_repeats_the_group_header(issuer: Issuer) -> None:
    """kube-apiserver's request-header authenticator reads it in this form."""
    async with gate_with(issuer, "kubernetes") as gate:
        reply = await answer(gate, issuer.mint(claims=CLAIMS))
    assert reply.values("X-Remote-Group") == ["dev", "ops", "system:authenticated"]


async def test_separators_inside_values_are_escaped(issuer: Issuer) -> None:
    """A group with a comma in its name must not become two groups."""
    async with gate_with(issuer) as gate:
        reply = await answer(gate, issuer.mint(claims={"groups": ["a,b", "50%", "%2C"]}))
    assert reply.value("X-Auth-Request-Groups") == "a%2Cb,50%25,%252C,system:authenticated"


@pytest.mark.parametrize("name", ["zoë", "東京", "🦉", "e\u0301", "\u202eevil", "a b"])
async def test_names_are_raw_utf_8(issuer: Issuer, name: str) -> None:
    """They are the bytes of the token's claim, not escaped and not normalised."""
    async with gate_with(issuer) as gate:
        reply = await answer(gate, issuer.mint(name))
    assert f"X-Auth-Request-User: corp:{name}\r\n".encode() in reply.head


@pytest.mark.parametrize("name", ["ada ", "ada\u00a0", "ada\u3000"], ids=["space", "nbsp", "wide-space"])
async def test_a_name_that_headers_would_change_is_refused(issuer: Issuer, name: str) -> None:
    """Field values lose leading and trailing spaces, and the result could name another user."""
    async with gate_with(issuer) as gate:
        reply = await answer(gate, issuer.mint(name))
    assert (reply.status, reply.reason, identity(reply)) == (403, "identity_unsendable", [])


@pytest.mark.parametrize(
    "name", ["a\r\nX-Auth-Request-Groups: root", "a\x00", "a\tb", "\x7f", "\u0085", "\ud800"]
)
async def test_control_characters_never_reach_a_header(issuer: Issuer, name: str) -> None:
    """This prevents header injection and names that are not valid UTF-8."""
    async with gate_with(issuer) as gate:
        reply = await answer(gate, issuer.mint(name))
    assert (reply.status, identity(reply)) == (401, [])
    assert reply.reason in {"identity_invalid", "token_malformed"}


async def test_an_identity_over_the_limit_is_refused(issuer: Issuer) -> None:
    """Too many groups are an error for the operator. The list is never shortened."""
    async with gate_with(issuer, maxBytes=1024) as gate:
        reply = await answer(gate, issuer.mint(claims={"groups": [f"group-{n}" for n in range(200)]}))
    assert (reply.status, reply.reason, identity(reply)) == (403, "identity_too_large", [])


async def test_identity_headers_of_the_client_are_not_echoed(issuer: Issuer) -> None:
    """They have no effect on the answer."""
    async with gate_with(issuer) as gate:
        reply = await answer(gate, issuer.mint(), "X-Auth-Request-User: root", "X-Auth-Request-Email: root@x")
    assert (reply.value("X-Auth-Request-User"), reply.value("X-Auth-Request-Email")) == ("corp:user-1", "")


async def test_an_anonymous_path_is_allowed_only_without_a_token(issuer: Issuer) -> None:
    """A credential is checked there, too."""
    async with gate_with(issuer) as gate:
        nobody = await answer(gate, None, "X-Original-URI: /open?x=1")
        liar = await answer(gate, "no.jwt.here", "X-Original-URI: /open")
    assert (nobody.status, liar.status) == (200, 401)


@pytest.mark.parametrize(
    "lines",
    [
        ["X-Original-URI: /open/"],
        ["X-Original-URI: /x/../open"],
        ["X-Original-URI: /%6fpen"],
        ["X-Original-URI: /open;x"],
        ["X-Original-URI: http://gate/open"],
        ["X-Original-URI: /open", "X-Original-URI: /open"],
        ["X-Forwarded-Uri: /open"],
        ["X-Original-URL: /open"],
    ],
)
async def test_only_the_exact_path_is_anonymous(issuer: Issuer, lines: list[str]) -> None:
    """Ambiguous paths and headers of other proxies do not count."""
    async with gate_with(issuer) as gate:
        assert (await answer(gate, None, *lines)).reason == "no_credential"


async def test_the_parts_of_a_service_account_are_sent(tmp_path: Path) -> None:
    """Namespace, account and pod have their own headers."""
    async with cluster(tmp_path) as scenario, running({"cluster": of_cluster(scenario)}) as gate:
        account = scenario.state.service_account("web", "prod")
        pod = scenario.state.pod(account, "web-0")
        reply = await answer(gate, scenario.state.account_token(account, bound_to=pod))
    told = dict(identity(reply))
    assert told["x-auth-request-user"] == "system:serviceaccount:prod:web"
    assert told["x-auth-request-uid"] == account.uid
    assert told["x-auth-request-namespace"] == "prod"
    assert told["x-auth-request-service-account"] == "web"
    assert told["x-auth-request-pod"] == "web-0"


async def test_extra_attributes_are_sent_to_kubernetes(tmp_path: Path) -> None:
    """Keys are lower case and percent-encoded, as the request-header authenticator reads them."""
    async with cluster(tmp_path) as scenario:
        document = {"cluster": of_cluster(scenario), "headers": {"preset": "kubernetes"}}
        account = scenario.state.service_account("web", "prod")
        token = scenario.state.account_token(account, bound_to=scenario.state.pod(account, "web-0"))
        async with running(document) as gate:
            reply = await answer(gate, token)
    assert reply.value("X-Remote-Extra-authentication.kubernetes.io%2Fpod-name") == "web-0"
