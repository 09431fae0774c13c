"""authgate's own tokens: identity tokens in a header, and token exchange (RFC 8693), as other programs verify them."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authgate.config import load
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.server.exchange import GRANT, JWT_TYPE
from tests.support.gate import GateProcess
from tests.support.process import free_port, until
from tests.support.service import knowing, running, trusting, written
from tests.support.wire import connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.gate import Answer, Gate

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
ADA = {"sub": "ada", "jti": "j-1", "groups": ["dev"]}
FORM = {"grant_type": GRANT, "subject_token_type": JWT_TYPE, "audience": "reports"}


@dataclass(frozen=True, slots=True)
class Signing:
    """A gate that signs tokens, and its issuer URL."""

    gate: Gate
    url: str

    async def exchange(self, form: dict[str, str], path: str = "/token", **headers: str) -> Answer:
        """Return the answer to an exchange."""
        sent = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return await self.gate.client.post(self.url + path, urlencode(form).encode(), sent.items())

    async def keys(self) -> dict[str, jwt.PyJWK]:
        """Return its published keys by kid, found by discovery."""
        discovery = json.loads(
            (await self.gate.client.get(f"{self.url}/.well-known/openid-configuration")).body
        )
        assert discovery["issuer"] == self.url
        published = json.loads((await self.gate.client.get(discovery["jwks_uri"])).body)["keys"]
        return {key["kid"]: jwt.PyJWK(key) for key in published}

    async def verified(self, token: str, audience: str) -> dict[str, Any]:
        """Return the claims of a token that PyJWT verified with the published keys."""
        keys = await self.keys()
        key = keys[jwt.get_unverified_header(token)["kid"]]
        return jwt.decode(token, key, ["ES256", "EdDSA"], audience=audience, issuer=self.url)


@asynccontextmanager
async def signing(key_file: Path | None = None, **sections: Any) -> AsyncIterator[Signing]:
    """Run a gate that signs identity tokens for `apps`, and exchanges tokens under two policies."""
    address = f"127.0.0.1:{free_port()}"
    url = f"http://{address}"
    document = {
        "jwt": [knowing(ISSUER)],
        "signing": {"issuer": url, "keyFiles": [str(key_file)] if key_file else []},
        "identityToken": {"audience": "apps", "ttl": "5m"},
        "exchange": {"listen": address, "audiences": {"default": ["reports", "vault"], "staff": ["reports"]}},
        "policies": {"default": {}, "staff": {"allow": [{"groups": ["staff"]}]}, "closed": {}},
        **sections,
    }
    async with running(document) as gate:
        yield Signing(gate, url)


def token(**claims: Any) -> str:
    """Return a valid token of Ada's."""
    return ISSUER.mint("ada", claims={**ADA, **claims})


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """An Ed25519 key."""
    private = ed25519.Ed25519PrivateKey.generate()
    path = tmp_path / "signing.pem"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def test_the_example_is_a_configuration(key_file: Path, tmp_path: Path) -> None:
    """deploy/examples/tokens loads with its key file."""
    text = (Path(__file__).parents[2] / "deploy/examples/tokens/authgate.yaml").read_text()
    (tmp_path / "previous.pem").write_bytes(key_file.read_bytes())
    (tmp_path / "current.pem").write_bytes(key_file.read_bytes())
    file = tmp_path / "authgate.yaml"
    file.write_text(text.replace("/etc/authgate/signing", str(tmp_path)))
    assert load(file, {}).config.exchange is not None


async def test_an_identity_token_verifies_with_the_published_keys(key_file: Path) -> None:
    """Its claims name the user."""
    async with signing(key_file) as gate:
        answer = await gate.gate.request(token())
        claims = await gate.verified(answer.value("X-Auth-Identity"), "apps")
    assert answer.status == 200
    assert (claims["sub"], claims["groups"]) == (
        answer.value("X-Auth-Request-User"),
        ["dev", "system:authenticated"],
    )


