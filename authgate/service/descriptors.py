"""File descriptors: how many the process may have, and how many of them client connections may take."""

from __future__ import annotations

import errno
import os
import resource
from typing import Final

_MOST: Final = 1_048_576
"""Beyond `limits.maxConnections`' own bound more are of no use, and some programs walk over all that they may have."""
_RESERVED: Final = 256
"""For what clients must not take: 64 connections of the admin port, those to issuers and API servers, files, logs."""


def raise_limit() -> int:
    """Raise the soft limit to the hard one, at most to 1,048,576, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return descriptor_limit()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # a sandbox may forbid it: the soft limit is what there is
        return soft
    return wanted


def descriptor_limit() -> int:
    """Return how many file descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else soft


def connections_for(configured: int, limit: int, listeners: int) -> int:
    """Return how many connections each of some listeners may have, so that `limit` descriptors suffice for all."""
    reserved = min(_RESERVED, limit // 2)
    return max(1, min(configured, (limit - reserved) // listeners))


def exhausted() -> bool:
    """Return whether the process has no descriptor left, by trying to get one."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    return False
