"""A running gate: a configuration becomes a process that answers, and a signal ends it.

`service` starts, reloads and stops one gate, on the `ports` of its configuration. With several workers, a `supervisor`
forks `worker` processes that each run a service. It is imported only then.
"""

from authgate.compose import CompositionError
from authgate.server.listeners import ListenError
from authgate.service.limits import memory_limit, raise_limit, usable_cores, warnings_at_start
from authgate.service.process import SystemClock, tune_gc
from authgate.service.reload import ConfigFile
from authgate.service.service import Service

__all__ = [
    "CompositionError",
    "ConfigFile",
    "ListenError",
    "Service",
    "SystemClock",
    "memory_limit",
    "raise_limit",
    "tune_gc",
    "usable_cores",
    "warnings_at_start",
]
