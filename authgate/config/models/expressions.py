"""Whether a text is an expression, told where it stands, with a caret under the place that is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from authgate.config.problems import Finding, Path
from authgate.expressions import (
    Expects,
    Expression,
    ExpressionError,
    MissingExtraError,
    Sees,
    compile_expression,
)


def expression_findings(path: Path, text: str, sees: Sees, expects: Expects) -> Iterator[Finding]:
    """Yield why a text is no expression that can be used, or nothing."""
    try:
        compile_expression(text, sees, expects)
    except ExpressionError as error:
        yield Finding(path, error.pointed)
    except MissingExtraError as error:
        yield Finding(path, str(error))


def understood(text: str, sees: Sees, expects: Expects) -> Expression | None:
    """Return the expression, or None where `expression_findings` reports why it cannot be used."""
    try:
        return compile_expression(text, sees, expects)
    except (ExpressionError, MissingExtraError):
        return None


def claims_of(text: str) -> frozenset[str]:
    """Return the claims that an expression asks for; none where it is wrong."""
    expression = understood(text, Sees.CLAIMS, Expects.ANY)
    return frozenset() if expression is None else expression.claims
