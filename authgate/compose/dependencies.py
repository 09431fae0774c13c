"""What every part of a composition needs, and the error when one fails."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from authgate.cluster.running_programs import RunningPrograms
from authgate.config.problems import dotted
from authgate.expressions import ExpressionError, MissingExtraError, compile_expression
from authgate.signing.keys import SigningKey
from authgate.vocabulary import SERVICE_ACCOUNT_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from authgate.expressions import Expects, Expression, Sees
    from authgate.model import Clock
    from authgate.observability.metrics import Metrics
    from authgate.observability.tracing import Tracing


class CompositionError(Exception):
    """A well-formed configuration cannot be used. The message names the field and what to do.

    `path` is the field's path, such as `("jwt", 0, "gate", "staticKeys")`, or empty if the field is unknown. `reason`
    is the message without the field.
    """

    def __init__(self, message: str, path: tuple[str | int, ...] = (), reason: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.reason = reason or message

    def without_values(self) -> str:
        """Return the field without any value from the configuration or the files that it names."""
        return f"{dotted(self.path) or 'configuration'}: cannot be used; the log has the reason"


@contextmanager
def placed(*path: str | int) -> Iterator[None]:
    """Prepend `path` to the path of a `CompositionError` raised inside."""
    try:
        yield
    except CompositionError as error:
        error.path = (*path, *error.path)
        raise


def compiled(text: str, sees: Sees, expects: Expects, place: str) -> Expression:
    """Return the expression at a place of the configuration; raise `CompositionError` if it is invalid."""
    try:
        return compile_expression(text, sees, expects)
    except (ExpressionError, MissingExtraError) as error:
        raise CompositionError(f"{place}: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What a composition needs besides the configuration."""

    clock: Clock
    metrics: Metrics
    environ: Mapping[str, str]
    service_account_dir: str = SERVICE_ACCOUNT_DIR
    keep_claims: bool = False
    """Whether a policy or a header reads claims, so that verdicts must keep them."""
    verify_expired: bool = False
    """Whether to find the key of an expired token, too, as `explain` does."""
    generated_key: Callable[[], SigningKey] = field(default_factory=lambda: cache(SigningKey.generate))
    """Returns the key that signs tokens if no key file is configured. It stays the same over reloads."""
    programs: RunningPrograms = field(default_factory=RunningPrograms)
    tracing: Tracing | None = None
