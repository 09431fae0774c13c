"""`authgate explain` shows the same result as `/verify`, for every kind of token."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from authgate.cli.explain import explained
from authgate.config import load
from authgate.dev.compact import OMIT, json_bytes, segment
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.kube import LEGACY_ISSUER, Permission
from authgate.dev.kube_api import JWKS_PATH, TOKEN_REVIEWS_PATH
from authgate.dev.scenario import LEGACY_AUDIENCE
from authgate.errors import Reason
from authgate.model import OriginalRequest
from tests.support.faults import failing
from tests.support.gate import AUDIENCE
from tests.support.process import free_port
from tests.support.service import (
    cluster,
    comes_to,
    knowing,
    of_cluster,
    published,
    running,
    trusting,
    written,
)
from tests.support.tokens import padded_jwt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.gate import Gate
    from tests.support.scenario import Scenario

POLICIES: dict[str, Any] = {
    "default": {},
    "accounts": {"allow": [{"serviceAccounts": ["default/*"]}]},
    "nobody": {"deny": [{"groups": ["system:authenticated"]}]},
    "elsewhere": {"audiences": ["elsewhere"]},
    "open": {"anonymous": ["/healthz"]},
}


@dataclass(frozen=True, slots=True)
class World:
    """A running gate, its configuration, and the issuers of its tokens."""

    gate: Gate
    file: Path
    issuer: Issuer
    down: Issuer
    scenario: Scenario

    def corp(self, audience: Any = AUDIENCE, lifetime: float = 3600.0, **how: Any) -> str:
        """Return a token of the issuer, changed by `claims` and `headers`."""
        claims = {"tenant": "42", **how.pop("claims", {})}
        return self.issuer.mint("jane", audience, lifetime=lifetime, claims=claims, **how)

    def forged(self, **claims: object) -> str:
        """Return a token with the kid of the issuer's key, signed with another key."""
        return self.corp(key=SigningKey.generate("ES256", kid=self.issuer.key.kid), claims=claims)

    def home(self, audiences: tuple[str, ...] = (AUDIENCE,), **how: Any) -> str:
        """Return a token of the cluster's account `default/demo`."""
        return self.scenario.state.account_token(
            self.scenario.state.service_account("demo"), audiences, **how
        )

    def unpublished(self, **how: Any) -> str:
        """Return a token of the cluster's account, signed with a key that the cluster does not publish."""
        return self.home(key=SigningKey.generate("ES256"), **how)

    def reviewed(self) -> str:
        """Return a token that only the cluster's TokenReview can decide."""
        return self.scenario.reviewed_file.read_text().strip()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A gate with a cluster, an issuer, and an issuer that is down. It has fetched all available keys."""
    down = Issuer(f"http://127.0.0.1:{free_port()}", SigningKey.generate("ES256"))
    async with published() as (issuer, _), cluster(tmp_path) as scenario:
        corp = trusting(issuer, maxTokenLifetime="2h", algorithms=["ES256"], keys={"cooldown": "0.1s"})
        corp["issuer"].update(audiences=[AUDIENCE, "elsewhere"], audienceMatchPolicy="MatchAny")
        corp["claimValidationRules"] = [{"claim": "tenant", "requiredValue": "42"}]
        document = {
            "cluster": of_cluster(scenario, legacyAudiences=[LEGACY_AUDIENCE]),
            "jwt": [corp, trusting(down, "down")],
            "policies": POLICIES,
            "server": {"proxy": "nginx"},
            "limits": {"maxTokenBytes": 4096},
        }
        async with running(document) as gate:
            for name in ("corp", "home"):
                await comes_to(gate, 1, "authgate_jwks_fetches_total", issuer=name, result="success")
            yield World(gate, written(tmp_path, document), issuer, down, scenario)
            scenario.server.faults.clear()


def soon(seconds: float) -> int:
    """Return a time this number of seconds from now."""
    return int(time.time() + seconds)


def algorithm(token: str, alg: str) -> str:
    """Return the token with another algorithm in its header, and the old signature."""
    _, payload, signature = token.split(".")
    return f"{segment(json_bytes({'alg': alg}))}.{payload}.{signature}"


# The token, the policy, and the expected reason of both.
TOKENS: dict[str, tuple[Callable[[World], str], str, Reason]] = {
    "good": (lambda it: it.corp(), "default", Reason.AUTHENTICATED),
    "good, of a cluster": (lambda it: it.home(), "default", Reason.AUTHENTICATED),
    "reviewed": (lambda it: it.reviewed(), "default", Reason.AUTHENTICATED),
    "legacy": (
        lambda it: it.scenario.state.legacy_token(it.scenario.state.service_account("demo"), "secret"),
        "default",
        Reason.AUTHENTICATED,
    ),
    "no token68": (lambda _: "two words", "default", Reason.CREDENTIAL_MALFORMED),
    "a list": (lambda it: f"{it.corp()},{it.corp()}", "default", Reason.MULTIPLE_CREDENTIALS),
    "too long": (lambda it: it.corp(claims={"note": "a" * 4096}), "default", Reason.CREDENTIAL_TOO_LARGE),
    "malformed": (lambda it: it.corp() + "=", "default", Reason.TOKEN_MALFORMED),
    "two segments": (lambda _: "eyJhbGciOiJFUzI1NiJ9.e30", "default", Reason.TOKEN_MALFORMED),
    "encrypted": (lambda _: "eyJhbGciOiJkaXIifQ.a.b.c.d", "default", Reason.TOKEN_ENCRYPTED),
    "duplicate": (
        lambda it: it.issuer.key.sign_raw(b'{"alg":"ES256"}', b'{"iss":"a","iss":"b"}'),
        "default",
        Reason.DUPLICATE_MEMBER,
    ),
    "critical": (lambda it: it.corp(headers={"crit": ["x"]}), "default", Reason.CRITICAL_HEADER),
    "no exp": (lambda it: it.corp(claims={"exp": OMIT}), "default", Reason.CLAIM_MALFORMED),
    "wrong type": (lambda it: it.corp(headers={"typ": "logout+jwt"}), "default", Reason.TYPE_NOT_ACCEPTED),
    "bound to its sender": (
        lambda it: it.corp(claims={"cnf": {"x5t#S256": "x"}}),
        "default",
        Reason.TOKEN_SENDER_CONSTRAINED,
    ),
    "wrong issuer": (
        lambda it: it.corp(claims={"iss": it.issuer.url + "/"}),
        "default",
        Reason.ISSUER_UNKNOWN,
    ),
    "bad algorithm": (
        lambda it: it.corp(key=SigningKey.generate("EdDSA")),
        "default",
        Reason.ALGORITHM_NOT_ALLOWED,
    ),
    "none": (lambda it: algorithm(it.corp(), "none"), "default", Reason.ALGORITHM_NOT_ALLOWED),
    "hmac": (lambda it: algorithm(it.home(), "HS256"), "default", Reason.ALGORITHM_NOT_ALLOWED),
    "unknown kid": (lambda it: it.corp(key=SigningKey.generate("ES256")), "default", Reason.KEY_UNKNOWN),
    "keys unavailable": (lambda it: it.down.mint(), "default", Reason.KEYS_UNAVAILABLE),
    "keys unavailable, expired": (
        lambda it: it.down.mint(claims={"exp": soon(-60)}),
        "default",
        Reason.TOKEN_EXPIRED,
    ),
    "forged": (lambda it: it.forged(), "default", Reason.SIGNATURE_INVALID),
    "forged, expired": (lambda it: it.forged(exp=soon(-600)), "default", Reason.TOKEN_EXPIRED),
    "expired": (lambda it: it.corp(claims={"exp": soon(-60)}), "default", Reason.TOKEN_EXPIRED),
    "not yet": (lambda it: it.corp(claims={"nbf": soon(600)}), "default", Reason.TOKEN_NOT_YET_VALID),
    "too long a life": (lambda it: it.corp(lifetime=8000), "default", Reason.TOKEN_LIFETIME_TOO_LONG),
    "wrong audience": (lambda it: it.corp("other"), "default", Reason.AUDIENCE_MISMATCH),
    "wrong audience, of a cluster": (lambda it: it.home(("other",)), "default", Reason.AUDIENCE_MISMATCH),
    "claim rule": (lambda it: it.corp(claims={"tenant": "43"}), "default", Reason.CLAIM_RULE_FAILED),
    "no name": (lambda it: it.corp(claims={"sub": OMIT}), "default", Reason.IDENTITY_INVALID),
    "unknown to review": (lambda _: "opaque", "default", Reason.REVIEW_REJECTED),
    "a key that review does not know": (lambda it: it.unpublished(), "default", Reason.REVIEW_REJECTED),
    "legacy, but forged": (
        lambda it: it.unpublished(claims={"iss": LEGACY_ISSUER, "aud": OMIT}),
        "default",
        Reason.REVIEW_REJECTED,
    ),
    "the policy allows": (lambda it: it.home(), "accounts", Reason.AUTHENTICATED),
    "not allowed": (lambda it: it.corp(), "accounts", Reason.NOT_ALLOWED),
    "denied": (lambda it: it.home(), "nobody", Reason.DENIED),
    "the policy's audience": (lambda it: it.corp("elsewhere"), "elsewhere", Reason.AUTHENTICATED),
    "another policy's audience": (lambda it: it.corp(), "elsewhere", Reason.AUDIENCE_MISMATCH),
    "a bad token on an open path": (lambda it: it.forged(), "open", Reason.SIGNATURE_INVALID),
    "a name that no header carries": (
        lambda it: it.corp(claims={"sub": "jane "}),
        "default",
        Reason.IDENTITY_UNSENDABLE,
    ),
}


async def agreed(world: World, token: str, policy: str = "default") -> Reason:
    """Return the reason that `/verify` and `explain` agree on. The running gate is asked before and after."""
    path = "/verify" if policy == "default" else f"/policies/{policy}/verify"
    headers = [("X-Original-URI", "/healthz"), ("X-Original-Method", "GET")]
    answers = [await world.gate.request(token, path, headers) for _ in range(2)]
    explanation = await explained(
        load(world.file, {}).config, token, policy, OriginalRequest("GET", "/healthz")
    )
    reason = "" if explanation.status == 200 else explanation.reason
    assert [answer.verdict for answer in answers] == [(explanation.status, reason)] * 2
    return explanation.reason


@pytest.mark.parametrize(("make", "policy", "reason"), TOKENS.values(), ids=TOKENS.keys())
async def test_explain_and_verify_agree(
    world: World, make: Callable[[World], str], policy: str, reason: Reason
) -> None:
    """Both return the same, expected reason."""
    assert await agreed(world, make(world), policy) is reason


async def test_they_agree_that_review_is_down(world: World) -> None:
    """An unavailable decision is not a denial."""
    world.scenario.server.faults.set(TOKEN_REVIEWS_PATH, failing(500))
    assert await agreed(world, "opaque") is Reason.REVIEW_UNAVAILABLE


async def test_they_agree_that_review_is_forbidden(world: World) -> None:
    """The gate's own account lacks a ClusterRoleBinding."""
    world.scenario.state.forbid("system:serviceaccount:authgate:authgate", Permission.REVIEW_TOKENS)
    assert await agreed(world, "opaque") is Reason.REVIEW_FORBIDDEN


