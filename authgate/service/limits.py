"""The limits of this process: file descriptors, and the memory and cores that its cgroups allow."""

from __future__ import annotations

import errno
import math
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authgate.config import Config

_MAX_DESCRIPTORS: Final = 1_048_576
"""More is useless beyond the bound of `limits.maxConnections`, and some programs loop over all possible descriptors."""
_RESERVED_DESCRIPTORS: Final = 256
"""Not for clients: 64 connections of the admin port, connections to issuers and API servers, files, logs."""
_MIB: Final = 1 << 20
_PROCESS: Final = 71 * _MIB
"""A gate that has loaded everything, with some policies and key sets."""
_READER: Final = 25 * _MIB
"""What the child process that reads the configuration does not share, at startup and for a reload."""
_CONNECTION: Final = 8192
_GRPC_CONNECTION: Final = 24576
_TLS_CONNECTION: Final = 212992
"""One that has once filled the event loop's buffer for TLS; an idle one takes a quarter of it."""
_UNLIMITED: Final = 1 << 60
"""From here on a number of cgroup v1 means that there is no limit."""
_CGROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")


def raise_limit() -> int:
    """Raise the soft limit of file descriptors to the hard one, at most to 1,048,576, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return descriptor_limit()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # a sandbox may forbid it
        return soft
    return wanted


def descriptor_limit() -> int:
    """Return how many file descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def exhausted() -> bool:
    """Return whether the process has no free descriptor, by opening one."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    return False


def connections_for(configured: int, limit: int, listeners: int) -> int:
    """Return how many connections each of `listeners` may have so that `limit` descriptors suffice for all."""
    reserved = min(_RESERVED_DESCRIPTORS, limit // 2)
    return max(1, min(configured, (limit - reserved) // listeners))


def listeners_of(config: Config) -> int:
    """Return how many ports have their own limit of connections: verify, exchange, gRPC."""
    return 1 + (config.exchange is not None) + (config.server.grpc is not None)


def warnings_at_start(
    config: Config, processes: int, *, descriptors: int, memory: int | None
) -> Iterator[str]:
    """Yield a warning for each configured limit that exceeds what the process has."""
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
            f"the cgroup's memory limit is {memory // _MIB} MiB, but the configured limits allow {needed // _MIB} MiB: "
            "clients could make the kernel kill the gate. Raise the memory limit, or lower cache.maxBytes, "
            "limits.maxConnections or limits.maxUnfinishedHeaderBytes"
        )


def memory_needed(config: Config, processes: int, descriptors: int) -> int:
    """Return the bytes of memory that these processes need when clients reach every limit (docs/limits.md)."""
    server, exchange = config.server, config.exchange
    each = _TLS_CONNECTION if server.tls else _CONNECTION
    if server.grpc is not None:
        each += _TLS_CONNECTION if server.tls else _GRPC_CONNECTION
    if exchange is not None:
        each += _TLS_CONNECTION if exchange.tls else _CONNECTION
    connections = connections_for(config.limits.max_connections, descriptors, listeners_of(config))
    heads = config.limits.max_unfinished_header_bytes
    return processes * (_PROCESS + connections * each + heads + config.cache.max_bytes) + _READER


def memory_limit(root: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int | None:
    """Return the lowest memory limit of the process's cgroup and of those above it (v1 and v2), or None."""
    try:
        lines = membership.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        lines = []
    limits = [_number(file) for file in _memory_files(root, lines)]
    return min((limit for limit in limits if limit is not None and limit < _UNLIMITED), default=None)


def usable_cores(root: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return how many cores the process may run on, limited by the quotas of its cgroups.

    The lowest quota of the process's own cgroup and of those above it counts, in cgroup v2 (`cpu.max`) and v1
    (`cpu.cfs_quota_us`). Cgroups are mounted at `root`; `membership` lists those of the process.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _cpu_folders(root, membership) if (quota := _quota(folder)) is not None]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas)]))


def _memory_files(root: Path, lines: list[str]) -> Iterator[Path]:
    yield root / "memory.max"  # a container may see only its own cgroup
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


def _cpu_folders(root: Path, membership: Path) -> Iterator[Path]:
    """Yield the folders that can hold a quota, from the process's own cgroup up to each mount.

    In a container the mount is often the cgroup itself, while the path in `membership` is the host's. Folders that do
    not exist below the mount are skipped later.
    """
    try:
        lines = membership.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = ["0::/"]
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mounts = [root, root / "unified"]
        elif "cpu" in controllers.split(","):
            mounts = [root / controllers, root / "cpu"]
        else:
            continue
        parts = [part for part in path.split("/") if part not in {"", "."}]
        if ".." in parts:  # the cgroup is outside this namespace
            parts = []
        for mount in mounts:
            yield from (mount.joinpath(*parts[:length]) for length in range(len(parts), -1, -1))


def _quota(folder: Path) -> float | None:
    """Return the number of cores that a cgroup's quota allows, or None if it has no quota or does not exist."""
    try:
        if (v2 := folder / "cpu.max").exists():
            most, period = v2.read_text(encoding="ascii").split()
        else:
            most = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        quota = int(most) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no cgroup here
        return None
    return quota if quota > 0 else None  # -1 in v1: no quota
