"""Taking over the configuration file when it changes, and keeping the one before where the new one is no good."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from authgate.app.settled import unsettled
from authgate.compose import CompositionError
from authgate.config import ConfigError
from authgate.log import event
from authgate.server.admin import Check

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from authgate.config import Config, LoadedConfig
    from authgate.metrics import Metrics

_State = tuple[int, int, int, int] | None


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
        try:
            found = os.stat(self.path)  # noqa: PTH116 - Path.stat is the same
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Reloader:
    """Has the file taken over by `adopt` when it changes or when `ask` is called; a bad one changes nothing.

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
                await asyncio.wait_for(self._asked.wait(), self._interval or None)
            if self._asked.is_set() or self._file.changed():
                self._asked.clear()
                await self._reload()

    def check(self) -> Check:
        """Tell which configuration is at work, and why a newer one is not."""
        return Check("configuration", self._good, self._said)

    async def _reload(self) -> None:
        path, at = str(self._file.path), datetime.now(UTC).isoformat(timespec="seconds")
        try:
            loaded = self._file.read() if self._forks else await asyncio.to_thread(self._file.read)
            await self._adopt(loaded.config)
        except (ConfigError, CompositionError) as error:
            self._metrics.count_reload("failure")
            why = "; ".join(str(error).splitlines())
            self._good, self._said = False, f"{path} is refused since {at}, the one before stays: {why}"
            event(
                logging.ERROR,
                "the configuration file is refused; the configuration before it stays",
                path=path,
                error_message=why,
            )
            return
        self._metrics.count_reload("success")
        self._good, self._said = True, f"{path}, read at {at}"
        waiting = ", ".join(unsettled(self._running, loaded.config))
        event(logging.INFO, "configuration reloaded", path=path)
        if waiting:
            event(logging.WARNING, "changed settings wait for a restart", path=path, settings=waiting)
        for warning in loaded.warnings:
            event(logging.WARNING, "configuration: worth a second look", problem=str(warning))
