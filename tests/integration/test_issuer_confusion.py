"""One gate with every kind of issuer: no token is accepted as another issuer's, or because another source has it."""

from __future__ import annotations

import base64
import json
import time
from contextlib import asynccontextmanager
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from authgate.dev.compact import OMIT, JsonObject, json_bytes, segment
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.authorization_server import CLIENT, INTROSPECT, SECRET, AuthorizationServer
from tests.support.embedded_server import EmbeddedServer
from tests.support.faults import Answer
from tests.support.gate import AUDIENCE
from tests.support.openid import OpenIDSite
from tests.support.service import knowing, running, trusting
from tests.support.tokens import padded_jwt, service_account_claims

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.gate import Gate

KID = "01234567-89ab-cdef-0123-456789abcdef"
"""Every issuer's key has this id, so that only the issuer decides which key verifies a token."""
ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/web/1"
TENANTS = "https://login.example.com/{tenantid}/v2.0"
KINDS = ("plain", "client", "tenant", "spiffe", "other-spiffe", "alb", "revocable", "static", "published")
KEYS = {kind: SigningKey.generate("ES256", kid=KID) for kind in KINDS}
ISSUERS = {kind: Issuer(f"https://{kind}.example.com", key) for kind, key in KEYS.items()}


def claims_of(kind: str) -> JsonObject:
    """What a good token of this kind contains."""
    now = int(time.time())
    own: dict[str, JsonObject] = {
        "client": {"aud": OMIT, "client_id": AUDIENCE},
        "tenant": {"iss": TENANTS.replace("{tenantid}", "tenant-1"), "tid": "tenant-1"},
        "spiffe": {"iss": OMIT, "sub": "spiffe://spiffe.example.com/web"},
        "other-spiffe": {"iss": OMIT, "sub": "spiffe://other-spiffe.example.com/web"},
        "alb": {"aud": OMIT},
        "static": service_account_claims(iss=ISSUERS["static"].url),
        "published": service_account_claims(iss=ISSUERS["published"].url),
    }
    usual: JsonObject = {"iss": ISSUERS[kind].url, "sub": "jane", "aud": AUDIENCE, "jti": "1"}
    times: JsonObject = {"iat": now, "nbf": now, "exp": now + 600}
    return {
        name: value for name, value in {**usual, **own.get(kind, {}), **times}.items() if value is not OMIT
    }


def signed(kind: str, key: SigningKey, changes: JsonObject | None = None, **header: str) -> str:
    """A token with the claims of one kind, changed, signed by any key."""
    claims = {
        name: value for name, value in {**claims_of(kind), **(changes or {})}.items() if value is not OMIT
    }
    if kind != "alb":
        return key.sign(claims, header)
    head = {"alg": "ES256", "kid": KID, "signer": ARN, **header}
    text = ".".join(base64.urlsafe_b64encode(json_bytes(part)).decode() for part in (head, claims))
    return f"{text}.{segment(key.signature(text.encode()))}".replace("=", "")


@asynccontextmanager
async def everything(folder: Path, **more: Any) -> AsyncIterator[Gate]:
    """A gate with an entry of every kind. The authorization server knows no token."""
    secret = folder / "secret"
    secret.write_text(SECRET)
    async with EmbeddedServer() as server:
        server.add(AuthorizationServer(server.url))
        server.faults.set(f"/{KID}", Answer(200, KEYS["alb"].public_pem()))
        published = ISSUERS["published"]
        published.jwks_uri = f"{server.url}/jwks"
        server.add(OpenIDSite(published))
        alb = trusting(ISSUERS["alb"], "alb", alb={"region": "eu-west-1", "keysURL": server.url})
        alb["issuer"]["audiences"] = [ARN]
        spiffe = {
            kind: trusting(
                f"spiffe://{kind}.example.com",
                kind,
                spiffe={"trustDomain": f"{kind}.example.com"},
                staticKeys={"inline": ISSUERS[kind].jwks()},
            )
            for kind in ("spiffe", "other-spiffe")
        }
        tenants = trusting(
            TENANTS,
            "tenant",
            tenants=["tenant-1", "tenant-2"],
            staticKeys={"inline": ISSUERS["tenant"].jwks()},
        )
        asked = {
            "clientAuth": {"clientID": CLIENT, "secretFile": str(secret)},
            "endpoint": server.url + INTROSPECT,
            "audiences": [AUDIENCE],
            "claimMappings": {"username": {"claim": "sub", "prefix": "asked:"}},
        }
        accepted = {"audiences": [AUDIENCE], "tokenReview": {"mode": "never"}}
        document = {
            "jwt": [
                knowing(ISSUERS["plain"], name="plain"),
                knowing(ISSUERS["client"], name="client", audienceClaims=["client_id"]),
                knowing(ISSUERS["revocable"], name="revocable"),
                tenants,
                alb,
                *spiffe.values(),
            ],
            "introspection": [
                {**asked, "name": "asked", "issuer": "https://asked.example.com"},
                {**asked, "name": "confirming", "prefix": "x_", "tokens": "all", "issuers": ["revocable"]},
            ],
            "cluster": [
                {
                    **accepted,
                    "name": "static",
                    "issuers": [ISSUERS["static"].url],
                    "staticKeys": {"inline": ISSUERS["static"].jwks()},
                },
                {
                    **accepted,
                    "name": "published",
                    "issuers": [published.url],
                    "keysFrom": "issuer",
                    "jwksURL": published.jwks_uri,
                },
            ],
            **more,
        }
        async with running(document) as gate:
            await gate.becomes_ready(within=30)
            yield gate


