"""Issuers that differ from plain OpenID Connect: their names, keys, audiences and algorithms, over HTTP."""

from __future__ import annotations

import base64
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from authgate.cli.explain import explained
from authgate.config import load
from authgate.dev.compact import OMIT, changed, json_bytes
from authgate.dev.issuer import WELL_KNOWN, Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.tls import throwaway_certificate
from authgate.errors import Reason
from authgate.tools.doctor import Level
from authgate.tools.explain import Fact
from tests.support.doctor import found
from tests.support.embedded_server import EmbeddedServer
from tests.support.faults import Answer, failing, json_answer
from tests.support.openid import OpenIDSite
from tests.support.service import published, running, trusting, written

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


@pytest.mark.parametrize("algorithms", [None, ["EdDSA"], ["Ed25519"]])
async def test_ed25519_is_accepted_by_its_own_name(algorithms: list[str] | None) -> None:
    """The name of RFC 9864 can be in the key, the token and gate.algorithms. There, EdDSA includes it."""
    async with published(key=SigningKey.generate("EdDSA")) as (issuer, _):
        issuer.bad_keys = [issuer.key.jwk({"alg": "Ed25519"})]
        issuer.withdraw(issuer.key)
        gate_settings: dict[str, Any] = {} if algorithms is None else {"algorithms": list(algorithms)}
        async with running({"jwt": [trusting(issuer, **gate_settings)]}) as gate:
            await gate.passes(issuer.mint(headers={"alg": "Ed25519"}), within=30)
            refused = (401, "algorithm_not_allowed")
            expected = refused if algorithms == ["Ed25519"] else (200, "")
            assert await gate.verdict(issuer.mint()) == expected


@pytest.mark.parametrize(
    "name",
    [
        "http://adfs.example.com/adfs/services/trust",
        "accounts.example.com",
        "robot@project.iam.example.com",
        "urn:example:idp",
    ],
)
async def test_an_issuer_with_a_jwks_url_needs_no_url_of_its_own(name: str) -> None:
    """Its name is compared exactly, and never used as a URL."""
    async with published() as (issuer, server):
        entry = trusting(name, jwksURL=issuer.jwks_uri)
        async with running({"jwt": [entry]}) as gate:
            await gate.passes(issuer.mint(claims={"iss": name}), within=30)
            for other in (f"{name}/", name.upper(), f" {name}"):
                verdict = await gate.verdict(issuer.mint(claims={"iss": other}))
                assert verdict == (401, "issuer_unknown")
        assert server.counts == {"/jwks": 1}


async def test_the_audience_may_be_in_another_claim() -> None:
    """gate.audienceClaims is for access tokens of Cognito. Policies compare the same values."""
    async with published() as (issuer, _):
        entry = trusting(issuer, audienceClaims=["client_id"])
        entry["issuer"] |= {"audiences": ["app-1", "app-2"], "audienceMatchPolicy": "MatchAny"}
        document = {"jwt": [entry], "policies": {"default": {}, "second": {"audiences": ["app-2"]}}}
        async with running(document) as gate:
            token = issuer.mint(claims={"aud": OMIT, "client_id": "app-1"})
            await gate.passes(token, within=30)
            assert await gate.verdict(token, "/policies/second/verify") == (401, "audience_mismatch")
            other = issuer.mint("user-1", "app-1", claims={"client_id": "app-3"})
            assert await gate.verdict(other) == (401, "audience_mismatch")
            assert await gate.verdict(issuer.mint("user-1", "app-1")) == (401, "audience_mismatch")
        plain = trusting(issuer)
        async with running({"jwt": [plain]}) as gate:
            await gate.passes(issuer.mint(), within=30)
            answer = await gate.request(token)
            assert "it has no `aud`, but a `client_id`" in answer.value("WWW-Authenticate")


@pytest.mark.parametrize("allowed", [True, False])
async def test_keys_at_a_plain_http_address_need_the_unsafe_setting(allowed: bool) -> None:
    """Only with gate.unsafeAllowHTTP may an https discovery document have an http jwks_uri."""
    certificate = throwaway_certificate()
    async with published() as (issuer, keys), EmbeddedServer(certificate=certificate) as server:
        issuer.url, issuer.jwks_uri = server.url, f"{keys.url}/jwks"
        server.add(OpenIDSite(issuer))
        entry = trusting(issuer, unsafeAllowHTTP=allowed)
        entry["issuer"]["certificateAuthority"] = certificate.ca_pem.decode()
        async with running({"jwt": [entry]}) as gate:
            if allowed:
                await gate.passes(issuer.mint(), within=30)
            else:
                assert await gate.verdict(issuer.mint()) == (503, "keys_unavailable")
                assert "which is not https" in (await gate.admin("/readyz?verbose")).body


