"""CEL expressions with the semantics of the kube-apiserver: checked at load, with bounded cost, and false on errors.

Only importer of cel_expr_python and re2. They are loaded with the first expression.
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
    """Compile an expression, with the same checks as the kube-apiserver.

    Raises `ExpressionError` if it is invalid, and `MissingExtraError` if the packages to evaluate it are not installed.
    """
    from authgate.expressions.compile import compiled

    return compiled(text, sees, expects)
