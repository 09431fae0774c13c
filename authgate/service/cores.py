"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def usable_cores(root: Path = _ROOT, own: Path = _OWN) -> int:
    """Return the cores that the process may run on, and no more than its cgroups pay for.

    The lowest quota counts of the process's own cgroup and of every one above it, in cgroup v2 (`cpu.max`) and v1
    (`cpu.cfs_quota_us`). `root` is where cgroups are mounted, `own` lists those of the process.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _folders(root, own) if (quota := _quota(folder)) is not None]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas)]))


def _folders(root: Path, own: Path) -> Iterator[Path]:
    """Yield the folders that can hold a quota, from the process's own cgroup up to each mount.

    In a container the mount is often the cgroup itself while the path in `own` is the host's; the part of it that
    does not exist below the mount is then skipped.
    """
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
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
    """Return the cores that a cgroup pays for, None where it has no quota or is not there."""
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
