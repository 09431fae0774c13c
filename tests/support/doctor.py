"""Run the doctor for a configuration, and look up its findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from authgate.compose import Dependencies
from authgate.config import load
from authgate.observability.metrics import Metrics
from authgate.service import SystemClock
from authgate.tools.doctor import Level, examine
from authgate.vocabulary import SERVICE_ACCOUNT_DIR

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from authgate.model import Clock
    from authgate.tools.doctor import Finding


@dataclass(frozen=True, slots=True)
class Findings:
    """All findings."""

    all: tuple[Finding, ...]

    def of(self, level: Level) -> list[Finding]:
        """Return the findings of one level."""
        return [finding for finding in self.all if finding.level is level]

    @property
    def worst(self) -> Level:
        """The highest level of the findings."""
        return next((level for level in (Level.BAD, Level.WARNING) if self.of(level)), Level.GOOD)

    def about(self, subject: str) -> Finding:
        """Return the only finding whose subject ends with this text."""
        [found] = [finding for finding in self.all if finding.subject.endswith(subject)]
        return found


async def found(
    file: Path | None,
    *,
    clock: Clock | None = None,
    environ: Mapping[str, str] | None = None,
    service_account_dir: Path | None = None,
) -> Findings:
    """Return the findings for the configuration in a file."""
    environ = environ or {}
    folder = str(service_account_dir or SERVICE_ACCOUNT_DIR)
    deps = Dependencies(
        clock=clock or SystemClock(), metrics=Metrics(), environ=environ, service_account_dir=folder
    )
    return Findings(tuple(await examine(load(file, environ).config, deps)))
