"""Taking over the configuration file when it changes, and keeping the one before where the new one is no good."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from authgate.backoff import backoff
from authgate.compose import CompositionError
from authgate.config import ConfigError
from authgate.config.reading.file_references import named_files
from authgate.observability.log import event
from authgate.server.admin import Check
from authgate.service.restart_only import pending_restart
from authgate.timestamps import date

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from authgate.config import Config, LoadedConfig
    from authgate.observability.metrics import Metrics

_State = tuple[int, int, int, int] | None
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0


class ConfigFile:
    """The file of a configuration, to be made before it is first read; `load` reads it with environment and flags."""

    def __init__(self, path: Path, load: Callable[[], LoadedConfig]) -> None:
        self.path = path
        self._load = load
        self._taken = self._last = self._state()

    def read(self) -> LoadedConfig:
        """Return what the file says now; raises `ConfigError`."""
        self._taken = self._last = self._state()
        return self._load()

    def changed(self) -> bool:
        """Tell once that another file stands there, and has been the same for two looks: nobody writes it any more.

        A link that leads to another file, as Kubernetes swaps them in a mounted ConfigMap, is another file.
        """
        last, self._last = self._last, self._state()
        if self._last == self._taken or self._last != last:
            return False
        self._taken = self._last
        return True

    def _state(self) -> _State:
        return _state_of(self.path)


def _state_of(path: Path | str) -> _State:
    try:
        found = os.stat(path)  # noqa: PTH116 - Path.stat is the same
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Retry:
    """When a rejected configuration is tried again: after an interval that doubles, or when a named file changes.

    Times are monotonic seconds. A pause is never shorter than the reload interval nor, beyond that, longer than 30 s.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._rejections = 0
        self._due_at = 0.0
        self._files: dict[str, _State] = {}
        self._pending = False

    def rejected(self, files: Iterable[str], now: float) -> None:
        """Plan the next attempt; `files` are those that the rejected configuration names."""
        shortest = max(self._interval, _FIRST_PAUSE)
        self._rejections += 1
        self._due_at = now + backoff(self._rejections, shortest, max(shortest, _LONGEST_PAUSE))
        self._files = {path: _state_of(path) for path in files}
        self._pending = True

    def accepted(self) -> None:
        """Plan no further attempt."""
        self._rejections, self._pending = 0, False

    def due(self, now: float) -> bool:
        """Return whether the rejected configuration is to be tried again now."""
        if not self._pending:
            return False
        changed = any(_state_of(path) != state for path, state in self._files.items())
        if changed:
            self._rejections = 0
        return changed or now >= self._due_at


class Reloader:
    """Has the file taken over by `adopt` when it changes or when `ask` is called; a bad one changes nothing.

    A rejected file is tried again (`Retry`) as long as the file is looked at: what was wrong may lie outside it.
    A retry that fails for the same reason is neither counted nor logged again.

    `adopt` raises `CompositionError` where a configuration cannot be put to work. A long file is read in a thread,
    so that nobody waits for it; but not where the process `forks`, since threads do not come along.
    """

    def __init__(
        self,
        file: ConfigFile,
        config: Config,
        adopt: Callable[[Config], Awaitable[None]],
        metrics: Metrics,
        *,
        forks: bool = False,
    ) -> None:
        self._file = file
        self._running = config
        self._adopt = adopt
        self._metrics = metrics
        self._forks = forks
        self._interval = config.server.reload_interval
        self._retry = Retry(self._interval)
        self._why = self._since = ""
        self._asked = asyncio.Event()
        self._good = True
        self._said = f"{file.path}, read at start"

    def ask(self) -> None:
        """Have the file read again, be it changed or not."""
        self._asked.set()

    async def run(self) -> None:
        """Reload whenever there is a reason to, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(
                    self._interval or None
                ):  # wait_for of Python 3.11 can lose a cancellation
                    await self._asked.wait()
            changed = self._file.changed()
            if self._asked.is_set() or changed or self._retry.due(time.monotonic()):
                self._asked.clear()
                await self._reload()

    def check(self) -> Check:
        """Tell which configuration is at work, and why a newer one is not."""
        return Check("configuration", self._good, self._said)

    async def _reload(self) -> None:
        path = str(self._file.path)
        files: tuple[str, ...] = ()
        try:
            loaded = self._file.read() if self._forks else await asyncio.to_thread(self._file.read)
            files = tuple(named_files(loaded.config))
            await self._adopt(loaded.config)
        except (ConfigError, CompositionError) as error:
            self._retry.rejected(files if self._interval else (), time.monotonic())
            self._reject("; ".join(str(error).splitlines()), error.without_values())
            return
        self._retry.accepted()
        self._metrics.count_reload("success")
        self._good, self._said, self._why = True, f"{path}, read at {date(time.time())}", ""
        waiting = ", ".join(pending_restart(self._running, loaded.config))
        event(logging.INFO, "configuration reloaded", path=path)
        if waiting:
            event(logging.WARNING, "changed settings wait for a restart", path=path, settings=waiting)
        for warning in loaded.warnings:
            event(logging.WARNING, "configuration: worth a second look", problem=str(warning))

    def _reject(self, why: str, shown: str) -> None:
        """Record why a file was rejected: in full in the log, as `shown`, without any value, on the admin port."""
        if not self._good and why == self._why:
            return
        path, self._why = str(self._file.path), why
        if self._good:
            self._metrics.config_rejected_since = time.time()
            self._since = date(time.time())
        self._good = False
        again = "authgate tries it again" if self._interval else "send SIGHUP to try it again"
        self._said = (
            f"{path} was rejected at {self._since}; the previous configuration is in use; {again}: {shown}"
        )
        self._metrics.count_reload("failure")
        event(
            logging.ERROR,
            "the configuration file is refused; the configuration before it stays",
            path=path,
            error_message=why,
        )