async def test_without_keys_the_review_decides_and_explain_names_it(world: World) -> None:
    """The cluster then checks the key and the signature."""
    world.scenario.server.faults.set(JWKS_PATH, failing(500))
    explanation = await explained(load(world.file, {}).config, world.home(), "default")
    assert [(step.outcome, step.detail) for step in explanation.steps[3:5]] == [
        ("skipped", "decided by TokenReview of cluster 'home'"),
        ("pass", "decided by TokenReview of cluster 'home'"),
    ]


async def test_explain_shows_where_the_key_came_from(world: World) -> None:
    """It shows the URL that the key was fetched from."""
    explanation = await explained(load(world.file, {}).config, world.corp(), "default")
    assert explanation.steps[3].detail == f"kid {world.issuer.key.kid} (EC) from {world.issuer.jwks_uri}"


async def test_the_signature_of_an_expired_token_is_shown_as_valid(world: World) -> None:
    """Only the time is wrong."""
    token = world.corp(claims={"exp": soon(-60)})
    explanation = await explained(load(world.file, {}).config, token, "default")
    outcomes = [step.outcome.value for step in explanation.steps]
    assert outcomes == ["pass"] * 5 + ["fail"] + ["not reached"] * 3


async def test_an_unknown_issuer_is_listed_with_the_known_ones(world: World) -> None:
    """The list includes the cluster's issuer, which is in the gate's own token."""
    token = world.home(claims={"iss": "https://kubernetes.default.svc.cluster.local"})
    explanation = await explained(load(world.file, {}).config, token, "default")
    facts = {fact.name: fact.values for fact in explanation.facts}
    assert facts["the most similar"] == ("https://kubernetes.default.svc",)


