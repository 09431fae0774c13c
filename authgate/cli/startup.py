"""What a process needs before anything slow is imported: signals that end it, and three standard descriptors."""

from __future__ import annotations

import os
import signal
import sys
import time


def prepare_process() -> None:
    """Let SIGTERM and SIGINT end a process 1 from now on, and open /dev/null for closed standard descriptors.

    Where the clock is so wrong that Python cannot read it, end with one line: the import of `logging` would fail.

    The kernel drops signals to process 1 that have no handler. A descriptor that is closed at start would otherwise
    be given to a socket, and the log be written to it.
    """
    if os.getpid() == 1:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: os._exit(0))
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(descriptor, True)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w", encoding="utf-8", closefd=False))  # noqa: SIM115 - stays open
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - stays open
    try:
        time.time()
    except OverflowError:
        sys.exit(
            "authgate: the system clock is wrong: it is later than April 2262; set it, for example with NTP"
        )
