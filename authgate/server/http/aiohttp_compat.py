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
PROVEN_SOURCE: Final = "a87f9741e5cf033b2b15a472f7eb75251bc29bd812ae92765a2afd22bfdd08db"
_RELIED_ON: Final = (
    RequestHandler.__init__,
    RequestHandler.connection_made,
    RequestHandler.data_received,
    RequestHandler.start,
    RequestHandler._handle_request,  # noqa: SLF001 - that the lane depends on it is what this module is for
    RequestHandler.close,
    RequestHandler.force_close,
    RequestHandler._process_keepalive,  # noqa: SLF001
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
