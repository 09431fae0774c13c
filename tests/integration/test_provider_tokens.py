"""Tokens in the shapes of widely used identity providers, and the advice for those that cannot be accepted."""

from __future__ import annotations

import logging
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from authgate.cli.explain import explained
from authgate.config import load
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.errors import Reason
from authgate.observability.log import AUDIT
from authgate.tools.explain import Fact
from tests.support.embedded_server import EmbeddedServer
from tests.support.openid import OpenIDSite
from tests.support.service import knowing, published, running, trusting, written

if TYPE_CHECKING:
    from pathlib import Path

    from authgate.tools.explain import Explanation
    from tests.support.gate import Answer

TENANT, OTHER_TENANT = "aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb", "cccccccc-4444-4555-8666-dddddddddddd"
V1 = f"https://sts.example.com/{TENANT}/"
GRAPH: dict[str, Any] = {"iss": V1, "aud": "00000003-0000-0000-c000-000000000000", "tid": TENANT}
TOO_MANY_GROUPS: dict[str, Any] = {
    "_claim_names": {"groups": "src1"},
    "_claim_sources": {"src1": {"endpoint": "https://graph.example.com/users/u/getMemberObjects"}},
}
OMITTED = "the user is in too many groups, so the issuer left them out of the token"


def issuer_named(url: str) -> Issuer:
    """Return an issuer that publishes nothing. Its keys are in the configuration."""
    return Issuer(url, SigningKey.generate("RS256"))


async def answered(document: dict[str, Any], token: str) -> Answer:
    """Return the answer of a gate with this configuration."""
    async with running(document) as gate:
        return await gate.request(token)


async def explanation_of(folder: Path, document: dict[str, Any], token: str) -> Explanation:
    """Return the output of `explain` for this configuration."""
    return await explained(load(written(folder, document), {}).config, token, "default")