async def test_the_admin_port_publishes_the_same_documents() -> None:
    """They are discovery and keys."""
    async with signing() as gate:
        for path in ("/.well-known/openid-configuration", "/jwks"):
            there = await gate.gate.client.get(gate.url + path)
            assert (await gate.gate.admin(path)).body == there.body
        assert (await gate.gate.admin("/other")).status == 404


async def test_an_identity_token_is_cached_with_its_verdict() -> None:
    """The same identity token is sent again with a cached verdict."""
    async with signing() as gate:
        mine = token()
        _, second, third = [(await gate.gate.request(mine)).value("X-Auth-Identity") for _ in range(3)]
    assert second == third != ""


async def test_an_identity_token_expires_with_the_clients_token() -> None:
    """`exp` is that of the client's token if it is earlier."""
    async with signing() as gate:
        mine = ISSUER.mint("ada", lifetime=30, claims=ADA)
        stated = await gate.verified((await gate.gate.request(mine)).value("X-Auth-Identity"), "apps")
    assert stated["exp"] <= jwt.decode(mine, options={"verify_signature": False})["exp"]


async def test_a_denial_has_no_identity_token() -> None:
    """This covers a 401."""
    async with signing() as gate:
        answer = await gate.gate.request("rubbish")
    assert (answer.status, answer.values("X-Auth-Identity")) == (401, [])


async def test_an_anonymous_request_has_an_empty_identity_token() -> None:
    """The header is always sent, so that it replaces one from the client."""
    policies = {"default": {"anonymous": ["/open"]}, "staff": {}}
    async with signing(policies=policies, server={"proxy": "nginx"}) as gate:
        answer = await gate.gate.request(headers=[("X-Original-URI", "/open"), ("X-Original-Method", "GET")])
    assert (answer.status, answer.values("X-Auth-Identity")) == (200, [""])


async def test_a_token_is_exchanged(key_file: Path) -> None:
    """The response follows RFC 8693, section 2.2.1, and the token verifies for its audience."""
    async with signing(key_file) as gate:
        answer = await gate.exchange({**FORM, "subject_token": token()})
        body = json.loads(answer.body)
        claims = await gate.verified(body.pop("access_token"), "reports")
    assert answer.status == 200
    assert answer.value("Cache-Control") == "no-store"
    assert body == {"issued_token_type": JWT_TYPE, "token_type": "Bearer", "expires_in": 600}
    assert (claims["sub"], claims["aud"]) == ("corp:ada", "reports")
    assert "act" not in claims


async def test_another_gate_accepts_an_issued_token() -> None:
    """It finds the keys by discovery, as for any issuer."""
    async with signing() as gate:
        issued = json.loads((await gate.exchange({**FORM, "subject_token": token()})).body)["access_token"]
        other = trusting(gate.url, "gateway")
        other["issuer"]["audiences"] = ["reports"]
        other["claimMappings"]["username"]["prefix"] = ""
        async with running({"jwt": [other]}) as second:
            await second.passes(issued, within=30)
            answer = await second.request(issued)
    assert answer.value("X-Auth-Request-User") == "corp:ada"


KINDS = {
    "identity token, as a bearer token": ("statement", ["JWT", "at+jwt"], (401, "type_not_accepted")),
    "exchanged token, as a bearer token": ("exchanged", ["JWT", "at+jwt"], (200, "")),
    "identity token, as one": ("statement", ["authgate-identity+jwt"], (200, "")),
    "exchanged token, as an identity token": (
        "exchanged",
        ["authgate-identity+jwt"],
        (401, "type_not_accepted"),
    ),
}


