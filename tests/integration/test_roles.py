"""A policy that is a role, as the walk through Vault's tutorial has one: discovery, an authority, a subject."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.tls import throwaway_certificate
from authgate.tools.convert import from_vault_role
from tests.support.embedded_server import EmbeddedServer
from tests.support.openid import OpenIDSite
from tests.support.service import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.gate import Answer, Gate

EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "vault-role.yaml"
ACCOUNT = "system:serviceaccount:default:default"
INSIDE = {"kubernetes.io": {"namespace": "default", "pod": {"name": "web-0"}}}


@asynccontextmanager
async def the_walk(**role: Any) -> AsyncIterator[tuple[Gate, Issuer]]:
    """The example's gate, whose issuer is one on loopback; `role` changes its role."""
    certificate = throwaway_certificate(["127.0.0.1"])
    async with EmbeddedServer(certificate=certificate) as server:
        issuer = Issuer(server.url, SigningKey.generate("RS256"))
        server.add(OpenIDSite(issuer))
        document = yaml.safe_load(EXAMPLE.read_text())
        document["jwt"][0]["issuer"] |= {
            "url": server.url,
            "certificateAuthority": certificate.ca_pem.decode(),
        }
        document["policies"]["demo"]["role"] |= role
        async with running(document) as gate:
            await gate.has_keys(within=10)
            yield gate, issuer


async def answer(gate: Gate, token: str) -> Answer:
    """The answer of the policy."""
    return await gate.request(token, "/policies/demo/verify")


async def test_the_account_of_the_tutorial_passes() -> None:
    """A token for the audience vault, of the one account, opens the policy."""
    async with the_walk() as (gate, issuer):
        passed = await answer(gate, issuer.mint(ACCOUNT, "vault", claims=INSIDE))
    assert (passed.status, passed.value("X-Auth-Request-User")) == (200, f"jwt:{ACCOUNT}")


async def test_another_account_does_not() -> None:
    """A token of another subject is good, and not enough; the audit line says which field it was."""
    async with the_walk() as (gate, issuer):
        refused = await answer(
            gate, issuer.mint("system:serviceaccount:default:other", "vault", claims=INSIDE)
        )
    assert refused.verdict == (403, "not_allowed")


async def test_another_claim_does_not() -> None:
    """A bound claim with another value is not enough."""
    claims = {"kubernetes.io": {"namespace": "kube-system"}}
    async with the_walk() as (gate, issuer):
        assert (await answer(gate, issuer.mint(ACCOUNT, "vault", claims=claims))).verdict == (
            403,
            "not_allowed",
        )


async def test_another_audience_does_not() -> None:
    """A token for somebody else is no token for this."""
    async with the_walk() as (gate, issuer):
        assert (await answer(gate, issuer.mint(ACCOUNT, "other", claims=INSIDE))).verdict == (
            401,
            "audience_mismatch",
        )


async def test_a_role_names_the_sender_by_claims() -> None:
    """User, groups and mapped claims are sent as the role defines them, also for cached verdicts."""
    role = {
        "userClaim": "/kubernetes.io/pod/name",
        "groupsClaim": "teams",
        "claimMappings": {"/kubernetes.io/namespace": "X-Namespace"},
    }
    async with the_walk(**role) as (gate, issuer):
        token = issuer.mint(ACCOUNT, "vault", claims={**INSIDE, "teams": ["a", "b"]})
        told = [await answer(gate, token) for _ in range(2)]
    names = ("X-Auth-Request-User", "X-Auth-Request-Groups", "X-Namespace")
    assert [[one.value(name) for name in names] for one in told] == [["web-0", "a,b", "default"]] * 2


async def test_a_role_is_stricter_than_its_issuer() -> None:
    """The issuer's leeway takes a token that has ended a moment ago; a role without one does not."""
    async with the_walk(expirationLeeway="0s") as (gate, issuer):
        ended = issuer.mint(ACCOUNT, "vault", lifetime=-5, claims=INSIDE)
        assert (await answer(gate, ended)).verdict == (401, "token_expired")
    async with the_walk() as (gate, issuer):
        ended = issuer.mint(ACCOUNT, "vault", lifetime=-5, claims=INSIDE)
        assert (await answer(gate, ended)).status == 200


def test_the_example_is_what_the_conversion_writes() -> None:
    """Vault's role and configuration become deploy/examples/vault-role.yaml."""
    example = yaml.safe_load(EXAMPLE.read_text())
    role = {
        "role_type": "jwt",
        "bound_audiences": ["vault"],
        "bound_subject": ACCOUNT,
        "bound_claims": {"/kubernetes.io/namespace": "default"},
        "bound_claims_type": "string",
        "user_claim": "sub",
    }
    config = {
        "oidc_discovery_url": example["jwt"][0]["issuer"]["url"],
        "oidc_discovery_ca_pem": example["jwt"][0]["issuer"]["certificateAuthority"],
    }
    converted = from_vault_role(json.dumps({"data": role}), json.dumps({"data": config}), "demo")
    document = dict(converted.document)
    assert (document.pop("apiVersion"), document.pop("kind")) == (
        "authgate.dev/v1alpha1",
        "AuthgateConfiguration",
    )
    assert document == example
