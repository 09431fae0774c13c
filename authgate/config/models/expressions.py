"""Fields that hold a CEL expression, which is compiled when the configuration is read; errors have a caret."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import AfterValidator

from authgate.config.models.fields import refuse
from authgate.config.problems import Finding, Path
from authgate.expressions import (
    Expects,
    Expression,
    ExpressionError,
    MissingExtraError,
    Sees,
    compile_expression,
)


def over(sees: Sees, expects: Expects) -> AfterValidator:
    """Return a validator that refuses a text that is not an expression over these variables."""

    def check(text: str) -> str:
        compiled(text, sees, expects)
        return text

    return AfterValidator(check)


def compiled(text: str, sees: Sees, expects: Expects) -> Expression:
    """Return a compiled expression; refuses the value under validation if it is not an expression."""
    try:
        return compile_expression(text, sees, expects)
    except ExpressionError as error:
        refuse(Finding((), error.pointed))
    except MissingExtraError as error:
        refuse(Finding((), str(error)))


def why_not(path: Path, text: str, sees: Sees, expects: Expects) -> Iterator[Finding]:
    """Yield why a text that is an expression over more variables is not one over these, or nothing."""
    try:
        compile_expression(text, sees, expects)
    except ExpressionError as error:
        yield Finding(path, error.pointed)