async def test_no_key_signs_for_another_issuer(tmp_path: Path) -> None:
    """Each key signs the claims of each kind; only its own are accepted, also when others were cached before."""
    async with everything(tmp_path) as gate:
        for kind in KINDS:
            expected = (401, "introspection_inactive") if kind == "revocable" else (200, "")
            await gate.verdict(signed(kind, KEYS[kind]))
            assert await gate.verdict(signed(kind, KEYS[kind])) == expected, kind
        for kind, other in permutations(KINDS, 2):
            assert await gate.verdict(signed(kind, KEYS[other])) == (401, "signature_invalid"), (kind, other)


STRANGERS: dict[str, tuple[str, JsonObject, str]] = {
    "spiffe-of-the-other-domain": (
        "spiffe",
        {"sub": "spiffe://other-spiffe.example.com/web"},
        "signature_invalid",
    ),
    "spiffe-of-no-domain": ("spiffe", {"sub": "spiffe://third.example.com/web"}, "issuer_unknown"),
    "spiffe-naming-the-other-domain": (
        "spiffe",
        {"iss": "spiffe://spiffe.example.com", "sub": "spiffe://other-spiffe.example.com/web"},
        "claim_rule_failed",
    ),
    "spiffe-with-an-issuer": ("spiffe", {"iss": "https://plain.example.com"}, "signature_invalid"),
    "spiffe-without-iss-as-a-user": ("spiffe", {"sub": "jane"}, "claim_malformed"),
    "plain-with-a-spiffe-id": ("plain", {"iss": "spiffe://spiffe.example.com"}, "signature_invalid"),
    "other-tenant": ("tenant", {"iss": TENANTS.replace("{tenantid}", "tenant-3")}, "issuer_unknown"),
    "tid-of-another-tenant": ("tenant", {"tid": "tenant-2"}, "claim_rule_failed"),
    "tid-null": ("tenant", {"tid": None}, "claim_rule_failed"),
    "tid-list": ("tenant", {"tid": ["tenant-1"]}, "claim_rule_failed"),
    "template": ("tenant", {"iss": TENANTS}, "issuer_unknown"),
    "tenant-with-a-slash": ("tenant", {"iss": TENANTS.replace("{tenantid}", "tenant-1/x")}, "issuer_unknown"),
    "tenant-in-capitals": ("tenant", {"iss": TENANTS.replace("{tenantid}", "TENANT-1")}, "issuer_unknown"),
    "audience-of-the-usual-claim": ("client", {"aud": AUDIENCE, "client_id": OMIT}, "audience_mismatch"),
    "audience-in-both": ("client", {"aud": AUDIENCE, "client_id": "other"}, "audience_mismatch"),
    "audience-in-client-id": ("plain", {"aud": OMIT, "client_id": AUDIENCE}, "audience_mismatch"),
    "signer-in-the-claims": ("plain", {"aud": OMIT, "signer": AUDIENCE}, "audience_mismatch"),
    "alb-with-the-arn-in-aud": ("plain", {"aud": ARN}, "audience_mismatch"),
    "cluster-with-a-user": ("published", {"sub": "jane", "kubernetes.io": OMIT}, "identity_invalid"),
    "cluster-as-a-plain-issuer": ("published", {"iss": "https://plain.example.com"}, "signature_invalid"),
    "introspected-issuer": ("plain", {"iss": "https://asked.example.com"}, "introspection_inactive"),
    "introspected-issuer-expired": ("plain", {"iss": "https://asked.example.com", "exp": 1}, "token_expired"),
    "introspected-issuer-bound": (
        "plain",
        {"iss": "https://asked.example.com", "cnf": {}},
        "token_sender_constrained",
    ),
}


