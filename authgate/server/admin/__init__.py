"""The admin port: metrics, probes, the status of every issuer and cluster, and a page for people.

`handler` answers requests, `status` has the values that it shows, and `page` renders them. It is never the verify port.
"""

from authgate.server.admin.handler import AdminHandler, admin_runner
from authgate.server.admin.status import Check, Readiness

__all__ = ["AdminHandler", "Check", "Readiness", "admin_runner"]
