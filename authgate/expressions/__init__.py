"""Expressions in CEL, as the kube-apiserver understands them: type-checked at load, bounded, and never true by mistake.

Only importer of cel_expr_python and re2, which are loaded with the first expression, as is all of this but its values.
"""

from authgate.expressions.values import (
    MAX_LENGTH,
    Expects,
    Expression,
    ExpressionError,
    Failed,
    MissingExtraError,
    Sees,
    Value,
    Variables,
)

__all__ = [
    "MAX_LENGTH",
    "Expects",
    "Expression",
    "ExpressionError",
    "Failed",
    "MissingExtraError",
    "Sees",
    "Value",
    "Variables",
    "compile_expression",
]


def compile_expression(text: str, sees: Sees, expects: Expects) -> Expression:
    """Return the expression that `text` writes, checked as the kube-apiserver checks it.

    Raises `ExpressionError` where it can't be used, and `MissingExtraError` where no package is there to evaluate it.
    """
    from authgate.expressions.compile import compiled

    return compiled(text, sees, expects)
