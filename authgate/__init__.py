"""authgate: tells a proxy who sent a request and whether they may pass."""

__version__ = "0.1.0"