# The command itself


def run(world: World, token: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `authgate explain` on a token."""
    return subprocess.run(
        [sys.executable, "-m", "authgate", "explain", "--config", world.file, *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        input=token,
    )


async def command(world: World, token: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run it in a thread, so that the servers of this process can answer."""
    return await asyncio.to_thread(run, world, token, *words)


@pytest.mark.parametrize(
    ("make", "status", "verdict"),
    [
        (lambda it: it.corp(), 0, "allow: 200 authenticated"),
        (lambda it: it.forged(), 3, "deny: 401 signature_invalid"),
        (lambda it: it.down.mint(), 1, "unavailable: 503 keys_unavailable"),
    ],
    ids=["allow", "deny", "unavailable"],
)
async def test_the_exit_status_depends_on_the_verdict(
    world: World, make: Callable[[World], str], status: int, verdict: str
) -> None:
    """The exit status is 0 for allow, 3 for deny and 1 for unavailable. The text has the same word."""
    token = make(world)
    done = await command(world, token)
    assert (done.returncode, verdict in done.stdout) == (status, True), done
    assert not any(part in done.stdout + done.stderr for part in token.split("."))


async def test_a_script_gets_the_steps_as_json(world: World) -> None:
    """The JSON has each step, the key and the remedy."""
    done = await command(world, world.corp(), "--policy", "accounts", "--output", "json")
    told = json.loads(done.stdout)
    assert done.returncode == 3
    assert (told["verdict"], told["status"], told["reason"]) == ("deny", 403, "not_allowed")
    assert told["key"] == {"kid": world.issuer.key.kid, "kty": "EC", "origin": world.issuer.jwks_uri}
    assert told["remedy"] == "add the identity to the policy's allow list"
    assert told["facts"]["user"] == ["corp:jane"]
    assert [step["outcome"] for step in told["steps"]] == ["pass"] * 8 + ["fail"]


async def test_an_unknown_policy_is_a_usage_error(world: World) -> None:
    """The message lists the existing policies."""
    done = await command(world, world.corp(), "--policy", "acounts")
    assert done.returncode == 2
    assert "no policy 'acounts' is configured; choose one of default, accounts, nobody" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--path", "reports"), "--path must begin with a slash, but is 'reports'"),
        (("--method", "POST"), "--method and --host need --path"),
        (("--host", "app.example"), "--method and --host need --path"),
    ],
    ids=["relative", "method", "host"],
)
async def test_an_invalid_request_is_a_usage_error(
    world: World, words: tuple[str, ...], message: str
) -> None:
    """A path without a slash is a typing mistake, not an ambiguous path."""
    done = await command(world, world.corp(), *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"authgate: {message}\n")


