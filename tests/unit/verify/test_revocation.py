"""The rules for what follows from watch events, without any connection."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from authgate.cluster.watch import Scope
from authgate.model import JSONValue
from authgate.verify.revocation import Reference, Revocation, RevocationRules, View, bound_objects
from tests.support.clock import FakeClock
from tests.support.tokens import POD_BOUND

PODS = Scope("pods")
WEB = Reference("pods", "prod", "web")
DAY = 86400.0


def store_of(
    clock: FakeClock, *scopes: Scope, rules: RevocationRules | None = None
) -> tuple[Revocation, View]:
    """Return a store and the view of its first scope. The default scope is all pods."""
    store = Revocation(scopes or (PODS,), clock, rules or RevocationRules())
    return store, store.views[0]


def seeing(clock: FakeClock, *uids: str, rules: RevocationRules | None = None) -> tuple[Revocation, View]:
    """Return a store whose watch of pods is connected and has listed these."""
    store, view = store_of(clock, rules=rules)
    assert view.replace_all(dict.fromkeys(uids))
    return store, view


def test_a_listed_object_confirms_its_tokens() -> None:
    """The object exists, so its tokens need no review."""
    store, _ = seeing(FakeClock(), "web")
    assert store.confirms([WEB])
    assert store.deleted([WEB]) is None


def test_an_unknown_object_is_neither_confirmed_nor_deleted() -> None:
    """The object may be newer than the last event of the watch."""
    store, _ = seeing(FakeClock(), "other")
    assert not store.confirms([WEB])
    assert store.deleted([WEB]) is None


def test_an_observed_deletion_revokes_the_handle() -> None:
    """A deletion ends the verdicts that depend on the object at once."""
    store, view = seeing(FakeClock(), "web")
    [handle] = store.handles([WEB])
    view.delete("web")
    assert store.deleted([WEB]) == WEB
    assert handle.revoked


def test_the_deletion_of_an_unknown_object_is_remembered() -> None:
    """Its creation may have been missed."""
    store, view = seeing(FakeClock())
    view.delete("web")
    assert store.deleted([WEB]) == WEB


def test_an_object_that_is_missing_in_a_later_list_is_deleted() -> None:
    """After a 410 the new list shows which objects were deleted in between."""
    store, view = seeing(FakeClock(), "web", "db")
    [handle] = store.handles([WEB])
    view.mark_interrupted("expired", "")
    view.replace_all({"db": None, "new": None})
    assert store.deleted([WEB]) == WEB
    assert handle.revoked
    assert store.confirms([Reference("pods", "prod", "db")])


def test_an_object_with_the_same_name_and_another_uid_is_a_different_object() -> None:
    """Tokens of a deleted account stay rejected after an account of the same name is created."""
    store, view = seeing(FakeClock(), "old")
    view.delete("old")
    view.upsert("new", None)
    assert store.deleted([Reference("pods", "prod", "old")]) is not None
    assert store.confirms([Reference("pods", "prod", "new")])


@pytest.mark.parametrize(("passed", "ended"), [(0.0, False), (60.0, False), (60.5, True)])
def test_a_draining_pod_keeps_its_token_for_a_minute(passed: float, ended: bool) -> None:
    """An object is valid until 60 s after its deletionTimestamp, as in kube-apiserver."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    view.upsert("web", clock.now())
    [handle] = store.handles([WEB])
    clock.advance(passed)
    store.tick()
    assert (store.deleted([WEB]) is not None) is ended
    assert handle.revoked is ended