async def test_keys_can_be_pem_by_kid(tmp_path: Path) -> None:
    """Google publishes such an object. `explain` lists its kids for a token with an unknown one."""
    async with published() as (issuer, server):
        server.faults.set("/jwks", json_answer({"k1": issuer.key.public_pem().decode()}))
        async with running({"jwt": [trusting(issuer, jwksURL=issuer.jwks_uri)]}) as gate:
            await gate.passes(issuer.mint(headers={"kid": "k1"}), within=30)
        config = load(written(tmp_path, {"jwt": [trusting(issuer, jwksURL=issuer.jwks_uri)]}), {}).config
        explanation = await explained(config, issuer.mint(headers={"kid": "k2"}), "default")
    assert explanation.reason is Reason.KEY_UNKNOWN
    assert Fact("published kids", ("k1",)) in explanation.facts


@pytest.mark.parametrize("named", ["the template", "the first tenant", "another tenant"])
async def test_one_entry_accepts_the_listed_tenants(named: str) -> None:
    """All of gate.tenants share the keys of the first tenant's document. Its issuer may be the template."""
    async with EmbeddedServer() as server:
        first = Issuer(f"{server.url}/t1/v2.0", SigningKey.generate("RS256"), jwks_uri=f"{server.url}/jwks")
        server.add(OpenIDSite(first))
        urls = {"the template": "{tenantid}", "the first tenant": "t1", "another tenant": "t3"}
        first.discovery_changes = {"issuer": f"{server.url}/{urls[named]}/v2.0"}
        entry = trusting(f"{server.url}/{{tenantid}}/v2.0", tenants=["t1", "t2"])
        async with running({"jwt": [entry]}) as gate:
            if named == "another tenant":
                assert await gate.verdict(first.mint()) == (503, "keys_unavailable")
                return
            await gate.passes(first.mint(claims={"tid": "t1"}), within=30)
            second = {"iss": f"{server.url}/t2/v2.0"}
            assert await gate.verdict(first.mint(claims=second)) == (200, "")
            assert await gate.verdict(first.mint(claims={**second, "tid": "t2"})) == (200, "")
            for tid in ("t1", "T2", None, 1):
                wrong = first.mint(claims={**second, "tid": tid})
                assert await gate.verdict(wrong) == (401, "claim_rule_failed")
            for other in ("t3", "{tenantid}", "T1"):
                foreign = first.mint(claims={"iss": f"{server.url}/{other}/v2.0"})
                assert await gate.verdict(foreign) == (401, "issuer_unknown")
        assert server.counts == {"/t1/v2.0/.well-known/openid-configuration": 1, "/jwks": 1}


@pytest.mark.parametrize(
    ("named", "advice"),
    [
        ("https://login.example.com/{tenantid}/v2.0", "gate.tenants"),
        ("http://login.example.com", "gate.jwksURL"),
        (
            "https://other.example.com",
            "set issuer.url to https://other.example.com and issuer.discoveryURL to",
        ),
    ],
)
async def test_doctor_suggests_a_setting_for_a_document_of_another_issuer(
    tmp_path: Path, named: str, advice: str
) -> None:
    """The suggestion depends on the issuer that the document names."""
    async with published() as (issuer, _):
        issuer.discovery_changes = {"issuer": named}
        findings = await found(written(tmp_path, {"jwt": [trusting(issuer)]}))
    assert advice in findings.about("issuer").remedy


