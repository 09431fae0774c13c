"""A server under measurement: one process on the server's core. It is ready when it answers, and stopped afterwards."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

SERVER_CORE = 0
CLIENT_CORE = 1
BOTH_CORES = f"{SERVER_CORE},{CLIENT_CORE}"
_WITHIN = 20.0
_POLL = 0.002
_CPUCLOCK_SCHED = 2  # include/linux/posix-timers.h


class ServerError(Exception):
    """A server was not ready in time. The text contains the end of its log."""


def pinned(cores: int | str, command: Sequence[str | Path]) -> list[str]:
    """Return the command with its CPU affinity set to one core, or to several such as "0,1"."""
    return ["taskset", "-c", str(cores), *map(str, command)]


def free_port() -> int:
    """Return a free loopback port below the ephemeral ones."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Server:
    """Runs during its `with`. `ready_after` is the time in seconds until its first successful answer."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        port: int,
        log: Path,
        path: str = "/verify",
        token: str = "",
        probe_port: int | None = None,
        environment: Mapping[str, str] | None = None,
        cores: int | str = SERVER_CORE,
    ) -> None:
        self.url = f"http://127.0.0.1:{port}{path}"
        self.ready_after = 0.0
        self._command = pinned(cores, command)
        self.admin_port = probe_port
        self._probe = (probe_port or port, "/readyz" if probe_port else path, token)
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        started = time.monotonic()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() - started > _WITHIN:
                self.stop()
                raise ServerError(
                    f"{' '.join(self._command)}: {self._log.read_text(errors='replace')[-2000:]}"
                )
            time.sleep(_POLL)
        self.ready_after = time.monotonic() - started
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the process, with SIGKILL after five seconds."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def rss_kb(self) -> int:
        """Resident memory in KiB (VmRSS)."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))

    def private_kb(self) -> int:
        """Memory in KiB that no other process shares (smaps). The rest of `rss_kb` is pages of common files."""
        assert self._process is not None
        lines = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

    def cpu_seconds(self) -> float:
        """CPU time of the process and its descendants so far. A busy neighbour hardly changes it, unlike a rate."""
        assert self._process is not None
        return sum(map(_cpu_seconds, _family(self._process.pid)))

    def _answers(self) -> bool:
        port, path, token = self._probe
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _family(pid: int) -> Iterator[int]:
    """Yield a process and its descendants."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _family(int(child))


def _cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process, exactly: /proc/PID/stat has only hundredths of a second.

    The clock's number is that of clock_getcpuclockid(3), which Python does not have.
    """
    return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
