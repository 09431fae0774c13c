"""The status of a gate for the page: from its configuration, its counters and its processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from authgate.config import Config, load
from authgate.keys.key_set import KeyDetails, KeySetDetails
from authgate.observability.metrics import Metrics
from authgate.server.admin import Readiness
from authgate.server.admin.status import (
    CacheRow,
    ConfigurationDetails,
    Inspection,
    KeyRow,
    VerifierDetails,
    verifier_rows,
)
from authgate.server.recent import RecentDecision
from authgate.service.status import Inspected, StatusBoard

if TYPE_CHECKING:
    from authgate.server.admin.status import GateStatus, PolicyRow
    from tests.support.clock import FakeClock

HEAD = """
cluster: {name: home, audiences: [a, b]}
server: {proxy: nginx}
"""


def configured(folder: Path, text: str) -> Config:
    """Return the configuration with a cluster and this text."""
    file = folder / "authgate.yaml"
    file.write_text(HEAD + text)
    return load(file, {}).config


class Scene:
    """A gate with a configuration and counters."""

    def __init__(self, clock: FakeClock, config: Config) -> None:
        self.config = config
        self.stores = [Metrics()]
        self.board = StatusBoard(clock)

    def count(self, decision: str, reason: str, policy: str, number: int = 1, worker: int = 0) -> None:
        """Count decisions of a worker."""
        cell = self.stores[worker].answer_cell(decision, reason, "jwks", policy)
        for _ in range(number):
            cell.add(0.001)

    def count_rule(self, policy: str, rule: int, number: int = 1, worker: int = 0) -> None:
        """Count decisions of a rule in a worker."""
        cell = self.stores[worker].answer_cell("allow", "authenticated", "jwks", policy, rule)
        for _ in range(number):
            cell.add(0.001)

    def status(self, *inspections: Inspection, asked: int = 1, named: bool = True) -> GateStatus:
        """Return the status."""
        return self.board.status(
            self.config,
            [(metrics.store, True) for metrics in self.stores],
            readiness=Readiness(True, ()),
            configuration=ConfigurationDetails(),
            inspected=Inspected(inspections, asked),
            named=named,
        )


def policy(clock: FakeClock, folder: Path, text: str) -> PolicyRow:
    """Return the row of policy `p`."""
    config = configured(folder, f"policies:\n  default: {{}}\n  p: {text}\n")
    return next(row for row in Scene(clock, config).status().policies if row.name == "p")


@pytest.mark.parametrize(
    ("text", "decides"),
    [
        ("{}", "allow: every authenticated identity"),
        ("{allow: [{users: [x]}]}", "allow: 1 entry"),
        (
            "{audiences: [a], allow: [{users: [x]}, {groups: [y]}], deny: [{users: [z]}]}",
            "allow: 2 entries, deny: 1 entry, 1 audience",
        ),
        ("{accessReview: {nonResource: request}}", "access review"),
        ("{anonymous: [/a, /b]}", "allow: every authenticated identity, 2 paths without a token"),
        (
            "{allow: [{users: [x]}], shadow: {allow: [{users: [y]}]}}",
            "allow: 1 entry, with a shadow",
        ),
    ],
)
def test_a_policy_shows_how_it_decides(clock: FakeClock, tmp_path: Path, text: str, decides: str) -> None:
    """It counts its entries. It shows no user and no group, because the page can be open to everyone."""
    assert policy(clock, tmp_path, text).decides == decides


@pytest.mark.parametrize(
    ("rule", "matches", "decides"),
    [
        ("{paths: [/public/*], anonymous: true}", "/public/*", "without a token"),
        (
            "{methods: [GET, HEAD], hosts: [a.example], allow: [{users: [x]}]}",
            "GET, HEAD every path on a.example",
            "allow: 1 entry",
        ),
        (
            "{paths: [/a], allow: [{users: [x]}], deny: [{users: [y]}]}",
            "/a",
            "allow: 1 entry, deny: 1 entry",
        ),
        ("{paths: [/a], accessReview: {nonResource: request}}", "/a", "access review"),
        (
            f"{{paths: [{', '.join(f'/{number}' for number in range(12))}], anonymous: true}}",
            "/0, /1, /2, /3, /4, /5, /6, /7, /8, /9 and 2 more",
            "without a token",
        ),
    ],
)
def test_a_rule_shows_what_it_matches(
    clock: FakeClock, tmp_path: Path, rule: str, matches: str, decides: str
) -> None:
    """Long lists are cut."""
    [row] = policy(clock, tmp_path, f"{{rules: [{rule}]}}").rules
    assert (row.index, row.matches, row.decides) == (0, matches, decides)


def test_long_policies_are_cut(clock: FakeClock, tmp_path: Path) -> None:
    """The rules beyond the first 20 are counted."""
    rules = ", ".join(f"{{paths: [/{number}], anonymous: true}}" for number in range(50))
    row = policy(clock, tmp_path, f"{{rules: [{rules}]}}")
    assert (len(row.rules), row.more_rules) == (20, 30)


def test_a_policy_has_its_endpoints(clock: FakeClock, tmp_path: Path) -> None:
    """The default policy has the short ones. Token exchange is listed if the policy issues tokens."""
    config = configured(
        tmp_path,
        """
