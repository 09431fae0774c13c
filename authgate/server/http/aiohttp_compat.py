"""Check that the fast lane works with the installed aiohttp.

The lane updates the state of aiohttp's connection class itself, so it depends on the exact source of a few methods. It
was tested with the version below. Another version is fine if those methods have the same source.
"""

from __future__ import annotations

import hashlib
import inspect
from typing import Final

import aiohttp
from aiohttp.base_protocol import BaseProtocol
from aiohttp.web_protocol import RequestHandler

PROVEN_VERSION: Final = "3.14.5"
PROVEN_SOURCE: Final = "1d6c080feda89b9de7795fbd4714321963a9c607bfa88da7bea108651c92b8a6"
_RELIED_ON: Final = (
    RequestHandler.__init__,
    RequestHandler.connection_made,
    RequestHandler.data_received,
    RequestHandler.start,
    RequestHandler.close,
    RequestHandler.force_close,
    RequestHandler._process_keepalive,  # noqa: SLF001 - that the lane depends on it is what this module is for
    RequestHandler.keep_alive,
    BaseProtocol.pause_writing,
    BaseProtocol.resume_writing,
)


def source_digest() -> str:
    """Return a digest of the installed source of the methods that the lane depends on, "" if there is no source."""
    try:
        text = "".join(inspect.getsource(method) for method in _RELIED_ON)
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(text.encode()).hexdigest()


def lane_fits(version: str = aiohttp.__version__) -> bool:
    """Return whether the lane may be used with the installed aiohttp of this version."""
    return version == PROVEN_VERSION or source_digest() == PROVEN_SOURCE
