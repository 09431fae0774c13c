"""What watches saw, and what follows from it: the rules, without any connection."""

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
    """A store and the view of its first scope, which is that of all pods unless told otherwise."""
    store = Revocation(scopes or (PODS,), clock, rules or RevocationRules())
    return store, store.views[0]


def seeing(clock: FakeClock, *uids: str, rules: RevocationRules | None = None) -> tuple[Revocation, View]:
    """A store whose watch of pods has listed these and goes on."""
    store, view = store_of(clock, rules=rules)
    assert view.replace_all(dict.fromkeys(uids))
    return store, view


def test_what_is_there_is_vouched_for() -> None:
    """An object that a watch listed stands surety for its tokens."""
    store, _ = seeing(FakeClock(), "web")
    assert store.confirms([WEB])
    assert store.deleted([WEB]) is None


def test_what_was_never_seen_is_neither_vouched_for_nor_gone() -> None:
    """Absence proves nothing: the object may be newer than the watch's last word."""
    store, _ = seeing(FakeClock(), "other")
    assert not store.confirms([WEB])
    assert store.deleted([WEB]) is None


def test_an_observed_deletion_revokes_the_handle() -> None:
    """A deletion ends at once what rests on the object."""
    store, view = seeing(FakeClock(), "web")
    [handle] = store.handles([WEB])
    view.delete("web")
    assert store.deleted([WEB]) == WEB
    assert handle.revoked


def test_a_deletion_of_what_was_never_there_is_remembered_too() -> None:
    """An object whose creation was missed is as gone as any other."""
    store, view = seeing(FakeClock())
    view.delete("web")
    assert store.deleted([WEB]) == WEB


def test_what_a_later_list_lacks_is_gone() -> None:
    """After 410 the new list tells what was deleted meanwhile."""
    store, view = seeing(FakeClock(), "web", "db")
    [handle] = store.handles([WEB])
    view.mark_interrupted("expired", "")
    view.replace_all({"db": None, "new": None})
    assert store.deleted([WEB]) == WEB
    assert handle.revoked
    assert store.confirms([Reference("pods", "prod", "db")])


def test_one_of_the_same_name_is_another() -> None:
    """An account that is made again has another uid; the old one's tokens stay refused."""
    store, view = seeing(FakeClock(), "old")
    view.delete("old")
    view.upsert("new", None)
    assert store.deleted([Reference("pods", "prod", "old")]) is not None
    assert store.confirms([Reference("pods", "prod", "new")])


@pytest.mark.parametrize(("passed", "gone"), [(0.0, False), (60.0, False), (60.5, True)])
def test_a_draining_pod_keeps_its_token_for_a_minute(passed: float, gone: bool) -> None:
    """An object counts until 60 s after its deletionTimestamp, as for the API server."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    view.upsert("web", clock.now())
    [handle] = store.handles([WEB])
    clock.advance(passed)
    store.tick()
    assert (store.deleted([WEB]) is not None) is gone
    assert handle.revoked is gone


def test_a_deletion_time_that_moves_counts_from_where_it_is_last() -> None:
    """A grace period that is cut short ends earlier."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    view.upsert("web", clock.now() + 3600)
    view.upsert("web", clock.now())
    clock.advance(61)
    assert store.deleted([WEB]) == WEB


def test_the_objects_that_were_doomed_long_ago_cost_no_memory() -> None:
    """Deletion times of pods that went before their minute was over are dropped, however far off they are."""
    clock = FakeClock()
    store, view = seeing(clock)
    for number in range(5_000):
        view.upsert(f"pod-{number}", clock.now() + DAY)
        view.delete(f"pod-{number}")
    assert len(store._due) <= 1_001


def test_nothing_is_vouched_for_before_the_first_list() -> None:
    """A watch that has not begun sees nothing."""
    store, view = store_of(FakeClock())
    view.upsert("web", None)
    assert not store.confirms([WEB])
    assert "blind, not listed yet" in store.status()[1]


@pytest.mark.parametrize(("passed", "sees"), [(0.0, True), (90.0, True), (90.5, False)])
def test_a_broken_watch_counts_for_a_while(passed: float, sees: bool) -> None:
    """What was seen before a connection broke holds for `max_stale`."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    view.mark_interrupted("unreachable", "no way")
    clock.advance(passed)
    assert store.confirms([WEB]) is sees
    assert store.status()[0] is sees
    assert ("blind, disconnected for 9" in store.status()[1]) is not sees


def test_the_age_of_a_broken_watch_counts_from_the_moment_the_break_was_noticed() -> None:
    """A quiet watch is silent for more than a minute while all is well; that silence costs nothing of `max_stale`."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    clock.advance(75)
    view.mark_interrupted("unreachable", "no way")
    clock.advance(89)
    assert store.confirms([WEB])


