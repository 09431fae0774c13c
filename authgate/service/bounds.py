"""What the configured bounds add up to: memory, held against the process's cgroup, and file descriptors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from authgate.service.descriptors import connections_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authgate.config import Config

_MIB: Final = 1 << 20
_PROCESS: Final = 96 * _MIB
"""A gate that has loaded everything, with some policies and key sets."""
_CONNECTION: Final = 8192
_GRPC_CONNECTION: Final = 24576
_TLS_CONNECTION: Final = 212992
"""One that has once received as much as fits into the loop's buffer for TLS; an idle one takes a quarter of it."""
_UNLIMITED: Final = 1 << 60
"""From here on a number of cgroup v1 means that there is no limit."""
_CGROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")


def listeners_of(config: Config) -> int:
    """Return how many ports have connections of their own: verify, exchange, gRPC."""
    return 1 + (config.exchange is not None) + (config.server.grpc is not None)


def memory_needed(config: Config, processes: int, descriptors: int) -> int:
    """Return the bytes of memory that these processes can need when clients use every bound (docs/limits.md)."""
    server, exchange = config.server, config.exchange
    each = _TLS_CONNECTION if server.tls else _CONNECTION
    if server.grpc is not None:
        each += _TLS_CONNECTION if server.tls else _GRPC_CONNECTION
    if exchange is not None:
        each += _TLS_CONNECTION if exchange.tls else _CONNECTION
    connections = connections_for(config.limits.max_connections, descriptors, listeners_of(config))
    heads = config.limits.max_unfinished_header_bytes
    return processes * (_PROCESS + connections * each + heads + config.cache.max_bytes)


def memory_limit(root: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int | None:
    """Return the least memory limit of the process's cgroup and of those around it (v1 and v2), or None."""
    try:
        lines = membership.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        lines = []
    limits = [_number(file) for file in _limit_files(root, lines)]
    return min((limit for limit in limits if limit is not None and limit < _UNLIMITED), default=None)


def warnings_at_start(
    config: Config, processes: int, *, descriptors: int, memory: int | None
) -> Iterator[str]:
    """Yield a sentence for each configured bound that exceeds what the process has."""
    possible = connections_for(config.limits.max_connections, descriptors, listeners_of(config))
    if possible < config.limits.max_connections:
        yield (
            f"limits.maxConnections: {config.limits.max_connections} is more than {descriptors} file descriptors "
            f"allow; {possible} connections are accepted on each listener. "
            "Raise the hard limit (LimitNOFILE=, ulimit -Hn)"
        )
    needed = memory_needed(config, processes, descriptors)
    if memory is not None and memory < needed:
        yield (
            f"the cgroup's memory limit is {memory // _MIB} MiB, but the configured bounds allow {needed // _MIB} MiB, "
            "so clients could have the gate killed. Raise the limit, or lower cache.maxBytes, limits.maxConnections or "
            "limits.maxUnfinishedHeaderBytes"
        )


def _limit_files(root: Path, lines: list[str]) -> Iterator[Path]:
    yield root / "memory.max"  # where a container sees its own cgroup only
    yield root / "memory" / "memory.limit_in_bytes"
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            base, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts)):
            yield base.joinpath(*parts[: depth + 1]) / name


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such file, or "max"
        return None
