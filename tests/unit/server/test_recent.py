"""The latest decisions: how many are kept, and over a reload."""

from __future__ import annotations

import pytest

from authgate.config import load
from authgate.server.recent import RecentDecision, RecentDecisions, merged, resized
from authgate.service.restart_only import keep_restart_only


def at(*times: float) -> list[RecentDecision]:
    """Return decisions at these times."""
    return [RecentDecision(time, "allow", "authenticated", "default") for time in times]


def test_an_old_decision_makes_room_for_a_new_one() -> None:
    """Memory is bounded."""
    recent = RecentDecisions(2)
    for decision in at(1, 2, 3):
        recent.add(decision)
    assert list(recent.latest()) == at(2, 3)


def test_a_reload_keeps_them() -> None:
    """It may change their number; 0 forgets them."""
    recent = resized(RecentDecisions(5, at(1, 2, 3)), 2)
    assert recent is not None
    assert list(recent.latest()) == at(2, 3)
    assert resized(recent, 0) is None
    assert resized(None, 1) is not None


def test_those_of_several_processes_are_sorted() -> None:
    """The newest are first."""
    assert list(merged([at(1, 4), at(2, 3)], 3)) == at(4, 3, 2)


@pytest.mark.parametrize(
    ("variables", "kept"),
    [
        ({"SERVER__ADMIN": "127.0.0.1:9090"}, 7),
        ({"SERVER__ADMIN": "[::1]:9090"}, 7),
        ({"SERVER__ADMIN": "localhost:9090"}, 7),
        ({"SERVER__ADMIN": "unix:/run/gate.sock"}, 7),
        ({"ADMIN__POLICY": "default"}, 7),
        ({"ADMIN__POLICY": "default", "ADMIN__PAGE": "false"}, 0),
        ({"SERVER__ADMIN": "null"}, 0),
    ],
)
def test_they_are_kept_only_for_a_protected_port(variables: dict[str, str], kept: int) -> None:
    """Without a page nobody could see them."""
    given = {"CLUSTER__AUDIENCES": "a", "ADMIN__RECENT_DECISIONS": "7", **variables}
    config = load(None, {f"AUTHGATE_{name}": text for name, text in given.items()}).config
    assert config.kept_decisions == kept


def test_a_reload_cannot_show_them_on_an_open_port() -> None:
    """The address is that of the start, whatever the new file contains."""
    variables = {"AUTHGATE_CLUSTER__AUDIENCES": "a", "AUTHGATE_ADMIN__RECENT_DECISIONS": "7"}
    new = load(None, {**variables, "AUTHGATE_SERVER__ADMIN": "127.0.0.1:9090"}).config
    running = load(None, {"AUTHGATE_CLUSTER__AUDIENCES": "a"}).config
    assert keep_restart_only(running, new).kept_decisions == 0
