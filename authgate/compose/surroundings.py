"""What every part of a composition needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from authgate.cluster.access import SERVICE_ACCOUNT_DIR
from authgate.issue.keys import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.metrics import Metrics
    from authgate.model import Clock
    from authgate.policy.shadow import Difference


class CompositionError(Exception):
    """The configuration is well-formed but cannot be put to work; the message names the field and what to do.

    `path` is the field's, as in `jwt[0].gate.staticKeys`; "" where it is unknown.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path

    def without_values(self) -> str:
        """Return the field, and nothing that the configuration or the files that it names hold."""
        return f"{self.path or 'configuration'}: cannot be put to work; the log has the reason"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a composition needs from outside the configuration."""

    clock: Clock
    metrics: Metrics
    environ: Mapping[str, str]
    service_account_dir: str = SERVICE_ACCOUNT_DIR
    on_difference: Callable[[Difference], None] = lambda _difference: None
    """What is told where a policy's shadow would have decided otherwise."""
    keep_claims: bool = False
    """Whether a policy or a header reads claims, so that verdicts have to keep them."""
    thorough: bool = False
    """Whether explanations are wanted: then the key is found, too, of a token that its time refuses."""
    made_key: SigningKey = field(default_factory=SigningKey.generate)
    """What signs where no key file is given: one key for the life of the process, whatever is reloaded."""
