"""One gate for two clusters: each token is sent only to its own API server."""

from __future__ import annotations

import json
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from authgate.cli.explain import explained
from authgate.compose import Dependencies, compose
from authgate.config import load
from authgate.dev.keys import SigningKey
from authgate.dev.kube_api import ACCESS_REVIEWS_PATH, DISCOVERY_PATH, JWKS_PATH, TOKEN_REVIEWS_PATH
from authgate.model import Allow, OriginalRequest
from authgate.observability.log import AUDIT
from authgate.observability.metrics import Metrics
from authgate.service import SystemClock
from authgate.tools.doctor import Level
from tests.support.doctor import found
from tests.support.faults import Hold, failing
from tests.support.process import until
from tests.support.service import cluster, knowing, of_cluster, published, running, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.gate import Gate
    from tests.support.scenario import Scenario

HERE, AWAY = "https://here.example", "https://away.example"


@dataclass(frozen=True, slots=True)
class World:
    """Two embedded clusters."""

    here: Scenario
    away: Scenario

    def clusters(self, **review: Any) -> list[dict[str, Any]]:
        """Return the `cluster` section, `here` first. `review` is added to both tokenReviews."""
        return [
            {"name": "here", **of_cluster(self.here, **review)},
            {"name": "away", **of_cluster(self.away, **review)},
        ]

    @property
    def reviews(self) -> tuple[int, int]:
        """How many TokenReviews each API server got."""
        return self.here.server.counts[TOKEN_REVIEWS_PATH], self.away.server.counts[TOKEN_REVIEWS_PATH]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Two clusters with their own issuers, keys and certificate authorities."""
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(cluster(tmp_path / "here", issuer_url=HERE))
        away = await stack.enter_async_context(cluster(tmp_path / "away", issuer_url=AWAY))
        yield World(here, away)
        for scenario in (here, away):
            scenario.server.faults.clear()


def account_token(scenario: Scenario, **changes: Any) -> str:
    """Return a token of a ServiceAccount, valid unless it is changed."""
    return scenario.state.account_token(scenario.state.service_account("demo"), **changes)


async def states(gate: Gate) -> dict[str, bool]:
    """Return the state of each cluster and issuer in `/readyz?verbose`."""
    lines = (await gate.admin("/readyz?verbose")).body.splitlines()
    return {line[3:].split(" ")[0]: line.startswith("[+]") for line in lines if line.startswith("[")}


async def both_decide(gate: Gate) -> None:
    """Wait until all tokens of both clusters can be decided, so that no probe is sent any more."""

    async def decided() -> bool:
        return all(state for name, state in (await states(gate)).items() if name.startswith("cluster/"))

    await until(decided, within=30)


@pytest.mark.parametrize("mode", ["never", "fallback", "always"])
async def test_a_token_is_sent_only_to_its_own_cluster(world: World, mode: str) -> None:
    """This holds in every mode. The headers name the cluster, and the other API server gets no request."""
    async with running({"cluster": world.clusters(mode=mode)}) as gate:
        await both_decide(gate)
        here, away = world.reviews
        answer = await gate.request(account_token(world.away))
        assert (answer.status, answer.value("X-Auth-Request-Cluster")) == (200, "away")
        assert answer.value("X-Auth-Request-Issuer") == AWAY
        assert world.reviews == (here, away + (mode == "always"))
        answer = await gate.request(account_token(world.here))
        assert (answer.status, answer.value("X-Auth-Request-Cluster")) == (200, "here")
        assert world.reviews == (here + (mode == "always"), away + (mode == "always"))


async def test_a_cluster_cannot_sign_tokens_of_another(world: World) -> None:
    """A token with the other cluster's issuer is rejected by the other cluster's keys, without a review."""
    forged = account_token(world.here, claims={"iss": AWAY}, headers={"kid": world.away.state.issuer.key.kid})
    async with running({"cluster": world.clusters()}) as gate:
        await both_decide(gate)
        before = world.reviews
        assert await gate.verdict(forged) == (401, "signature_invalid")
        assert world.reviews == before


async def test_a_token_with_an_unknown_key_is_reviewed_by_one_cluster(world: World) -> None:
    """In mode fallback only the token's own cluster gets a review, and the metrics name it."""
    hidden = SigningKey.generate("ES256")
    world.away.state.accept_unpublished(hidden)
    async with running({"cluster": world.clusters()}) as gate:
        await both_decide(gate)
        here, away = world.reviews
        assert (await gate.request(account_token(world.away, key=hidden))).status == 200
        assert world.reviews == (here, away + 1)
        name = "authgate_tokenreview_requests_total"
        assert await gate.metric(name, cluster="away", result="authenticated") == 1
        assert await gate.metric(name, cluster="here", result="authenticated") == 0
        assert {
            sample.labels["issuer"] for sample in await gate.samples() if sample.name == "authgate_jwks_keys"
        } == {"here", "away"}


