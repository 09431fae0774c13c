"""The metrics that every Prometheus exporter has about its process, summed over several processes (Linux only)."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PROC: Final = Path("/proc")
_FAMILIES: Final = (
    ("process_cpu_seconds_total", "counter", "User and system CPU time in seconds."),
    ("process_resident_memory_bytes", "gauge", "Resident memory in bytes."),
    ("process_virtual_memory_bytes", "gauge", "Virtual memory in bytes."),
    ("process_start_time_seconds", "gauge", "Unix time of the start of the oldest process."),
    ("process_open_fds", "gauge", "Open file descriptors."),
    ("process_max_fds", "gauge", "Most file descriptors that can be open."),
)


def process_metrics(pids: Iterable[int]) -> str:
    """Return the metrics in Prometheus' text format. Processes that have ended are ignored.

    CPU time includes that of children that have ended, so the sum does not fall when a worker is restarted.
    """
    processes = list(_readable(pids))
    if not processes:
        return ""
    cpu, resident, virtual, start, descriptors, limit = zip(*processes, strict=True)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    children = ended.ru_utime + ended.ru_stime
    values = (sum(cpu, children), sum(resident), sum(virtual), min(start), sum(descriptors), sum(limit))
    return "".join(
        f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name} {float(number)!r}\n"
        for (name, kind, text), number in zip(_FAMILIES, values, strict=True)
    )


def _readable(pids: Iterable[int]) -> Iterator[tuple[float, ...]]:
    with suppress(OSError, ValueError):
        booted = next(
            float(line.split()[1])
            for line in (_PROC / "stat").read_text("ascii").splitlines()
            if line.startswith("btime ")
        )
        for pid in pids:
            with suppress(OSError):
                yield _read(_PROC / str(pid), booted)


def _read(folder: Path, booted: float) -> tuple[float, ...]:
    """Return the values of one process. The fields of `stat` are counted from the third one (proc_pid_stat(5))."""
    fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return (
        (int(fields[11]) + int(fields[12])) / ticks,
        int(fields[21]) * resource.getpagesize(),
        int(fields[20]),
        booted + int(fields[19]) / ticks,
        sum(1 for _ in os.scandir(folder / "fd")),
        _limit(folder),
    )


def _limit(folder: Path) -> float:
    lines = (folder / "limits").read_text("ascii").splitlines()
    soft = next(line.split()[3] for line in lines if line.startswith("Max open files"))
    return float("inf") if soft == "unlimited" else int(soft)