@pytest.mark.parametrize(("kind", "types", "verdict"), KINDS.values(), ids=KINDS)
async def test_identity_tokens_and_exchanged_tokens_are_not_confused(
    key_file: Path, kind: str, types: list[str], verdict: tuple[int, str]
) -> None:
    """A gate that trusts the issuer accepts only the configured type."""
    address = f"127.0.0.1:{free_port()}"
    url = f"http://{address}"
    exchange = {"listen": address, "audiences": {"default": ["apps"]}}
    async with signing(key_file, exchange=exchange, signing=_named(url, key_file)) as served:
        gate = Signing(served.gate, url)
        exchanged = await gate.exchange({**FORM, "audience": "apps", "subject_token": token()})
        tokens = {
            "statement": (await gate.gate.request(token())).value("X-Auth-Identity"),
            "exchanged": json.loads(exchanged.body)["access_token"],
        }
        other = trusting(url, "gateway", types=types)
        other["issuer"]["audiences"] = ["apps"]
        async with running({"jwt": [other]}) as second:
            wanted = "statement" if "authgate-identity+jwt" in types else "exchanged"
            await second.passes(tokens[wanted], within=30)
            assert (await second.request(tokens[kind])).verdict == verdict


async def test_an_identity_token_is_not_exchanged(key_file: Path) -> None:
    """A gate that accepts its own exchanged tokens rejects an identity token, which is meant for an app."""
    address = f"127.0.0.1:{free_port()}"
    url = f"http://{address}"
    own = trusting(url, "own")
    own["issuer"]["audiences"] = ["apps"]
    exchange = {"listen": address, "audiences": {"default": ["apps"]}}
    sections = {"exchange": exchange, "signing": _named(url, key_file), "jwt": [knowing(ISSUER), own]}
    async with signing(key_file, **sections) as served:
        gate = Signing(served.gate, url)
        stated = (await gate.gate.request(token())).value("X-Auth-Identity")
        first = await gate.exchange({**FORM, "audience": "apps", "subject_token": token()})
        issued = json.loads(first.body)["access_token"]
        await gate.gate.passes(issued, within=30)
        again = await gate.exchange({**FORM, "audience": "apps", "subject_token": issued})
        refused = await gate.exchange({**FORM, "audience": "apps", "subject_token": stated})
    assert again.status == 200
    assert refused.status == 400
    assert json.loads(refused.body)["error_description"].startswith("type_not_accepted: ")


def _named(url: str, key_file: Path) -> dict[str, Any]:
    return {"issuer": url, "keyFiles": [str(key_file)]}


async def test_a_token_that_is_bound_to_its_sender_is_not_exchanged() -> None:
    """An exchange would turn it into a bearer token (RFC 9449, section 7.2), unless the issuer is exempt."""
    bound = token(cnf={"jkt": "x"})
    async with signing() as gate:
        refused = await gate.exchange({**FORM, "subject_token": bound})
    async with signing(jwt=[knowing(ISSUER, unsafeIgnoreConfirmation=True)]) as gate:
        taken = await gate.exchange({**FORM, "subject_token": bound})
    assert refused.status == 400
    assert json.loads(refused.body)["error_description"].startswith("token_sender_constrained: ")
    assert taken.status == 200


REFUSALS = {
    "no grant": ({"grant_type": ""}, 400, "unsupported_grant_type"),
    "another grant": ({"grant_type": "client_credentials"}, 400, "unsupported_grant_type"),
    "no audience": ({"audience": ""}, 400, "invalid_request"),
    "an audience that is not offered": ({"audience": "admin"}, 400, "invalid_target"),
    "no subject token": ({"subject_token": ""}, 400, "invalid_request"),
    "a subject token of no bearer syntax": ({"subject_token": "a b"}, 400, "invalid_request"),
    "a subject token beyond ASCII": ({"subject_token": "é"}, 400, "invalid_request"),
    "a forged subject token": ({"subject_token": "a.b.c"}, 400, "invalid_request"),
    "a type that is no JWT": (
        {"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"},
        400,
        "invalid_request",
    ),
    "a wish for another type": ({"requested_token_type": "urn:x"}, 400, "invalid_request"),
    "an actor": ({"actor_token": "x"}, 400, "invalid_request"),
    "a scope": ({"scope": "all"}, 400, "invalid_request"),
    "a resource": ({"resource": "https://api.example"}, 400, "invalid_request"),
}


