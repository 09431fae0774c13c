"""The gate's log, sent into memory."""

from __future__ import annotations

import io
import json
from typing import Any

from authgate.observability.log import Format, configure


def configured(level: str = "info", format_: Format = "json") -> io.StringIO:
    """A stream that the log goes to."""
    stream = io.StringIO()
    configure(level, format_, stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The lines of a JSON log."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]