def audited(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the details of the decisions in the audit log."""
    records = [record for record in caplog.records if record.name == AUDIT]
    return [str(vars(record)["attributes"]["authgate.detail"]) for record in records]


@pytest.mark.parametrize(
    ("configured", "reason"),
    [(V1, "signature_invalid"), (f"https://login.example.com/{TENANT}/v2.0", "issuer_unknown")],
    ids=["version 1", "version 2"],
)
async def test_the_response_and_explain_name_a_token_for_microsoft_graph(
    tmp_path: Path, configured: str, reason: str
) -> None:
    """Its signature covers another nonce than that of its header, so no key can verify it."""
    issuer = issuer_named(configured)
    stranger = SigningKey.generate("RS256", kid=issuer.key.kid)
    token = issuer.mint(claims=GRAPH, headers={"nonce": "4AkIxS0m"}, key=stranger)
    document = {"jwt": [knowing(issuer)]}
    answer = await answered(document, token)
    assert answer.verdict == (401, reason)
    advice = "this token is for Microsoft Graph; request a token for your own API"
    assert advice in answer.value("WWW-Authenticate")
    explanation = await explanation_of(tmp_path, document, token)
    assert explanation.reason == reason
    assert explanation.remedy.startswith("request a token for your own API")


async def test_omitted_groups_are_in_the_audit_log_and_in_explain(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The client sees only that the policy does not allow it."""
    issuer = issuer_named("https://login.example.com/v2.0")
    policy = {"allow": [{"groups": ["staff"]}]}
    document = {"jwt": [knowing(issuer)], "policies": {"default": policy}}
    token = issuer.mint(claims={"hasgroups": True})
    with caplog.at_level(logging.INFO, AUDIT):
        answer = await answered(document, token)
    assert answer.verdict == (403, "not_allowed")
    assert "groups" not in answer.value("WWW-Authenticate")
    assert audited(caplog) == [f"policy 'default'; {OMITTED}"]
    explanation = await explanation_of(tmp_path, document, token)
    assert "claimMappings.groups.claim: roles" in explanation.remedy


async def test_groups_at_another_server_are_not_fetched(tmp_path: Path) -> None:
    """The token is rejected, because a deny list could miss them. App roles in the same token can be used."""
    issuer = issuer_named("https://login.example.com/v2.0")
    document = {"jwt": [knowing(issuer)]}
    token = issuer.mint(claims={**TOO_MANY_GROUPS, "roles": ["Reader"]})
    assert (await answered(document, token)).verdict == (401, "identity_invalid")
    explanation = await explanation_of(tmp_path, document, token)
    assert OMITTED in explanation.detail
    assert "claimMappings.groups.claim: roles" in explanation.remedy
    by_roles = knowing(issuer)
    by_roles["claimMappings"]["groups"] = {"claim": "roles", "prefix": "entra:"}
    answer = await answered({"jwt": [by_roles]}, token)
    assert answer.value("X-Auth-Request-Groups") == "entra:Reader,system:authenticated"


async def test_a_key_that_is_never_published_is_explained(tmp_path: Path) -> None:
    """Okta's org server has such keys. `explain` lists the published kids and suggests introspection."""
    async with published() as (issuer, _):
        unpublished = SigningKey.generate("ES256", kid="not-published")
        document = {"jwt": [trusting(issuer)]}
        explanation = await explanation_of(tmp_path, document, issuer.mint(key=unpublished))
        kid = issuer.key.kid or ""
    assert explanation.reason is Reason.KEY_UNKNOWN
    assert explanation.facts[0] == Fact("the token's kid", ("not-published",))
    assert explanation.facts[1] == Fact("published kids", (kid,))
    assert "introspection" in explanation.remedy


async def test_another_tenants_id_is_only_in_the_audit_log(caplog: pytest.LogCaptureFixture) -> None:
    """An operator can copy it to gate.tenants. The client does not see it."""
    issuer = issuer_named("https://login.example.com/{tenantid}/v2.0")
    foreign = f"https://login.example.com/{OTHER_TENANT}/v2.0"
    with caplog.at_level(logging.INFO, AUDIT):
        async with running({"jwt": [knowing(issuer, tenants=[TENANT])]}) as gate:
            own = {"iss": f"https://login.example.com/{TENANT}/v2.0", "tid": TENANT}
            assert await gate.verdict(issuer.mint(claims=own)) == (200, "")
            for _ in range(2):  # the second answer comes from the cache
                answer = await gate.request(issuer.mint(claims={"iss": foreign, "tid": OTHER_TENANT}))
                assert answer.verdict == (401, "issuer_unknown")
                assert OTHER_TENANT not in answer.value("WWW-Authenticate")
    assert audited(caplog) == [f"'iss' is '{foreign}'"] * 2


@pytest.mark.parametrize(
    ("claim", "groups"),
    [
        ("/realm_access/roles", "kc:staff,kc:offline_access,system:authenticated"),
        ("/resource_access/app/roles", "kc:editor,system:authenticated"),
    ],
    ids=["realm roles", "client roles"],
)
async def test_roles_of_keycloak_are_groups(claim: str, groups: str) -> None:
    """A JSON pointer reaches them."""
    issuer = issuer_named("https://id.example.com/realms/one")
    entry = knowing(issuer)
    entry["claimMappings"]["groups"] = {"claim": claim, "prefix": "kc:"}
    roles = {
        "realm_access": {"roles": ["staff", "offline_access"]},
        "resource_access": {"app": {"roles": ["editor"]}, "account": {"roles": ["view-profile"]}},
    }
    token = issuer.mint(audience=["my-audience", "account"], claims=roles)
    answer = await answered({"jwt": [entry]}, token)
    assert answer.value("X-Auth-Request-Groups") == groups


async def test_two_realms_on_one_host_are_two_issuers() -> None:
    """A policy can accept one of them by its default name. Tokens are verified only with their own realm's keys."""
    async with EmbeddedServer() as server:
        realms = [
            Issuer(f"{server.url}/realms/{name}", SigningKey.generate("ES256", kid="k"))
            for name in ("one", "two")
        ]
        entries = []
        for realm in realms:
            server.add(OpenIDSite(realm))
            entry = trusting(realm)
            del entry["gate"]
            entries.append(entry)
        first = realms[0].url.removeprefix("http://").replace(":", "-").replace("/", "-")
        policies = {"default": {}, "first": {"allow": [{"issuers": [first]}]}}
        async with running({"jwt": entries, "policies": policies}) as gate:
            for realm in realms:
                await gate.passes(realm.mint(), within=30)
            path = "/policies/first/verify"
            assert await gate.verdict(realms[0].mint(), path) == (200, "")
            assert await gate.verdict(realms[1].mint(), path) == (403, "not_allowed")
            forged = realms[0].mint(claims={"iss": realms[1].url})
            assert await gate.verdict(forged) == (401, "signature_invalid")


async def test_version_1_and_version_2_of_entra_id_are_two_entries() -> None:
    """Each entry has its own template, and both have the same tenants and keys."""
    issuer = issuer_named("https://sts.example.com/{tenantid}/")
    second = trusting("https://login.example.com/{tenantid}/v2.0", "v2", tenants=[TENANT])
    second["gate"]["staticKeys"] = {"inline": issuer.jwks()}
    async with running({"jwt": [knowing(issuer, tenants=[TENANT]), second]}) as gate:
        for url, user in ((V1, "corp:user-1"), (f"https://login.example.com/{TENANT}/v2.0", "v2:user-1")):
            answer = await gate.request(issuer.mint(claims={"iss": url, "tid": TENANT}))
            assert answer.value("X-Auth-Request-User") == user
        for mixed in (f"https://sts.example.com/{TENANT}/v2.0", f"https://login.example.com/{TENANT}/"):
            assert await gate.verdict(issuer.mint(claims={"iss": mixed})) == (401, "issuer_unknown")


@pytest.mark.parametrize("place", ["jwksURL", "staticKeys"])
async def test_a_certificate_is_enough_for_a_key(place: str) -> None:
    """A JWK may have only `x5c`, and the configuration a PEM certificate. It may have expired."""
    async with published(key=SigningKey.generate("RS256", kid="k")) as (issuer, _):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signing")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            name, name, issuer.key.public, 1, now - timedelta(9), now - timedelta(1)
        )
        certificate = builder.sign(issuer.key.private, SHA256())
        issuer.withdraw(issuer.key)
        issuer.bad_keys = [{"kid": "k", "x5c": [b64encode(certificate.public_bytes(Encoding.DER)).decode()]}]
        settings: dict[str, Any] = {
            "jwksURL": issuer.jwks_uri,
            "staticKeys": {"inline": certificate.public_bytes(Encoding.PEM).decode()},
        }
        async with running({"jwt": [trusting(issuer, **{place: settings[place]})]}) as gate:
            await gate.passes(issuer.mint(), within=30)
            forged = issuer.mint(key=SigningKey.generate("RS256", kid="k"))
            assert await gate.verdict(forged) == (401, "signature_invalid")
