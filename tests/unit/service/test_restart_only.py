"""Which settings a reload changes, and which need a restart."""

from __future__ import annotations

from typing import Any

import pytest

from authgate.config import Config, load
from authgate.service.restart_only import keep_restart_only, pending_restart


def config(**variables: Any) -> Config:
    """Return a configuration with these environment variables, such as SERVER__LISTEN."""
    env = {f"AUTHGATE_{name}": str(value) for name, value in variables.items()}
    return load(None, {"AUTHGATE_CLUSTER__AUDIENCES": "a", **env}).config


def test_a_reload_changes_what_decisions_depend_on() -> None:
    """These are clusters, issuers, policies, headers and the cache."""
    new = config(CLUSTER__AUDIENCES="b", HEADERS__PRESET="remote", CACHE__TTL="5s")
    taken = keep_restart_only(config(), new)

    assert taken == new
    assert list(pending_restart(config(), new)) == []


def test_a_reload_changes_the_proxy() -> None:
    """Policies trust its headers, so both must change together."""
    new = config(SERVER__PROXY="envoy")

    assert keep_restart_only(config(), new).server.proxy == "envoy"
    assert list(pending_restart(config(), new)) == []


def test_a_reload_changes_the_log() -> None:
    """An operator can look closer without losing cached keys."""
    new = config(LOG__LEVEL="debug", LOG__AUDIT="all", LOG__AUDIT_FIELDS__PATH="none")

    assert keep_restart_only(config(), new) == new
    assert list(pending_restart(config(), new)) == []


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("SERVER__LISTEN", "127.0.0.1:1", "server.listen"),
        ("SERVER__ADMIN", "null", "server.admin"),
        ("SERVER__WORKERS", "4", "server.workers"),
        ("SERVER__FAST_LANE", "false", "server.fastLane"),
        ("SERVER__RELOAD_INTERVAL", "1s", "server.reloadInterval"),
        ("LIMITS__MAX_TOKEN_BYTES", "300", "limits.maxTokenBytes"),
        ("LOG__FORMAT", "text", "log.format"),
        ("SHUTDOWN__DELAY", "1s", "shutdown.delay"),
        ("TRACING__RATIO", "0.5", "tracing"),
    ],
)
def test_settings_that_need_a_restart_are_kept_and_named(variable: str, value: str, name: str) -> None:
    """The name is the path in the file."""
    new = config(**{variable: value})

    assert keep_restart_only(config(), new) == config()
    assert list(pending_restart(config(), new)) == [name]