async def test_jwt_svids_are_assigned_by_their_trust_domain() -> None:
    """With gate.spiffe a token needs no `iss`. Only the bundle's keys for JWT-SVIDs are used."""
    async with published() as (issuer, server):
        other = SigningKey.generate("ES256")
        bundle = [
            issuer.key.jwk({"use": "jwt-svid"}),
            other.jwk({"use": "x509-svid", "x5c": ["a certificate"]}),
            SigningKey.generate("ES256").jwk({"use": OMIT}),
        ]
        server.faults.set("/jwks", json_answer({"keys": bundle, "spiffe_sequence": 1}))
        entry = trusting(
            "spiffe://example.org",
            spiffe={"trustDomain": "example.org"},
            jwksURL=issuer.jwks_uri,
            keys={"cooldown": "0.5s"},
        )
        subject = "spiffe://example.org/ns/prod/sa/web"
        async with running({"jwt": [entry]}) as gate:
            svid = {"iss": OMIT, "sub": subject}
            await gate.passes(issuer.mint(claims=svid, headers={"typ": "JOSE"}), within=30)
            answer = await gate.request(issuer.mint(claims=svid))
            assert answer.value("X-Auth-Request-User") == f"corp:{subject}"
            assert await gate.metric("authgate_jwks_skipped_keys", issuer="corp") == 0
            wrong = {
                "by a key for X.509": (issuer.mint(claims=svid, key=other), "key_unknown"),
                "of another domain": (
                    issuer.mint(claims={**svid, "sub": "spiffe://b.org/x"}),
                    "issuer_unknown",
                ),
                "with another domain's ID": (
                    issuer.mint(claims={"iss": "spiffe://example.org", "sub": "spiffe://b.org/x"}),
                    "claim_rule_failed",
                ),
                "without an ID": (issuer.mint(claims={"iss": OMIT}), "claim_malformed"),
                "of another type": (
                    issuer.mint(claims=svid, headers={"typ": "at+jwt"}),
                    "type_not_accepted",
                ),
            }
            verdicts = {name: await gate.verdict(token) for name, (token, _) in wrong.items()}
            assert verdicts == {name: (401, reason) for name, (_, reason) in wrong.items()}