policies: {default: {}, p: {}}
signing: {issuer: https://authgate.example.com}
exchange: {listen: "127.0.0.1:1", audiences: {default: [x], p: [x]}}
""",
    )
    assert {row.name: row.endpoints for row in Scene(clock, config).status().policies} == {
        "default": ("/verify", "/token"),
        "p": ("/policies/p/verify", "/policies/p/token"),
    }


def test_decisions_are_summed_over_processes(clock: FakeClock, tmp_path: Path) -> None:
    """The busiest policies are first, and each reason has its minutes."""
    scene = Scene(clock, configured(tmp_path, "policies: {default: {}, p: {}, q: {}}"))
    scene.stores.append(Metrics())
    scene.count("allow", "authenticated", "default")
    for worker in (0, 1):
        scene.count("allow", "authenticated", "q", 3, worker)
        scene.count("deny", "token_expired", "q", 2, worker)
    scene.count("unavailable", "keys_unavailable", "q")
    status = scene.status()
    assert [(row.name, row.allowed, row.denied, row.unavailable) for row in status.policies] == [
        ("q", 6, 4, 1),
        ("default", 1, 0, 0),
        ("p", 0, 0, 0),
    ]
    assert {hour.reason: hour.total for hour in status.reasons} == {
        "authenticated": 7,
        "token_expired": 4,
        "keys_unavailable": 1,
    }


def test_decisions_get_the_minute_in_which_they_are_observed(clock: FakeClock, tmp_path: Path) -> None:
    """Counters are read at most every ten seconds, however often the board is asked to."""
    scene = Scene(clock, configured(tmp_path, ""))
    clock.advance(120 - clock.monotonic() % 60)
    for _ in range(3):
        scene.count("allow", "authenticated", "default")
        scene.board.observe([(metrics.store, True) for metrics in scene.stores])
        clock.advance(60)
    [hour] = scene.status().reasons
    assert hour.counts[-4:] == (1, 1, 1, 0)


def test_a_thousand_policies_are_cut(clock: FakeClock, tmp_path: Path) -> None:
    """The others are counted; those with requests are listed."""
    names = ", ".join(f"p{number}: {{}}" for number in range(999))
    scene = Scene(clock, configured(tmp_path, f"policies: {{default: {{}}, {names}}}"))
    scene.count("allow", "authenticated", "p998")
    status = scene.status()
    assert (len(status.policies), status.more_policies) == (100, 900)
    assert status.policies[0].name == "p998"


def test_caches_are_summed(clock: FakeClock, tmp_path: Path) -> None:
    """A cache without a size has None."""
    scene = Scene(clock, configured(tmp_path, ""))
    metrics = scene.stores[0]
    metrics.cache_requests["verdict", "hit"] = 3.0
    metrics.cache_requests["verdict", "miss"] = 2.0
    metrics.cache_evictions["verdict"] = 1.0
    family: Any = vars(metrics)
    family["_cache_entries"]["verdict"] = 4.0
    family["_cache_entries"]["access"] = 6.0
    family["_cache_bytes"]["verdict"] = 500.0
    assert scene.status().caches == (
        CacheRow(name="access", entries=6, size=None, hits=0, misses=0, evictions=0),
        CacheRow(name="verdict", entries=4, size=500, hits=3, misses=2, evictions=1),
    )


def inspection(*kids: str, usable: bool = True, ago: float = 1.0, next_in: float | None = 9.0) -> Inspection:
    """Return the inspection of a process whose issuer has these keys, each known for as long as its last fetch."""
    keys = tuple(KeyDetails(kid=kid, algorithms=("ES256",), age=ago) for kid in kids)
    details = KeySetDetails(keys=keys, fetched_ago=ago, next_fetch_in=next_in)
    detail = "fine" if usable else "broken"
    return Inspection(
        verifiers=(VerifierDetails(name="issuer/corp", usable=usable, detail=detail, keys=details),)
    )


def test_workers_are_merged_honestly() -> None:
    """The oldest last fetch, the earliest next one, the worst state, and which keys only some workers have."""
    [row] = verifier_rows(
        [inspection("a", ago=5.0), inspection("a", "b", usable=False, ago=2.0, next_in=3.0)]
    )
    assert (row.usable, row.processes, row.detail) == (1, 2, "broken")
    assert (row.fetched_ago, row.next_fetch_in) == (5.0, 3.0)
    assert row.keys == (
        KeyRow(kid="a", algorithms=("ES256",), age=5.0, processes=2),
        KeyRow(kid="b", algorithms=("ES256",), age=2.0, processes=1),
    )


def test_an_endpoint_without_keys_says_so() -> None:
    """Introspection has no keys."""
    verifier = VerifierDetails(name="introspection/x", usable=True, detail="answers")
    [row] = verifier_rows([Inspection(verifiers=(verifier,))])
    assert (row.has_keys, row.keys, row.fetched_ago) == (False, (), None)


def test_workers_that_did_not_answer_are_counted(clock: FakeClock, tmp_path: Path) -> None:
    """The page shows how many are missing."""
    status = Scene(clock, configured(tmp_path, "")).status(inspection("a"), asked=3)
    assert (status.inspected, status.processes) == (1, 3)


def made(at: float, policy: str = "default") -> RecentDecision:
    """Return a decision at a time."""
    return RecentDecision(at, "allow", "authenticated", policy, username="corp:jane")


def test_recent_decisions_of_workers_are_merged(clock: FakeClock, tmp_path: Path) -> None:
    """The latest of all workers are first, and no more than configured."""
    scene = Scene(clock, configured(tmp_path, "admin: {recentDecisions: 3, policy: default}"))
    kept = [
        Inspection(verifiers=(), decisions=(made(1.0), made(4.0))),
        Inspection(verifiers=(), decisions=(made(2.0), made(3.0))),
    ]
    recent = scene.status(*kept, asked=2).recent
    assert recent is not None
    assert [decision.at for decision in recent] == [4.0, 3.0, 2.0]


@pytest.mark.parametrize(
    ("admin", "named"),
    [("{recentDecisions: 3, policy: default}", False), ("{policy: default}", True)],
    ids=["nobody is named", "not configured"],
)
def test_recent_decisions_are_not_shown(clock: FakeClock, tmp_path: Path, admin: str, named: bool) -> None:
    """They need both the setting and a client that may see identities."""
    scene = Scene(clock, configured(tmp_path, f"admin: {admin}"))
    assert scene.status(Inspection(verifiers=(), decisions=(made(1.0),)), named=named).recent is None


def test_rules_have_their_requests(clock: FakeClock, tmp_path: Path) -> None:
    """They are summed over workers, and are among those of the policy."""
    rules = "[{paths: [/a], anonymous: true}, {paths: [/b], anonymous: true}]"
    scene = Scene(clock, configured(tmp_path, f"policies: {{default: {{}}, p: {{rules: {rules}}}}}"))
    scene.stores.append(Metrics())
    scene.count_rule("p", 1, 3)
    scene.count_rule("p", 1, 2, worker=1)
    scene.count("allow", "authenticated", "p")
    row = scene.status().policies[0]
    assert (row.name, row.allowed, [rule.decided for rule in row.rules]) == ("p", 6, [0, 5])
