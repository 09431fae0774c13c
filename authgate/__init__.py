"""authgate: report to a proxy who sent a request, and whether it is allowed."""

__version__ = "0.2.0"