@pytest.mark.parametrize("reviewing", ["here", "away"])
async def test_a_static_token_is_sent_only_to_the_cluster_that_reviews_them(
    world: World, reviewing: str
) -> None:
    """The token names no cluster. The other cluster never receives it."""
    entries = world.clusters()
    for entry in entries:
        if entry["name"] == reviewing:
            entry["tokenReview"] = {"legacyAudiences": [HERE if reviewing == "here" else AWAY]}
    scenario = world.here if reviewing == "here" else world.away
    async with running({"cluster": entries}) as gate:
        await both_decide(gate)
        here, away = world.reviews
        answer = await gate.request(scenario.state.static_token("operator"))
        assert (answer.status, answer.value("X-Auth-Request-Cluster")) == (200, reviewing)
        assert world.reviews == ((here + 1, away) if reviewing == "here" else (here, away + 1))


async def test_a_cluster_that_hangs_does_not_delay_the_others(world: World) -> None:
    """Its own tokens get 503. Other tokens are decided, and authgate is ready."""
    for path in (DISCOVERY_PATH, JWKS_PATH, TOKEN_REVIEWS_PATH):
        world.here.server.faults.set(path, Hold())
    async with running({"cluster": world.clusters(timeout="2s", keys={"timeout": "2s"})}) as gate:
        await gate.becomes_ready(within=30)
        assert (await gate.request(account_token(world.away))).status == 200
        reported = await states(gate)
        assert (reported["cluster/here"], reported["cluster/away"]) == (False, True)
        assert (await gate.verdict(account_token(world.here)))[0] == 503


