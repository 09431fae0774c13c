from __future__ import annotations

from email.utils import formatdate

import pytest

from authgate.cluster.own_token import OwnToken
from authgate.tools.doctor.findings import Level
from authgate.tools.doctor.own_account import bind_command, clock_finding

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("own", "end"),
    [
        (OwnToken("system:serviceaccount:infra:gate"), "--serviceaccount=infra:gate"),
        (OwnToken("jane@example.com"), "--user=jane@example.com"),
        (OwnToken("$(reboot)"), "--user=THE-GATES-USER"),
        (OwnToken("system:serviceaccount:a:b;reboot"), "--user=THE-GATES-USER"),
        (OwnToken("-jane"), "--user=-jane"),
        (OwnToken(), "--user=THE-GATES-USER"),
        (None, "--user=THE-GATES-USER"),
    ],
    ids=["account", "person", "command", "account and command", "dash", "nobody", "no token"],
)
def test_the_command_that_binds_a_role(own: OwnToken | None, end: str) -> None:
    """It is safe to paste: a name with special characters of the shell is left out."""
    command = bind_command("system:auth-delegator", own)
    expected = "kubectl create clusterrolebinding authgate-auth-delegator --clusterrole=system:auth-delegator"
    assert command == f"{expected} {end}"


@pytest.mark.parametrize(
    ("server_ahead", "took", "level"),
    [
        (0.0, 0.1, Level.GOOD),
        (29.0, 0.1, Level.GOOD),
        (-35.0, 0.1, Level.WARNING),
        (35.0, 0.1, Level.WARNING),
        (65.0, 0.1, Level.BAD),
        (-65.0, 0.1, Level.BAD),
        (65.0, 20.0, Level.WARNING),
    ],
    ids=["same", "near", "behind", "ahead", "far ahead", "far behind", "slow answer"],
)
def test_clocks_are_compared(server_ahead: float, took: float, level: Level) -> None:
    """After a slow answer the difference is uncertain, so the finding is only a warning."""
    assert clock_finding("clock", formatdate(NOW + server_ahead), NOW, took).level is level


@pytest.mark.parametrize(
    "date",
    ["", "tomorrow", "Mon, 99 Jan 2026 00:00:00 GMT", "x" * 5000],
    ids=range(4),
)
def test_an_invalid_date_is_a_warning(date: str) -> None:
    """It is only a warning."""
    assert clock_finding("clock", date, NOW, 0.1).level is Level.WARNING
