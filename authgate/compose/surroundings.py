"""What every part of a composition needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from authgate.cluster.access import SERVICE_ACCOUNT_DIR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.metrics import Metrics
    from authgate.model import Clock


class CompositionError(Exception):
    """The configuration is well-formed but cannot be put to work; the message names the field and what to do."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a composition needs from outside the configuration."""

    clock: Clock
    metrics: Metrics
    environ: Mapping[str, str]
    service_account_dir: str = SERVICE_ACCOUNT_DIR