@pytest.mark.parametrize(("change", "status", "error"), REFUSALS.values(), ids=REFUSALS)
async def test_invalid_requests_get_an_error(change: dict[str, str], status: int, error: str) -> None:
    """Each mistake has its OAuth error, and only a 200 has a token."""
    async with signing() as gate:
        answer = await gate.exchange({**FORM, "subject_token": token(), **change})
        counted = await gate.gate.metric("authgate_exchange_requests_total", result=error)
    assert (answer.status, json.loads(answer.body)["error"], counted) == (status, error, 1)
    assert "access_token" not in answer.body


async def test_a_policy_can_deny_an_exchange() -> None:
    """An identity that the policy denies gets no token. The error has the reason."""
    async with signing() as gate:
        answer = await gate.exchange({**FORM, "subject_token": token()}, "/policies/staff/token")
    body = json.loads(answer.body)
    assert (answer.status, body["error"]) == (403, "unauthorized_client")
    assert body["error_description"].startswith("not_allowed: ")


@pytest.mark.parametrize("path", ["/policies/closed/token", "/policies/nobody/token", "/verify", "/tokens"])
async def test_other_paths_do_not_exist(path: str) -> None:
    """A policy without audiences has no exchange, and the listener serves nothing else."""
    async with signing() as gate:
        assert (await gate.exchange({**FORM, "subject_token": token()}, path)).status == 404


async def test_an_outage_is_unavailable() -> None:
    """While the issuer's keys cannot be fetched, an exchange gets 503 with Retry-After."""
    away = Issuer(f"http://127.0.0.1:{free_port()}", SigningKey.generate("ES256"))
    async with signing(jwt=[trusting(away)]) as gate:
        answer = await gate.exchange({**FORM, "subject_token": away.mint("ada", claims=ADA)})
        counted = await gate.gate.metric("authgate_unavailable_total", reason="keys_unavailable")
    assert (answer.status, json.loads(answer.body)["error"]) == (503, "temporarily_unavailable")
    assert counted == 1
    assert int(answer.value("Retry-After")) >= 1


async def test_a_repeated_parameter_is_refused() -> None:
    """Each parameter is allowed once (RFC 6749, section 3.2). authgate does not choose one of two."""
    async with signing() as gate:
        body = urlencode([*FORM.items(), ("audience", "vault"), ("subject_token", token())]).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await gate.gate.client.post(f"{gate.url}/token", body, kind.items())
    assert (answer.status, json.loads(answer.body)["error"]) == (400, "invalid_request")