@pytest.mark.parametrize("by", ["discovery", "jwksURL"])
async def test_a_cluster_needs_only_its_public_issuer(tmp_path: Path, by: str) -> None:
    """With `keysFrom: issuer` identities and policies are as for any cluster, without an API server."""
    async with published() as (issuer, server):
        entry: dict[str, Any] = {
            "name": "far",
            "audiences": ["my-audience"],
            "issuers": [issuer.url],
            "keysFrom": "issuer",
            "tokenReview": {"mode": "never"},
        }
        if by == "jwksURL":
            entry["jwksURL"] = issuer.jwks_uri
        allow = [{"serviceAccounts": ["prod/*"]}]
        document = {"cluster": entry, "policies": {"default": {"allow": allow}}}
        claims = {"kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "web", "uid": "u-1"}}}
        token = issuer.mint("system:serviceaccount:prod:web", claims=claims)
        async with running(document) as gate:
            await gate.passes(token, within=30)
            answer = await gate.request(token)
            assert answer.value("X-Auth-Request-User") == "system:serviceaccount:prod:web"
            assert answer.value("X-Auth-Request-Cluster") == "far"
            claims["kubernetes.io"]["namespace"] = "test"
            assert await gate.verdict(issuer.mint(claims=claims)) == (403, "not_allowed")
            assert await gate.verdict(issuer.mint()) == (401, "identity_invalid")
            assert await gate.verdict("opaque") == (401, "token_opaque")
        paths = {"/jwks": 1} if by == "jwksURL" else {"/jwks": 1, f"{WELL_KNOWN}": 1}
        assert server.counts == paths
        findings = await found(written(tmp_path, document))
        assert findings.worst is Level.GOOD
        server.faults.set("/jwks", failing(500))
        assert (await found(written(tmp_path, document))).about("keys").level is Level.BAD
        explanation = await explained(load(written(tmp_path, document), {}).config, token, "default")
        assert explanation.reason is Reason.KEYS_UNAVAILABLE


@pytest.mark.parametrize("by", ["discovery", "jwksURL"])
async def test_a_clusters_issuer_may_have_a_private_authority(tmp_path: Path, by: str) -> None:
    """cluster.certificateAuthority, for both documents; without it, nothing is fetched and `doctor` names the field."""
    certificate = throwaway_certificate()
    async with EmbeddedServer(certificate=certificate) as server:
        issuer = Issuer(server.url, SigningKey.generate("ES256"))
        server.add(OpenIDSite(issuer))
        entry: dict[str, Any] = {
            "name": "far",
            "audiences": ["my-audience"],
            "issuers": [issuer.url],
            "keysFrom": "issuer",
            "tokenReview": {"mode": "never"},
        }
        if by == "jwksURL":
            entry["jwksURL"] = issuer.jwks_uri
        claims = {"kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "web", "uid": "u-1"}}}
        token = issuer.mint("system:serviceaccount:prod:web", claims=claims)
        for authority in (None, throwaway_certificate().ca_pem.decode()):
            document = {"cluster": {**entry, "certificateAuthority": authority}}
            async with running(document) as gate:
                assert await gate.verdict(token) == (503, "keys_unavailable")
                assert "set certificateAuthority to its CA" in (await gate.admin("/readyz?verbose")).body
            findings = await found(written(tmp_path, document))
            assert "set cluster.certificateAuthority" in findings.about("certificate").remedy
        assert server.counts == {}
        document = {"cluster": {**entry, "certificateAuthority": f"# ü\n{certificate.ca_pem.decode()}"}}
        async with running(document) as gate:
            await gate.passes(token, within=30)
        assert (await found(written(tmp_path, document))).worst is Level.GOOD


async def test_tokens_of_a_load_balancer_are_accepted(tmp_path: Path) -> None:
    """With gate.alb, keys are fetched by kid, `signer` is the audience, and the signature covers padded segments."""
    kid, arn = str(uuid.uuid4()), "arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/app/web/1"
    key = SigningKey.generate("ES256", kid=kid)
    async with published() as (issuer, server):
        server.faults.set(f"/{kid}", Answer(200, key.public_pem()))
        entry = trusting("urn:idp", alb={"region": "eu-west-1", "keysURL": server.url})
        entry["issuer"]["audiences"] = [arn]

        def signed(signer: str = arn, name: str = "jane", by: SigningKey = key, **changes: object) -> str:
            often = {"iss": "urn:idp", "exp": int(time.time()) + 100}  # AWS repeats the header's
            claims = changed({**often, "sub": name, "jti": "1"}, changes)
            header = {"alg": "ES256", "kid": by.kid, "signer": signer, "client": "c", **often}
            parts = [base64.urlsafe_b64encode(json_bytes(part)).decode() for part in (header, claims)]
            text = ".".join(parts).encode()
            signature = by.signature(text)
            return b".".join((text, base64.urlsafe_b64encode(signature))).decode()

        def bare(*args: Any, **options: Any) -> str:
            return signed(*args, **options).replace("=", "")

        async with running({"jwt": [entry]}) as gate:
            for name in ("j", "ja", "jan", "jane"):  # each length of padding
                await gate.passes(bare(name=name), within=30)
            assert server.counts == {f"/{kid}": 1}
            assert await gate.verdict(bare("arn:of:another")) == (401, "audience_mismatch")
            stranger = SigningKey.generate("ES256", kid=kid)
            assert await gate.verdict(bare(by=stranger)) == (401, "signature_invalid")
            nobody = SigningKey.generate("ES256", kid=str(uuid.uuid4()))
            assert await gate.verdict(bare(by=nobody)) == (401, "key_unknown")
            assert await gate.verdict(bare(by=SigningKey.generate("ES256", kid="k"))) == (
                401,
                "key_unknown",
            )
            for claim in ("iss", "exp"):  # only the payload's count
                assert await gate.verdict(bare(**{claim: OMIT})) == (401, "claim_malformed")
            assert await gate.verdict(bare(exp=1)) == (401, "token_expired")
        sources = [{"header": "x-amzn-oidc-data", "padded": True}]
        credential = {"authorization": "ignore", "sources": sources}
        async with running({"jwt": [entry], "credential": credential}) as gate:
            for name in ("j", "ja", "jan", "jane"):
                sent = [("x-amzn-oidc-data", signed(name=name)), ("Authorization", "Basic app")]
                answer = await gate.request(headers=sent)
                assert answer.verdict == (200, "")
        findings = await found(written(tmp_path, {"jwt": [entry]}))
        assert findings.worst is Level.GOOD
        assert issuer.url


@pytest.mark.parametrize("algorithm", ["ML-DSA-44", "ML-DSA-65", "ML-DSA-87"])
async def test_post_quantum_tokens_are_accepted_if_configured(algorithm: str) -> None:
    """gate.algorithms must contain the algorithm (RFC 9964). Keys are found by discovery."""
    async with published(key=SigningKey.generate(algorithm)) as (issuer, _):
        token = issuer.mint(claims={"groups": ["group"] * 100})
        async with running({"jwt": [trusting(issuer, algorithms=[algorithm])]}) as gate:
            await gate.passes(token, within=30)
        async with running({"jwt": [trusting(issuer)]}) as gate:
            assert await gate.verdict(token) == (401, "algorithm_not_allowed")
