"""The composition root: a configuration becomes a running service, and a signal ends it in good order.

`live` is what answers requests, `generation` one configuration of it. `service` is the process that does it alone,
`supervisor`, which is imported where it is needed only, the one that has `worker`s do it.
"""

from authgate.compose import CompositionError
from authgate.server.listeners import ListenError
from authgate.service.bounds import memory_limit, warnings_at_start
from authgate.service.clock import SystemClock
from authgate.service.cores import usable_cores
from authgate.service.descriptors import raise_limit
from authgate.service.gc_tuning import tune_gc
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
