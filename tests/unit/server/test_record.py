"""Recording the differences of a shadow."""

from __future__ import annotations

from typing import Literal

import pytest

from authgate.errors import Reason
from authgate.model import Identity
from authgate.observability.audit import Audit
from authgate.observability.metrics import Metrics
from authgate.policy.rules import Difference
from authgate.server.record import Recorder
from tests.support.clock import FakeClock

DIFFERENCE = Difference(
    "default", Reason.AUTHENTICATED, Reason.NOT_ALLOWED, "rules[1]", Identity("corp:jane")
)


def record(
    audit: Literal["none", "deny"], times: int, caplog: pytest.LogCaptureFixture
) -> tuple[float, list[dict[str, object]]]:
    """Return what the metrics and the audit log have after some differences."""
    caplog.set_level("INFO", logger="authgate.audit")
    metrics = Metrics()
    recorder = Recorder(metrics, Audit(audit, FakeClock(), lambda: None, burst=2))
    for _ in range(times):
        recorder.difference(DIFFERENCE)
    lines = [{"body": line.message, **getattr(line, "attributes", {})} for line in caplog.records]
    return metrics.shadow_differences["default", "authenticated", "not_allowed"], lines


def test_a_difference_is_counted_and_written(caplog: pytest.LogCaptureFixture) -> None:
    """The record has both reasons, the shadow's rule and the user's name."""
    assert record("deny", 1, caplog) == (
        1,
        [
            {
                "body": "the shadow decides differently",
                "authgate.policy": "default",
                "authgate.reason": "authenticated",
                "authgate.shadow": "not_allowed",
                "authgate.detail": "rules[1]",
                "user.name": "corp:jane",
            }
        ],
    )


def test_a_flood_of_differences_is_limited_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The limit is that of denials."""
    count, lines = record("deny", 5, caplog)
    assert (count, len(lines)) == (5, 2)


def test_without_an_audit_log_differences_are_only_counted(caplog: pytest.LogCaptureFixture) -> None:
    """They are written only if denials are written."""
    assert record("none", 3, caplog) == (3, [])
