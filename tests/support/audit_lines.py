"""Audit lines, checked against docs/audit.schema.json."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jsonschema import Draft202012Validator

from authgate.observability.log import AUDIT, formatter_of

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "docs" / "audit.schema.json").read_text()
)
_VALIDATOR: Final = Draft202012Validator(SCHEMA)


def problems_of(line: object) -> list[str]:
    """Return how an audit line violates the schema."""
    return [
        f"{inner.json_path}: {inner.message}"
        for error in _VALIDATOR.iter_errors(line)
        for inner in (error, *(error.context or ()))
    ]


def audit_lines(log: str | Iterable[str]) -> list[dict[str, Any]]:
    """Return the audit lines of a log in JSON, each as the schema requires; other lines are ignored."""
    found = []
    for text in log.splitlines() if isinstance(log, str) else log:
        try:
            line = json.loads(text)
        except ValueError:  # a warning of Python, or a line that a killed process did not finish
            continue
        if isinstance(line, dict) and line.get("scope") == AUDIT:
            assert problems_of(line) == [], text
            found.append(line)
    return found


class AuditCheck(logging.Handler):
    """Check every audit line of this process."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(formatter_of("json"))
        self.problems: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the problems of a line."""
        text = self.format(record)
        self.problems += (f"{problem} in {text}" for problem in problems_of(json.loads(text)))