def test_the_last_deletion_timestamp_counts() -> None:
    """A shorter grace period ends the tokens earlier."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    view.upsert("web", clock.now() + 3600)
    view.upsert("web", clock.now())
    clock.advance(61)
    assert store.deleted([WEB]) == WEB


def test_deletion_times_of_deleted_objects_use_no_memory() -> None:
    """They are dropped even if they are far in the future."""
    clock = FakeClock()
    store, view = seeing(clock)
    for number in range(5_000):
        view.upsert(f"pod-{number}", clock.now() + DAY)
        view.delete(f"pod-{number}")
    assert len(store._due) <= 1_001


def test_nothing_is_confirmed_before_the_first_list() -> None:
    """A watch that has not started knows no objects."""
    store, view = store_of(FakeClock())
    view.upsert("web", None)
    assert not store.confirms([WEB])
    assert "blind, not listed yet" in store.status()[1]


@pytest.mark.parametrize(("passed", "sees"), [(0.0, True), (90.0, True), (90.5, False)])
def test_a_broken_watch_is_used_until_max_stale(passed: float, sees: bool) -> None:
    """Listed objects count for `max_stale` after the connection broke."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    view.mark_interrupted("unreachable", "no way")
    clock.advance(passed)
    assert store.confirms([WEB]) is sees
    assert store.status()[0] is sees
    assert ("blind, disconnected for 9" in store.status()[1]) is not sees


def test_the_age_of_a_broken_watch_counts_from_the_moment_the_break_was_noticed() -> None:
    """A quiet watch is silent for more than a minute. This silence does not count in `max_stale`."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    clock.advance(75)
    view.mark_interrupted("unreachable", "no way")
    clock.advance(89)
    assert store.confirms([WEB])


@pytest.mark.parametrize(("passed", "ended"), [(90.0, False), (90.5, True)])
def test_verdicts_end_when_a_watch_has_been_broken_for_too_long(passed: float, ended: bool) -> None:
    """A cached verdict ends at `max_stale`. Afterwards TokenReview must confirm the token."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    [handle] = store.handles([WEB])
    store.tick()
    view.mark_interrupted("unreachable", "no way")
    clock.advance(passed)
    store.tick()
    assert handle.revoked is ended
    [later] = store.handles([WEB])
    store.tick()
    assert later.revoked is False


def test_attempts_to_resume_do_not_make_a_broken_watch_younger() -> None:
    """Only a valid event ends a break. Connections that fail or are rejected do not."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    view.mark_interrupted("unreachable", "no way")
    clock.advance(60)
    view.mark_interrupted("expired", "")
    clock.advance(31)
    assert not store.confirms([WEB])


def test_the_status_shows_for_how_long_a_watch_is_disconnected() -> None:
    """It shows the age of the last event and the duration of the break, which differ."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    clock.advance(70)
    view.mark_interrupted("unreachable", "no way")
    clock.advance(20)
    assert store.status() == (True, "pods: 1, last event 90 s ago, disconnected for 20 s, no way")


def test_an_observed_deletion_counts_while_the_watch_is_blind() -> None:
    """A deleted object does not return, whatever happens to the watch."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    view.delete("web")
    view.mark_interrupted("unreachable", "no way")
    clock.advance(1_000)
    assert store.deleted([WEB]) == WEB


def test_a_watch_that_resumes_is_used_again() -> None:
    """One event is enough, because a resumed watch sends every change since the last one."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    view.mark_interrupted("unreachable", "no way")
    clock.advance(1_000)
    view.mark_current()
    assert store.confirms([WEB])


def test_every_object_of_a_token_must_exist() -> None:
    """A token is confirmed only if its account and its pod exist."""
    clock = FakeClock()
    store, pods = store_of(clock, PODS, Scope("serviceaccounts"))
    accounts = store.views[1]
    both = [Reference("serviceaccounts", "prod", "app"), WEB]
    pods.replace_all({"web": None})
    assert not store.confirms(both)
    accounts.replace_all({"app": None})
    assert store.confirms(both)
    accounts.delete("app")
    assert store.deleted(both) == both[0]


def test_a_token_without_objects_is_not_confirmed() -> None:
    """A watch knows nothing about such a token."""
    store, _ = seeing(FakeClock())
    assert not store.confirms([])


def test_objects_in_unwatched_namespaces_are_not_confirmed() -> None:
    """A watch of one namespace shows no objects of another."""
    store, view = store_of(FakeClock(), Scope("pods", "prod"))
    view.replace_all({"web": None})
    assert store.confirms([WEB])
    assert not store.confirms([Reference("pods", "test", "web")])
    assert store.handles([Reference("pods", "test", "web")]) == ()


