"""What every part of a composition needs."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from authgate.cluster.connection import SERVICE_ACCOUNT_DIR, RunningPrograms
from authgate.config.problems import dotted
from authgate.signing.keys import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from authgate.model import Clock
    from authgate.observability.metrics import Metrics
    from authgate.policy.shadow import Difference


class CompositionError(Exception):
    """The configuration is well-formed but cannot be put to work; the message names the field and what to do.

    `path` leads to the field, as `("jwt", 0, "gate", "staticKeys")`; it is empty where the field is unknown. `reason`
    is the message without the field.
    """

    def __init__(self, message: str, path: tuple[str | int, ...] = (), reason: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.reason = reason or message

    def without_values(self) -> str:
        """Return the field, and nothing that the configuration or the files that it names hold."""
        return f"{dotted(self.path) or 'configuration'}: cannot be put to work; the log has the reason"


@contextmanager
def placed(*path: str | int) -> Iterator[None]:
    """Have a `CompositionError` from within lead to a field below `path`."""
    try:
        yield
    except CompositionError as error:
        error.path = (*path, *error.path)
        raise


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a composition needs from outside the configuration."""

    clock: Clock
    metrics: Metrics
    environ: Mapping[str, str]
    service_account_dir: str = SERVICE_ACCOUNT_DIR
    on_difference: Callable[[Difference], None] = lambda _difference: None
    """What is told where a policy's shadow would have decided otherwise."""
    keep_claims: bool = False
    """Whether a policy or a header reads claims, so that verdicts have to keep them."""
    verify_expired: bool = False
    """Whether explanations are wanted: then the key is found, too, of a token that its time refuses."""
    made_key: SigningKey = field(default_factory=SigningKey.generate)
    """What signs where no key file is given: one key for the life of the process, whatever is reloaded."""
    programs: RunningPrograms = field(default_factory=RunningPrograms)