async def test_a_path_that_the_policy_does_not_use_is_noted(world: World) -> None:
    """The decision is shown with a note that it is the same for every path."""
    done = await command(world, world.corp(), "--path", "/reports")
    assert done.returncode == 0
    assert done.stderr.startswith("authgate: --path has no effect: policy 'default' decides without")


async def test_a_missing_cluster_is_one_sentence(world: World, tmp_path: Path) -> None:
    """A machine without a kubeconfig gets no traceback."""
    file = tmp_path / "nowhere.yaml"
    file.write_text(f"cluster: {{audiences: [a], kubeconfig: {tmp_path}/empty}}\n")
    (tmp_path / "empty").write_text("{}")
    done = await command(World(world.gate, file, world.issuer, world.down, world.scenario), world.corp())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("authgate: cluster 'home': ")
    assert done.stderr.count("\n") == 1


async def test_the_rule_of_the_request_is_shown(world: World, tmp_path: Path) -> None:
    """Its own lists replace those of the policy."""
    document = yaml.safe_load(world.file.read_text())
    document["policies"]["ruled"] = {
        "allow": [{"users": ["nobody"]}],
        "rules": [
            {"paths": ["/other"], "anonymous": True},
            {"hosts": ["app.example"], "paths": ["/reports/*"], "allow": [{"groups": ["auditors"]}]},
        ],
    }
    path = tmp_path / "ruled.yaml"
    path.write_text(yaml.safe_dump(document))
    config = load(path, {}).config
    request = OriginalRequest("GET", "/reports/1", "app.example")
    explanation = await explained(config, world.corp(), "ruled", request)
    facts = {fact.name: fact.values for fact in explanation.facts}
    assert (explanation.reason, explanation.detail) == ("not_allowed", "policy 'ruled'; rules[1]")
    assert facts["allow of 'ruled'"] == ('{"groups":["auditors"]}',)
    assert facts["the request's rule"][0].startswith('rules[1]: {"hosts":["app.example"]')
    elsewhere = await explained(config, world.corp(), "ruled", OriginalRequest("GET", "/x", "app.example"))
    assert {fact.name: fact.values for fact in elsewhere.facts}["allow of 'ruled'"] == (
        '{"users":["nobody"]}',
    )
    assert "the request's rule" not in {fact.name for fact in elsewhere.facts}


async def test_a_padded_token_is_explained_as_one_of_its_source(tmp_path: Path) -> None:
    """If a source allows padding, the token is valid for it. Otherwise the detail shows why it is malformed."""
    issuer = Issuer("https://issuer.example", SigningKey.generate("ES256"))
    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "ada", "jti": "j", "exp": int(time.time()) + 3600}
    token = padded_jwt(issuer.key, claims)
    for padded, reason in ((True, Reason.AUTHENTICATED), (False, Reason.CREDENTIAL_MALFORMED)):
        sources = {"sources": [{"header": "X-Amzn-Oidc-Data", "padded": padded}]}
        file = written(tmp_path, {"jwt": [knowing(issuer)], "credential": sources})
        explanation = await explained(load(file, {}).config, token, "default")
        assert explanation.reason is reason
        assert ("a header source with 'padded' accepts" in explanation.detail) is not padded
