"""Run the gate in this process, with the configuration that a child process reads."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from authgate.cli.config_process import ConfigProcess, FirstReading, fork_reading
from authgate.cli.terminal import FAILED, complain, fail
from authgate.config.problems import ConfigError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from authgate.cli.config_process import Recipient
    from authgate.config.plain import Reading

_WHILE_LOADING: Final = {"SSL_CERT_FILE": os.devnull, "FROZENLIST_NO_EXTENSIONS": "1"}


def serve_words(words: Sequence[str]) -> None:
    """Run `authgate serve`; `words` are the whole command line. A child process prints help and errors."""
    ignore_reload()
    try:
        first: FirstReading | Recipient | None = fork_reading()
    except OSError:
        first = None  # without a further process, this one reads the configuration
    if not isinstance(first, FirstReading):
        from authgate.cli import run

        run(words, first)
        return
    try:
        # Modules are loaded while the child process reads. Almost everything that is created now stays, so only new
        # objects are searched for garbage, until `tune_gc`.
        gc.set_threshold(3000, 10_000)
        with less_of_aiohttp():
            import authgate.service  # noqa: F401 - loaded now, used by run_service

        found = first.receive()
        if isinstance(found, int):
            sys.exit(found)
        run_service(found, ConfigProcess(words).read_again)
    except ConfigError as error:
        fail(str(error))
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(FAILED)


@contextmanager
def less_of_aiohttp() -> Iterator[None]:
    """Set environment variables while aiohttp is imported, which saves 3 MB and 30 ms.

    aiohttp reads the system's CA certificates twice, for TLS contexts that authgate does not use: its clients have
    their own (`system_trust`). Of all extension modules, only frozenlist's needs the library of C++.
    """
    before = {name: os.environ.get(name) for name in _WHILE_LOADING}
    os.environ.update(_WHILE_LOADING)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def ignore_reload() -> None:
    """Ignore SIGHUP, which means "reload", until it can be handled. Without a file, it is never handled."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def run_service(reading: Reading, read: Callable[[], Awaitable[Reading]]) -> None:
    """Serve until a signal stops the process; print one line and exit if the gate cannot start.

    `read` reads the configuration again.
    """
    import asyncio

    from authgate.observability.log import configure, event
    from authgate.observability.log_writer import BackgroundWriter
    from authgate.service import (
        CompositionError,
        ConfigFile,
        ListenError,
        Service,
        memory_limit,
        raise_limit,
        tune_gc,
        usable_cores,
        warnings_at_start,
    )

    loaded = reading.config()
    file = None if reading.path is None else ConfigFile(reading.path, read, reading.state)
    config = loaded.config
    writer = BackgroundWriter(sys.stderr.fileno())
    configure(config.log.level, config.log.format, writer)
    for warning in loaded.warnings:
        event(logging.WARNING, "configuration warning", problem=str(warning))
    workers = config.server.workers
    count = usable_cores() if workers == "auto" else workers
    bounds = warnings_at_start(config, count, descriptors=raise_limit(), memory=memory_limit())
    for problem in bounds:
        event(
            logging.WARNING, "a limit of this machine is lower than the configuration needs", problem=problem
        )
    tune_gc()
    try:
        if count > 1:
            from authgate.service.supervisor import supervise

            supervise(config, os.environ, count, file=file, loop_factory=loop_factory())
            return
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(Service(config, os.environ, file=file, dropped_lines=writer.dropped).run())
    except (CompositionError, ListenError) as error:
        fail(str(error))
    finally:
        writer.drain()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of uvloop's event loop, or None for asyncio's own."""
    try:
        import uvloop
    except ImportError:  # not available on every platform
        return None
    return uvloop.new_event_loop