async def test_the_audit_names_the_cluster(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It is the issuer of the decision."""
    caplog.set_level(logging.INFO, AUDIT)
    async with running({"cluster": world.clusters(), "log": {"audit": "all"}}) as gate:
        await both_decide(gate)
        await gate.request(account_token(world.away))
    (record,) = [record for record in caplog.records if record.name == AUDIT]
    assert vars(record)["attributes"]["authgate.issuer"] == "away"


@pytest.fixture
async def twins(tmp_path: Path) -> AsyncIterator[World]:
    """Two clusters with the same issuer, as kubeadm creates them."""
    async with (
        cluster(tmp_path / "here", issuer_url=HERE) as here,
        cluster(tmp_path / "away", issuer_url=HERE) as away,
    ):
        yield World(here, away)


async def test_of_two_clusters_with_one_issuer_the_later_fails_closed(twins: World) -> None:
    """Its tokens are verified with the keys of the first and rejected. `/readyz?verbose` shows what to do."""
    async with running({"cluster": twins.clusters()}) as gate:
        await gate.has_keys(within=30)

        async def reported() -> bool:
            return "is also the issuer of cluster 'here'" in (await gate.admin("/readyz?verbose")).body

        await until(reported, within=30)
        before = twins.reviews
        assert (await gate.request(account_token(twins.here))).status == 200
        assert (await gate.verdict(account_token(twins.away)))[0] == 401
        assert (await states(gate))["cluster/away"] is False
        assert twins.reviews[1] == before[1]


async def test_doctor_reports_two_clusters_with_one_issuer(twins: World, tmp_path: Path) -> None:
    """It is a problem: requests fail because of it."""
    findings = await found(written(tmp_path, {"cluster": twins.clusters()}))
    finding = findings.about("cluster away: issuer")
    assert (finding.level, f"discovery names {HERE}" in finding.sentence) == (Level.BAD, True)


async def test_doctor_examines_every_cluster(world: World, tmp_path: Path) -> None:
    """Each finding names its cluster."""
    findings = await found(written(tmp_path, {"cluster": world.clusters()}))
    assert findings.about("cluster here: issuer").level is Level.GOOD
    assert findings.about("cluster away: issuer").level is Level.GOOD
    assert findings.worst is Level.GOOD


REVIEWED = {"resource": {"verb": "get", "resource": "pods"}}


@pytest.mark.parametrize(
    ("review", "asked"),
    [
        pytest.param({}, "here", id="the first"),
        pytest.param({"cluster": "away"}, "away", id="by name"),
    ],
)
async def test_access_of_a_jwt_identity_is_reviewed_by_the_configured_cluster(
    world: World, review: dict[str, Any], asked: str
) -> None:
    """The first cluster reviews users of a `jwt` issuer, unless the policy names another one."""
    async with published() as (issuer, _):
        policies = {"default": {"accessReview": {**REVIEWED, **review}}}
        document = {"cluster": world.clusters(), "jwt": [knowing(issuer)], "policies": policies}
        async with running(document) as gate:
            assert await gate.verdict(issuer.mint()) == (403, "access_denied")
    asked_of = {
        name: scenario.server.counts[ACCESS_REVIEWS_PATH]
        for name, scenario in (("here", world.here), ("away", world.away))
    }
    assert asked_of == {"here": 0, "away": 0, asked: 1}


async def test_access_of_a_clusters_identity_is_reviewed_by_that_cluster(world: World) -> None:
    """This holds even if the policy names another cluster."""
    policies = {"default": {"accessReview": {**REVIEWED, "cluster": "here"}}}
    async with running({"cluster": world.clusters(), "policies": policies}) as gate:
        await both_decide(gate)
        assert await gate.verdict(account_token(world.away)) == (403, "access_denied")
        assert await gate.metric("authgate_accessreview_requests_total", cluster="away", result="denied") == 1
    assert world.here.server.counts[ACCESS_REVIEWS_PATH] == 0


async def test_explain_names_the_cluster(world: World, tmp_path: Path) -> None:
    """For a token of an unknown issuer it names all configured clusters."""
    config = load(written(tmp_path, {"cluster": world.clusters()}), {}).config
    good = await explained(config, account_token(world.away), "default")
    assert good.decision.evidence.issuer_name == "away"
    bad = await explained(config, account_token(world.away, claims={"iss": "https://no.example"}), "default")
    assert {"the issuer of cluster 'here'", "the issuer of cluster 'away'"} <= set(bad.facts[1].values)


async def test_keys_in_a_file_need_no_api_server(world: World, tmp_path: Path) -> None:
    """The identity is the account's, and the cluster with the key file gets no request."""
    (tmp_path / "keys.json").write_text(json.dumps(world.away.state.issuer.jwks()))
    entries = [
        world.clusters()[0],
        {
            "name": "away",
            "audiences": ["my-audience"],
            "issuers": [AWAY],
            "tokenReview": {"mode": "never"},
            "staticKeys": {"file": str(tmp_path / "keys.json")},
        },
    ]
    world.away.server.faults.set(DISCOVERY_PATH, failing(500))
    async with running({"cluster": entries}) as gate:
        await both_decide(gate)
        answer = await gate.request(account_token(world.away))
        assert (answer.status, answer.value("X-Auth-Request-User")) == (
            200,
            "system:serviceaccount:default:demo",
        )
        assert answer.value("X-Auth-Request-Cluster") == "away"
        before = world.reviews
        stranger = account_token(world.away, key=SigningKey.generate("ES256"))
        assert await gate.verdict(stranger) == (401, "key_unknown")
        assert world.reviews == before


async def test_a_new_configuration_keeps_the_discovered_issuer_of_its_cluster(
    world: World, tmp_path: Path
) -> None:
    """This holds even if the API server is down during the reload."""
    deps = Dependencies(clock=SystemClock(), metrics=Metrics(), environ={})
    before, after = [
        load(written(tmp_path, {"cluster": world.clusters(), "cache": {"ttl": ttl}}), {}).config
        for ttl in ("60s", "30s")
    ]
    authorization = [f"Bearer {account_token(world.away)}".encode()]
    async with AsyncExitStack() as stack:
        old = await compose(before, deps)
        stack.push_async_callback(old.close)
        for keys in old.key_sets:
            await keys.refresh()
        for path in (DISCOVERY_PATH, JWKS_PATH, TOKEN_REVIEWS_PATH):
            world.away.server.faults.set(path, failing(500))
        new = await compose(after, deps)
        stack.push_async_callback(new.close)
        new.inherit(old)
        decision = await new.gate.decide(authorization, "default", OriginalRequest())
    assert isinstance(decision, Allow), decision


async def test_explain_works_for_a_cluster_with_static_keys(world: World, tmp_path: Path) -> None:
    """It shows nothing from discovery, which is not requested."""
    static = {"inline": json.dumps(world.away.state.issuer.jwks())}
    members = {"issuers": [AWAY], "tokenReview": {"mode": "never"}, "staticKeys": static}
    document = {"cluster": {"name": "away", "audiences": ["my-audience"], **members}}
    config = load(written(tmp_path, document), {}).config
    assert (await explained(config, account_token(world.away), "default")).reason == "authenticated"
    bad = await explained(config, account_token(world.here), "default")
    assert bad.facts[1].values == (AWAY,)
