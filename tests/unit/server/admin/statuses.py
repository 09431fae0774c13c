"""A status for the page. Tests change one part of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from authgate.server.admin import Check, Readiness
from authgate.server.admin.status import ConfigurationDetails, GateStatus

READY: Final = Readiness(True, (Check("shutdown", True, "not ending"),))
_STATUS: Final = GateStatus(
    now=1_800_000_090.0,
    started_at=1_800_000_000.0,
    readiness=READY,
    configuration=ConfigurationDetails(
        path="/etc/authgate.yaml", sha256="ab" * 32, applied_at=1_800_000_000.0
    ),
    workers=1,
    restarts=0,
    processes=1,
    inspected=1,
    verifiers=(),
    more_verifiers=0,
    policies=(),
    more_policies=0,
    reasons=(),
    recent=None,
    caches=(),
)


def status_with(**changes: Any) -> GateStatus:
    """Return the status of a gate that is ready, with these changes."""
    return replace(_STATUS, **changes)