@pytest.mark.parametrize(("kind", "changes", "reason"), STRANGERS.values(), ids=STRANGERS.keys())
async def test_a_valid_signature_gives_only_the_rights_of_its_issuer(
    tmp_path: Path, kind: str, changes: JsonObject, reason: str
) -> None:
    """An issuer that turns bad can write any claims."""
    async with everything(tmp_path) as gate:
        token = signed(kind, KEYS[kind], changes)
        for _ in range(2):
            assert await gate.verdict(token) == (401, reason)


async def test_a_key_of_one_tenant_signs_for_no_other() -> None:
    """Entra ID's document has keys of personal accounts, whose `issuer` names their tenant, beside the common ones."""
    people, first, second = (TENANTS.replace("{tenantid}", name) for name in ("people", "first", "second"))
    keys = {name: SigningKey.generate("ES256", kid=name) for name in ("common", "own", "people")}
    named = {"common": TENANTS, "own": first, "people": people}
    document = {"keys": [key.jwk({"issuer": named[name]}) for name, key in keys.items()]}
    entry = trusting(
        TENANTS, tenants=["first", "second", "people"], staticKeys={"inline": json.dumps(document)}
    )
    accepted = {
        ("common", first),
        ("common", second),
        ("common", people),
        ("people", people),
        ("own", first),
        ("own", second),
        ("own", people),
    }  # a document of the first tenant could name that tenant in the common keys
    async with running({"jwt": [entry]}) as gate:
        for name, key in keys.items():
            for issuer in (first, second, people):
                token = key.sign({**claims_of("plain"), "iss": issuer})
                expected = (200, "") if (name, issuer) in accepted else (401, "signature_invalid")
                assert await gate.verdict(token) == expected, (name, issuer)


async def test_the_signer_of_a_load_balancer_is_a_signed_header(tmp_path: Path) -> None:
    """Of another customer's load balancer, or put into the header of a good token afterwards."""
    async with everything(tmp_path) as gate:
        assert await gate.verdict(signed("alb", KEYS["alb"], signer="arn:other")) == (
            401,
            "audience_mismatch",
        )
        assert await gate.verdict(signed("alb", KEYS["alb"], {"aud": ARN}, signer="arn:other")) == (
            401,
            "audience_mismatch",
        )
        good, other = signed("alb", KEYS["alb"]), signed("alb", KEYS["alb"], signer="arn:other")
        assert await gate.verdict(good) == (200, "")
        mixed = ".".join((good.split(".")[0], *other.split(".")[1:]))
        assert await gate.verdict(mixed) == (401, "signature_invalid")


async def test_a_token_is_cached_for_the_way_it_came(tmp_path: Path) -> None:
    """Padding is allowed in one header only; whichever source comes first, the others give their own answer."""
    sources = [
        {"header": "X-Padded", "padded": True},
        {"header": "X-Plain"},
        {"basic": {"usernames": ["git"]}},
    ]

    def sent(source: str, token: str) -> list[tuple[str, str]]:
        basic = base64.b64encode(f"git:{token}".encode()).decode()
        values = {"Authorization": f"Bearer {token}", "Basic": f"Basic {basic}"}
        return [("Authorization" if source == "Basic" else source, values.get(source, token))]

    everywhere = ("X-Padded", "X-Plain", "Authorization", "Basic")
    async with everything(tmp_path, credential={"sources": sources}) as gate:
        for number, order in enumerate(permutations(everywhere)):
            claims = {**claims_of("plain"), "jti": str(number)}
            padded = padded_jwt(KEYS["plain"], claims)
            plain = KEYS["plain"].sign(claims)
            head, body, signature = plain.split(".")
            unsigned = f"{head}{'=' * (-len(head) % 4 or 4)}.{body}.{signature}"
            for _ in range(2):
                for source in order:
                    answer = await gate.request(headers=sent(source, padded))
                    assert answer.status == (200 if source == "X-Padded" else 401), (order, source)
                    stripped = await gate.request(headers=sent(source, padded.replace("=", "")))
                    assert stripped.verdict == (401, "signature_invalid")
                    assert (await gate.request(headers=sent(source, plain))).verdict == (200, "")
                    assert (await gate.request(headers=sent(source, unsigned))).status == 401
