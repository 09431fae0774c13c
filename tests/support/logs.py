"""The gate's log in memory."""

from __future__ import annotations

import io
import json
from typing import Any

from authgate.observability.log import Format, configure


def configured(level: str = "info", format_: Format = "json") -> io.StringIO:
    """Configure the log; return the stream that it is written to."""
    stream = io.StringIO()
    configure(level, format_, stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the records of a JSON log."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]