FORMS = {
    "JSON": (b"{}", "application/json", 415),
    "no form": (b"=&;", "application/x-www-form-urlencoded", 400),
    "bytes": (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
    "too many fields": (b"&".join(b"a%d=1" % n for n in range(50)), "application/x-www-form-urlencoded", 400),
    "too large": (b"a=" + b"x" * 40_000, "application/x-www-form-urlencoded", 413),
}


@pytest.mark.parametrize(("body", "kind", "status"), FORMS.values(), ids=FORMS)
async def test_a_body_that_is_not_a_form_is_refused(body: bytes, kind: str, status: int) -> None:
    """Each kind of unreadable body has its own status."""
    async with signing() as gate:
        answer = await gate.gate.client.post(f"{gate.url}/token", body, [("Content-Type", kind)])
    assert answer.status == status


async def test_only_a_post_exchanges() -> None:
    """Other methods get a 405 that names POST."""
    async with signing() as gate:
        answer = await gate.gate.client.get(f"{gate.url}/token")
    assert (answer.status, answer.value("Allow")) == (405, "POST")


@pytest.mark.parametrize("path", ["/jwks", "/.well-known/openid-configuration"])
async def test_documents_are_only_read(path: str) -> None:
    """Other methods than GET and HEAD get a 405 that names both."""
    async with signing() as gate:
        answer = await gate.gate.client.post(f"{gate.url}{path}", b"", [])
    assert (answer.status, answer.value("Allow")) == (405, "GET, HEAD")


async def test_a_missing_body_times_out() -> None:
    """A client that announces a body and does not send it gets 408 after the timeout."""
    async with signing(limits={"headerTimeout": "0.3s"}) as gate:
        reader, writer = await asyncio.open_connection(*gate.url.removeprefix("http://").split(":"))
        writer.write(
            b"POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: 100\r\n\r\ngrant_type="
        )
        line = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        await writer.wait_closed()
    assert line == b"HTTP/1.1 408 Request Timeout\r\n"


async def test_an_exchange_is_written_to_the_audit_log(tmp_path: Path) -> None:
    """With `log.audit: all` it is logged like an answer of the verify port, without tokens."""
    address = f"127.0.0.1:{free_port()}"
    document = {
        "jwt": [knowing(ISSUER)],
        "signing": {"issuer": f"http://{address}"},
        "exchange": {"listen": address, "audiences": {"default": ["reports"]}},
        "log": {"audit": "all"},
    }
    mine = token()
    async with GateProcess(written(tmp_path, document)) as gate:
        body = urlencode({**FORM, "subject_token": mine}).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        issued = json.loads((await gate.client.post(f"http://{address}/token", body, kind.items())).body)

        async def logged() -> bool:
            return '"user.name": "corp:ada"' in gate.process.output()

        await until(logged, within=30, otherwise=gate.process.log_tail)
        assert not any(secret in gate.process.output() for secret in (mine, issued["access_token"]))


async def test_a_slow_form_is_decided_by_the_configuration_at_its_end(
    tmp_path: Path,
) -> None:
    """A client cannot use an old policy by sending its last byte after a reload."""
    address = f"127.0.0.1:{free_port()}"

    def document(*groups: str) -> dict[str, Any]:
        return {
            "jwt": [knowing(ISSUER)],
            "signing": {"issuer": f"http://{address}"},
            "exchange": {"listen": address, "audiences": {"default": ["reports"]}},
            "policies": {"default": {"allow": [{"groups": list(groups)}]}},
            "limits": {"headerTimeout": "1m"},
        }

    body = urlencode({**FORM, "subject_token": token()}).encode()
    async with (
        GateProcess(written(tmp_path, document("dev")), {"AUTHGATE_SERVER__RELOAD_INTERVAL": "50ms"}) as gate,
        connected(address) as wire,
    ):
        head = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        await wire.send_raw(f"POST /token HTTP/1.1\r\nHost: a\r\n{head}".encode() + body[:-1])
        assert (await gate.client.get(f"http://{address}/jwks")).status == 200
        written(tmp_path, document("staff"))

        async def changed() -> bool:
            return await gate.metric("authgate_config_reloads_total", result="success") == 2

        await until(changed, within=30, otherwise=gate.process.log_tail)
        await wire.send_raw(body[-1:])
        assert (await wire.reply()).status == 403


async def test_a_client_that_disconnects_is_not_an_internal_error() -> None:
    """A connection that breaks during the body is only closed."""
    async with signing() as gate:
        _, writer = await asyncio.open_connection(*gate.url.removeprefix("http://").split(":"))
        writer.write(
            b"POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: 100\r\n\r\ngrant_type="
        )
        await writer.drain()
        writer.transport.abort()

        async def counted() -> bool:
            return await gate.gate.metric("authgate_exchange_requests_total") > 0

        await until(counted, within=30)
        assert await gate.gate.metric("authgate_internal_errors_total") == 0
