"""Metrics, logs and audit records of a running gate."""
