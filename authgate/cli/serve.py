"""`authgate serve`."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Annotated

import typer

from authgate.cli.settings import AdminOption, ConfigOption, ListenOption, load_or_fail
from authgate.cli.terminal import fail

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from authgate.app import Service
    from authgate.config import LoadedConfig


def serve(
    config: ConfigOption = None,
    listen: ListenOption = None,
    admin: AdminOption = None,
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
        "log.level": log_level,
        "log.format": log_format,
    }
    run_service(load_or_fail(config, flags))


def run_service(loaded: LoadedConfig) -> None:
    """Serve with a configuration until a signal ends it; a failure to start ends the command with one line."""
    import asyncio

    from authgate.app import CompositionError, ListenError, Service
    from authgate.log import configure

    configure(loaded.config.log.level, loaded.config.log.format)
    log_warnings(loaded)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_run(Service(loaded.config, os.environ)))
    except (CompositionError, ListenError) as error:
        fail(str(error))


async def _run(service: Service) -> None:
    await service.start()
    await service.run()


def log_warnings(loaded: LoadedConfig) -> None:
    """Write what is worth a second look in a configuration to the log."""
    from authgate.log import event

    for warning in loaded.warnings:
        event(logging.WARNING, "configuration: worth a second look", problem=str(warning))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the fastest event loop there is: uvloop's, or None for asyncio's own."""
    try:
        import uvloop
    except ImportError:  # not made for every platform
        return None
    return uvloop.new_event_loop
