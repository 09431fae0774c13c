"""The log: one JSON line per event, with OpenTelemetry's attribute names and without tokens.

Loggers of other libraries are set to WARNING, since at lower levels some print whole requests and responses. Everything
that looks like a token is masked before it is written.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, Literal

from authgate.timestamps import utc

if TYPE_CHECKING:
    from typing import TextIO

    from authgate.observability.log_writer import BackgroundWriter

LOGGER: Final = "authgate"
AUDIT: Final = "authgate.audit"
Format = Literal["json", "text"]
# The API server's own text "bearer token" is not masked.
_TOKEN_LIKE = re.compile(
    r"(?i)bearer\s+(?!token[,.;:]?(?:\s|$))\S+|eyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)*"
)
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_OTEL_SEVERITY: Final = {
    10: ("DEBUG", 5),
    20: ("INFO", 9),
    30: ("WARN", 13),
    40: ("ERROR", 17),
    50: ("FATAL", 21),
}
_CONTROLS: Final = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}
_MAX_CHARS = 8192
_MIN_PART = 8


def configure(level: str, format_: Format, stream: TextIO | BackgroundWriter | None = None) -> None:
    """Send the log to `stream` (default: standard error) at `level`, and that of libraries at WARNING or above."""
    handler: logging.StreamHandler[TextIO | BackgroundWriter] = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter_of(format_))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    logging.getLogger(AUDIT).setLevel(logging.INFO)  # only log.audit turns the audit log off
    # aiohttp quotes the request in its error lines; the server package logs these errors itself
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)


def set_level(level: str) -> None:
    """Log at `level` from now on, and what libraries log at WARNING or above."""
    logging.getLogger().setLevel(max(logging.WARNING, _LEVELS[level]))
    logging.getLogger(LOGGER).setLevel(_LEVELS[level])


def formatter_of(format_: Format) -> logging.Formatter:
    """Return the formatter of the log's lines."""
    return _JSONFormatter() if format_ == "json" else _TextFormatter()


def event(level: int, message: str, **attributes: object) -> None:
    """Log one event; attribute names use underscores for the dots of OpenTelemetry (`error_type` is `error.type`)."""
    logging.getLogger(LOGGER).log(level, message, extra={"attributes": attributes})


class Transitions:
    """Remember the last state of each subject, so that a lasting state is logged once."""

    def __init__(self) -> None:
        self._states: dict[str, object] = {}

    def changed(self, subject: str, state: object) -> bool:
        """Return whether the state of `subject` differs from that of the last call."""
        if subject in self._states and self._states[subject] == state:
            return False
        self._states[subject] = state
        return True


def masked(text: str, *secrets: str) -> str:
    """Return `text` without the given secrets and without anything that looks like a token, and limit its length.

    Each dot-separated part of a secret is masked, too, since the failed code may have held parts of the token.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, "…")
            for part in secret.split("."):
                text = text.replace(part, "…") if len(part) >= _MIN_PART else text
    return _TOKEN_LIKE.sub("…", text)[:_MAX_CHARS]


def traceback_of(error: BaseException, *secrets: str) -> str:
    """Return an exception's traceback for the log, with all secrets masked."""
    return masked("".join(traceback.format_exception(error)), *secrets)


def _attributes(record: logging.LogRecord) -> dict[str, Any]:
    attributes: dict[str, Any] = dict(getattr(record, "attributes", {}))
    if record.exc_info and record.exc_info[1] is not None:
        attributes["exception_stacktrace"] = traceback_of(record.exc_info[1])
    return attributes


def _trace(record: logging.LogRecord) -> dict[str, str]:
    trace = getattr(record, "trace", None)
    return {} if trace is None else {"trace_id": trace.trace_id, "span_id": trace.span_id}


def _masked_value(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case list() | tuple():
            return [_masked_value(item) for item in value]
        case _:
            return masked(str(value))


class _JSONFormatter(logging.Formatter):
    """One line of JSON: Timestamp, SeverityText, SeverityNumber, Body, Attributes (OpenTelemetry logs data model)."""

    def format(self, record: logging.LogRecord) -> str:
        text, number = _OTEL_SEVERITY.get(record.levelno, ("INFO", 9))
        line = {
            "timestamp": utc(record.created).isoformat(timespec="milliseconds"),
            "severity_text": text,
            "severity_number": number,
            "scope": record.name,
            "body": masked(record.getMessage()),
            **_trace(record),
            "attributes": {
                name.replace("_", "."): _masked_value(value) for name, value in _attributes(record).items()
            },
        }
        return json.dumps(line)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text, _ = _OTEL_SEVERITY.get(record.levelno, ("INFO", 9))
        time = utc(record.created).strftime("%H:%M:%S")
        attributes = _attributes(record) | _trace(record)
        stack = attributes.pop("exception_stacktrace", None)
        # An entry is one line, even if a value has line breaks. Only a traceback takes several lines.
        parts = [
            f"{name.replace('_', '.')}={str(value).translate(_CONTROLS)}"
            for name, value in attributes.items()
        ]
        parts += [f"exception.stacktrace={stack}"] if stack is not None else []
        return masked(" ".join([time, f"{text:5}", record.getMessage(), *parts]))
