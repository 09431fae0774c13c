"""Apply the configuration file when it changes, and keep the previous configuration if the new one is invalid."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from authgate.backoff import backoff
from authgate.compose import CompositionError
from authgate.config import ConfigError
from authgate.config.plain import file_state
from authgate.observability.log import event
from authgate.server.admin import Check
from authgate.server.admin.status import ConfigurationDetails
from authgate.service.restart_only import pending_restart
from authgate.timestamps import date

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from authgate.config import Config
    from authgate.config.plain import FileState, PlainConfig, Reading
    from authgate.observability.metrics import Metrics

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0


class ConfigFile:
    """The configuration file. `load` reads it with environment and flags; `state` is from before it was last read."""

    def __init__(self, path: Path, load: Callable[[], Awaitable[Reading]], state: FileState) -> None:
        self.path = path
        self._load = load
        self._read = self._last = state

    async def read(self) -> PlainConfig:
        """Return the current configuration; raise `ConfigError`."""
        self._read = self._last = file_state(self.path)
        reading = await self._load()
        self._read = self._last = reading.state
        return reading.config()

    def changed(self) -> bool:
        """Return once that the file has changed and was the same in two calls, so that nobody is still writing it.

        A link that leads to another file, as Kubernetes swaps them in a mounted ConfigMap, is a change.
        """
        last, self._last = self._last, file_state(self.path)
        if self._last == self._read or self._last != last:
            return False
        self._read = self._last
        return True


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file as sha256sum prints it, or "" if the file cannot be read.

    Only regular files have one: a pipe could block, and a device might never end.
    """
    if not path.is_file():
        return ""
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""


class Retry:
    """Plan retries of a rejected configuration: after a pause that doubles, or when a file that it names changes.

    Times are monotonic seconds. The first pause is the reload interval, at least 1 s; it doubles up to 30 s.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._rejections = 0
        self._due_at = 0.0
        self._files: dict[str, FileState] = {}
        self._pending = False

    def rejected(self, files: Iterable[str], now: float) -> None:
        """Plan the next attempt. `files` are those that the rejected configuration names."""
        shortest = max(self._interval, _FIRST_PAUSE)
        self._rejections += 1
        self._due_at = now + backoff(self._rejections, shortest, max(shortest, _LONGEST_PAUSE))
        self._files = {path: file_state(path) for path in files}
        self._pending = True

    def accepted(self) -> None:
        """Plan no further attempt."""
        self._rejections, self._pending = 0, False

    def due(self, now: float) -> bool:
        """Return whether the rejected configuration must be tried again now."""
        if not self._pending:
            return False
        changed = any(file_state(path) != state for path, state in self._files.items())
        if changed:
            self._rejections = 0
        return changed or now >= self._due_at


class Reloader:
    """Apply the file with `adopt` when it changes or `ask` is called. A bad file changes nothing.

    A rejected file is tried again (`Retry`) if files are polled, since the cause may lie outside the file. A retry that
    fails for the same reason is neither counted nor logged again.

    `adopt` raises `CompositionError` if a configuration cannot be used. Requests are answered while the file is read.
    """

    def __init__(
        self,
        file: ConfigFile,
        config: Config,
        adopt: Callable[[Config], Awaitable[None]],
        metrics: Metrics,
    ) -> None:
        self._file = file
        self._running = config
        self._adopt = adopt
        self._metrics = metrics
        self._interval = config.server.reload_interval
        self._retry = Retry(self._interval)
        self._why = self._since = ""
        self._asked = asyncio.Event()
        self._good = True
        self._detail = f"{file.path}, read at start"
        self._applied_at = time.time()
        self._sha256 = digest_of(file.path)

    def ask(self) -> None:
        """Read the file again, even if it has not changed."""
        self._asked.set()

    async def run(self) -> None:
        """Reload whenever there is a reason to, until cancelled."""
        while True:
            with suppress(TimeoutError):
                # Not wait_for: in Python 3.11 it can lose a cancellation.
                async with asyncio.timeout(self._interval or None):
                    await self._asked.wait()
            changed = self._file.changed()
            if self._asked.is_set() or changed or self._retry.due(time.monotonic()):
                self._asked.clear()
                await self._reload()

    def check(self) -> Check:
        """Return which configuration is in use, and why a newer one is not."""
        return Check("configuration", self._good, self._detail)

    def details(self) -> ConfigurationDetails:
        """Return the same for people, with the file's digest and the time."""
        return ConfigurationDetails(
            path=str(self._file.path),
            sha256=self._sha256,
            applied_at=self._applied_at,
            rejected="" if self._good else self._detail,
        )

    async def _reload(self) -> None:
        path = str(self._file.path)
        files: tuple[str, ...] = ()
        try:
            loaded = await self._file.read()
            files = loaded.files
            digest = digest_of(self._file.path)
            await self._adopt(loaded.config)
        except (ConfigError, CompositionError) as error:
            self._retry.rejected(files if self._interval else (), time.monotonic())
            self._reject("; ".join(str(error).splitlines()), error.without_values())
            return
        self._retry.accepted()
        self._applied_at, self._sha256 = time.time(), digest
        self._metrics.count_reload("success")
        self._good, self._detail, self._why = True, f"{path}, read at {date(time.time())}", ""
        waiting = ", ".join(pending_restart(self._running, loaded.config))
        event(logging.INFO, "configuration reloaded", path=path)
        if waiting:
            event(
                logging.WARNING,
                "changed settings take effect only after a restart",
                path=path,
                settings=waiting,
            )
        for warning in loaded.warnings:
            event(logging.WARNING, "configuration warning", problem=str(warning))

    def _reject(self, why: str, shown: str) -> None:
        """Record why a file was rejected: in full in the log, and as `shown`, without any value, on the admin port."""
        if not self._good and why == self._why:
            return
        path, self._why = str(self._file.path), why
        if self._good:
            self._metrics.config_rejected_since = time.time()
            self._since = date(time.time())
        self._good = False
        again = "authgate tries it again" if self._interval else "send SIGHUP to try it again"
        kept = f"was rejected at {self._since}; the previous configuration is still in use"
        self._detail = f"{path} {kept}; {again}: {shown}"
        self._metrics.count_reload("failure")
        event(
            logging.ERROR,
            "the configuration file was rejected; the previous configuration is still in use",
            path=path,
            error_message=why,
        )
