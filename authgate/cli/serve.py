"""`authgate serve`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from authgate.cli.settings import AdminOption, ConfigOption, ListenOption, load_or_fail
from authgate.cli.terminal import fail

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from authgate.config import LoadedConfig
    from authgate.service import ConfigFile


def serve(
    config: ConfigOption = None,
    listen: ListenOption = None,
    *,
    admin: AdminOption = None,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="The number of worker processes, or auto for one per core.",
            show_default=False,
        ),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(metavar="LEVEL", help="debug, info, warning or error.", show_default=False),
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="json or text.", show_default=False)
    ] = None,
) -> None:
    """Run the gate until SIGTERM or SIGINT."""
    flags = {
        "server.listen": tuple(listen) if listen else None,
        "server.admin": admin,
        "server.workers": workers,
        "log.level": log_level,
        "log.format": log_format,
    }
    from authgate.config import load
    from authgate.service import ConfigFile

    file = None
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # means "reload", which is not possible without a file
    if config is not None and str(config) != "-":
        file = ConfigFile(config, partial(load, config, os.environ, flags))
    run_service(load_or_fail(config, flags), file)


def run_service(loaded: LoadedConfig, file: ConfigFile | None) -> None:
    """Serve until a signal stops the process; print one line and exit if the gate cannot start."""
    import asyncio

    from authgate.observability.log import configure, event
    from authgate.observability.log_writer import BackgroundWriter
    from authgate.service import (
        CompositionError,
        ListenError,
        Service,
        memory_limit,
        raise_limit,
        tune_gc,
        usable_cores,
        warnings_at_start,
    )

    writer = BackgroundWriter(sys.stderr.fileno())
    configure(loaded.config.log.level, loaded.config.log.format, writer)
    log_warnings(loaded)
    workers = loaded.config.server.workers
    count = usable_cores() if workers == "auto" else workers
    bounds = warnings_at_start(loaded.config, count, descriptors=raise_limit(), memory=memory_limit())
    for problem in bounds:
        event(
            logging.WARNING, "a limit of this machine is lower than the configuration needs", problem=problem
        )
    tune_gc()
    try:
        if count > 1:
            from authgate.service.supervisor import supervise

            supervise(loaded.config, os.environ, count, file=file, loop_factory=loop_factory())
            return
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            service = Service(loaded.config, os.environ, file=file, dropped_lines=writer.dropped)
            runner.run(service.run())
    except (CompositionError, ListenError) as error:
        fail(str(error))
    finally:
        writer.drain()


def log_warnings(loaded: LoadedConfig) -> None:
    """Log the warnings about a configuration."""
    from authgate.observability.log import event

    for warning in loaded.warnings:
        event(logging.WARNING, "configuration warning", problem=str(warning))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of uvloop's event loop, or None for asyncio's own."""
    try:
        import uvloop
    except ImportError:  # not available on every platform
        return None
    return uvloop.new_event_loop
