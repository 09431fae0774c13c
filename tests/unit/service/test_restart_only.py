"""What a reload changes, and what waits for a restart."""

from __future__ import annotations

from typing import Any

import pytest

from authgate.config import Config, load
from authgate.service.restart_only import keep_restart_only, pending_restart


def config(**variables: Any) -> Config:
    """A configuration with these variables, such as SERVER__LISTEN."""
    env = {f"AUTHGATE_{name}": str(value) for name, value in variables.items()}
    return load(None, {"AUTHGATE_CLUSTER__AUDIENCES": "a", **env}).config


def test_what_is_decided_changes() -> None:
    """Clusters, issuers, policies, headers and the cache are the new configuration's."""
    new = config(CLUSTER__AUDIENCES="b", HEADERS__PRESET="remote", CACHE__TTL="5s")
    taken = keep_restart_only(config(), new)

    assert taken == new
    assert list(pending_restart(config(), new)) == []


def test_the_proxy_belongs_to_what_is_decided() -> None:
    """Policies trust its headers: those of another one must not be read with them."""
    new = config(SERVER__PROXY="envoy")

    assert keep_restart_only(config(), new).server.proxy == "envoy"
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
        ("LOG__LEVEL", "error", "log.level"),
        ("SHUTDOWN__DELAY", "1s", "shutdown.delay"),
    ],
)
def test_what_is_settled_at_start_stays_and_is_named(variable: str, value: str, name: str) -> None:
    """By its path in the file."""
    new = config(**{variable: value})

    assert keep_restart_only(config(), new) == config()
    assert list(pending_restart(config(), new)) == [name]
