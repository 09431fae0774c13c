"""The composition root: a configuration becomes a running service, and a signal ends it in good order.

`live` is what answers requests, `generation` one configuration of it. `service` is the process that does it alone,
`supervisor`, which is imported where it is needed only, the one that has `worker`s do it.
"""

from authgate.app.bounds import memory_limit, warnings_at_start
from authgate.app.clock import SystemClock
from authgate.app.collector import settle_collector
from authgate.app.cores import usable_cores
from authgate.app.descriptors import raise_limit
from authgate.app.reload import ConfigFile
from authgate.app.service import Service
from authgate.compose import CompositionError
from authgate.server.listeners import ListenError

__all__ = [
    "CompositionError",
    "ConfigFile",
    "ListenError",
    "Service",
    "SystemClock",
    "memory_limit",
    "raise_limit",
    "settle_collector",
    "usable_cores",
    "warnings_at_start",
]
