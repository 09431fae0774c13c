"""A policy with a role, as in Vault's tutorial: discovery, a private authority and a bound subject."""

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
    """Run the example's gate with an issuer on loopback. `role` changes its role."""
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
            await gate.has_keys(within=30)
            yield gate, issuer


async def answer(gate: Gate, token: str) -> Answer:
    """Return the answer of the policy."""
    return await gate.request(token, "/policies/demo/verify")


async def test_the_account_of_the_tutorial_is_allowed() -> None:
    """Its token has the audience vault."""
    async with the_walk() as (gate, issuer):
        passed = await answer(gate, issuer.mint(ACCOUNT, "vault", claims=INSIDE))
    assert (passed.status, passed.value("X-Auth-Request-User")) == (200, f"jwt:{ACCOUNT}")


async def test_another_account_is_denied() -> None:
    """Its token is valid, but has another subject."""
    async with the_walk() as (gate, issuer):
        refused = await answer(
            gate, issuer.mint("system:serviceaccount:default:other", "vault", claims=INSIDE)
        )
    assert refused.verdict == (403, "not_allowed")


async def test_another_value_of_a_bound_claim_is_denied() -> None:
    """The token is valid, and the account is the right one."""
    claims = {"kubernetes.io": {"namespace": "kube-system"}}
    async with the_walk() as (gate, issuer):
        assert (await answer(gate, issuer.mint(ACCOUNT, "vault", claims=claims))).verdict == (
            403,
            "not_allowed",
        )


async def test_another_audience_is_denied() -> None:
    """The token is valid only for another service."""
    async with the_walk() as (gate, issuer):
        assert (await answer(gate, issuer.mint(ACCOUNT, "other", claims=INSIDE))).verdict == (
            401,
            "audience_mismatch",
        )


async def test_a_role_takes_the_identity_from_claims() -> None:
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


async def test_a_role_can_be_stricter_than_its_issuer() -> None:
    """The issuer's leeway allows a token that has just expired. A role without leeway denies it."""
    async with the_walk(expirationLeeway="0s") as (gate, issuer):
        ended = issuer.mint(ACCOUNT, "vault", lifetime=-5, claims=INSIDE)
        assert (await answer(gate, ended)).verdict == (401, "token_expired")
    async with the_walk() as (gate, issuer):
        ended = issuer.mint(ACCOUNT, "vault", lifetime=-5, claims=INSIDE)
        assert (await answer(gate, ended)).status == 200


def test_the_example_is_the_output_of_the_conversion() -> None:
    """deploy/examples/vault-role.yaml is converted from Vault's role and configuration."""
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