@pytest.mark.parametrize(("passed", "ended"), [(90.0, False), (90.5, True)])
def test_verdicts_end_when_a_watch_has_been_broken_for_too_long(passed: float, ended: bool) -> None:
    """A cached verdict does not outlive what it rests on: afterwards TokenReview has to confirm it."""
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
    """Only a good event ends a break: connections that fail or are refused prove nothing."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    view.mark_interrupted("unreachable", "no way")
    clock.advance(60)
    view.mark_interrupted("expired", "")
    clock.advance(31)
    assert not store.confirms([WEB])


def test_the_status_shows_for_how_long_a_watch_is_disconnected() -> None:
    """An operator sees the last event's age and the break's, which are different things."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    clock.advance(70)
    view.mark_interrupted("unreachable", "no way")
    clock.advance(20)
    assert store.status() == (True, "pods: 1, last event 90 s ago, disconnected for 20 s, no way")


def test_a_deletion_that_was_seen_counts_while_blind() -> None:
    """Nothing brings a deleted object back, whatever became of the watch."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    view.delete("web")
    view.mark_interrupted("unreachable", "no way")
    clock.advance(1_000)
    assert store.deleted([WEB]) == WEB


def test_a_watch_that_goes_on_sees_again() -> None:
    """One word of the server is enough: it tells all that happened since."""
    clock = FakeClock()
    store, view = seeing(clock, "web")
    view.mark_interrupted("unreachable", "no way")
    clock.advance(1_000)
    view.mark_current()
    assert store.confirms([WEB])


def test_every_object_of_a_token_has_to_be_there() -> None:
    """A token is as good as the account and the pod that it is bound to."""
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


def test_who_names_nothing_is_not_vouched_for() -> None:
    """A token without objects is not one that a watch can tell anything of."""
    store, _ = seeing(FakeClock())
    assert not store.confirms([])


def test_other_namespaces_than_the_watched_are_not_vouched_for() -> None:
    """A watch of one namespace tells nothing of another."""
    store, view = store_of(FakeClock(), Scope("pods", "prod"))
    view.replace_all({"web": None})
    assert store.confirms([WEB])
    assert not store.confirms([Reference("pods", "test", "web")])
    assert store.handles([Reference("pods", "test", "web")]) == ()


def test_more_objects_than_fit_make_a_watch_blind() -> None:
    """Over the bound nothing is known by halves: TokenReview decides."""
    store, view = seeing(FakeClock(), "a", "b", rules=RevocationRules(max_objects=2))
    assert view.upsert("a", None)
    assert not view.upsert("c", None)
    assert not store.confirms([Reference("pods", "prod", "a")])
    assert store.size == 0
    assert not view.replace_all(dict.fromkeys("abc"))
    assert view.replace_all(dict.fromkeys("ab"))
    assert store.size == 2


def test_deletions_are_remembered_up_to_a_number() -> None:
    """The oldest are forgotten first; TokenReview knows them."""
    store, view = seeing(FakeClock(), rules=RevocationRules(max_deleted=2))
    for uid in ("web", "b", "c"):
        view.delete(uid)
    assert store.deleted([WEB]) is None
    assert store.deleted([Reference("pods", "prod", "b")]) is not None


def test_deletions_are_remembered_for_a_day() -> None:
    """After that no token can be left that names them."""
    clock = FakeClock()
    store, view = seeing(clock)
    view.delete("web")
    clock.advance(DAY - 1)
    store.tick()
    assert store.deleted([WEB]) == WEB
    clock.advance(2)
    store.tick()
    assert store.deleted([WEB]) is None


def test_what_is_listed_again_is_no_longer_gone() -> None:
    """After a backup of the cluster was restored, its objects are there, whatever was seen before."""
    store, view = seeing(FakeClock(), "web")
    view.delete("web")
    view.replace_all({"web": None})
    assert store.deleted([WEB]) is None
    assert not store.handles([WEB])[0].revoked


def test_handles_are_shared_and_freed_with_the_last_verdict() -> None:
    """All tokens of a pod share one handle, and the store keeps no unused handle."""
    store, _ = seeing(FakeClock(), "web")
    held = store.handles([WEB])
    assert held[0] is store.handles([WEB])[0]
    del held
    gc.collect()
    assert len(store._handles) == 0


def test_the_figures_are_those_of_all_namespaces() -> None:
    """Objects are added up; the age is that of the watch furthest behind."""
    clock = FakeClock()
    store, view = store_of(clock, Scope("pods", "a"), Scope("pods", "b"))
    view.replace_all({"x": None})
    assert store.figures() == {"pods": (1, 0.0)}
    store.views[1].replace_all({"y": None, "z": None})
    assert store.figures() == {"pods": (3, clock.now())}


def test_the_objects_of_a_pods_token_are_its_account_and_its_pod() -> None:
    """The node that a pod's token names does not count."""
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
    """What a claim does not tell properly is an object without uid, which nothing vouches for."""
    assert bound_objects({"kubernetes.io": claim}) == bound
