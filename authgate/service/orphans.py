"""Orphans: ended processes that the kernel gives to process 1, which must collect their exit status."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container


def reap_orphans(own: Container[int] = ()) -> None:
    """Collect the exit status of every ended child; stop at the first in `own`, whose status is for its owner.

    Without this, each orphan of process 1 keeps its entry in the process table. Other processes get no orphans, and
    there this does nothing.
    """
    if os.getpid() != 1:
        return
    while (pid := _ended_child()) is not None and pid not in own:
        os.waitpid(pid, os.WNOHANG)


def _ended_child() -> int | None:
    """Return an ended child's process id and leave its status in place; the kernel names the same one until then."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if ended is None else ended.si_pid