def test_more_objects_than_fit_make_a_watch_blind() -> None:
    """Above the limit the watch is not used at all: TokenReview decides."""
    store, view = seeing(FakeClock(), "a", "b", rules=RevocationRules(max_objects=2))
    assert view.upsert("a", None)
    assert not view.upsert("c", None)
    assert not store.confirms([Reference("pods", "prod", "a")])
    assert store.size == 0
    assert not view.replace_all(dict.fromkeys("abc"))
    assert view.replace_all(dict.fromkeys("ab"))
    assert store.size == 2


def test_the_number_of_remembered_deletions_is_limited() -> None:
    """The oldest are forgotten first. TokenReview still rejects their tokens."""
    store, view = seeing(FakeClock(), rules=RevocationRules(max_deleted=2))
    for uid in ("web", "b", "c"):
        view.delete(uid)
    assert store.deleted([WEB]) is None
    assert store.deleted([Reference("pods", "prod", "b")]) is not None


def test_deletions_are_remembered_for_a_day() -> None:
    """Tokens that name them have expired by then."""
    clock = FakeClock()
    store, view = seeing(clock)
    view.delete("web")
    clock.advance(DAY - 1)
    store.tick()
    assert store.deleted([WEB]) == WEB
    clock.advance(2)
    store.tick()
    assert store.deleted([WEB]) is None


def test_an_object_that_is_listed_again_is_no_longer_deleted() -> None:
    """After a backup of the cluster is restored, deleted objects exist again."""
    store, view = seeing(FakeClock(), "web")
    view.delete("web")
    view.replace_all({"web": None})
    assert store.deleted([WEB]) is None
    assert not store.handles([WEB])[0].revoked


def test_handles_are_shared_and_freed_with_the_last_verdict() -> None:
    """All tokens of a pod share one handle. The store keeps no unused handle."""
    store, _ = seeing(FakeClock(), "web")
    held = store.handles([WEB])
    assert held[0] is store.handles([WEB])[0]
    del held
    gc.collect()
    assert len(store._handles) == 0


def test_the_metrics_cover_all_namespaces() -> None:
    """Objects are added up. The age is that of the watch that is furthest behind."""
    clock = FakeClock()
    store, view = store_of(clock, Scope("pods", "a"), Scope("pods", "b"))
    view.replace_all({"x": None})
    assert store.figures() == {"pods": (1, 0.0)}
    store.views[1].replace_all({"y": None, "z": None})
    assert store.figures() == {"pods": (3, clock.now())}


def test_the_objects_of_a_pods_token_are_its_account_and_its_pod() -> None:
    """The node in a pod's token is ignored."""
    members: dict[str, Any] = {"kubernetes.io": POD_BOUND}
    assert bound_objects(members) == (
        Reference("serviceaccounts", "prod", "uid-of-web"),
        Reference("pods", "prod", "uid-of-web-0"),
    )


@pytest.mark.parametrize(
    ("claim", "bound"),
    [
        pytest.param("text", (), id="no-object"),
        pytest.param({"namespace": "a"}, (), id="nothing-bound"),
        pytest.param(
            {"namespace": "a", "node": {"name": "n", "uid": "u"}}, (Reference("nodes", None, "u"),), id="node"
        ),
        pytest.param(
            {"namespace": "a", "secret": {"name": "s", "uid": "u"}},
            (Reference("secrets", "a", "u"),),
            id="secret",
        ),
        pytest.param({"namespace": "a", "pod": "p"}, (Reference("pods", "a", ""),), id="malformed"),
        pytest.param(
            {"namespace": 1, "pod": {"uid": 2}}, (Reference("pods", None, ""),), id="of-wrong-types"
        ),
    ],
)
def test_any_claim_gives_its_objects(claim: JSONValue, bound: tuple[Reference, ...]) -> None:
    """An object that the claim does not describe properly gets an empty uid, which nothing confirms."""
    assert bound_objects({"kubernetes.io": claim}) == bound
