"""`authgate serve`: its options, and how a child process reads the configuration."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from authgate.cli.application import new_application
from authgate.cli.settings import AdminOption, ConfigOption, ListenOption, print_problems
from authgate.cli.terminal import FAILED

if TYPE_CHECKING:
    from authgate.cli.config_process import Recipient

app = new_application()
"""The command line with `serve` only: the other commands take as long to load as `serve` takes to parse its options."""


@app.command()
def serve(
    context: typer.Context,
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
    from authgate.config import ConfigError, load
    from authgate.config.plain import Reading, file_state

    def read() -> Reading:
        path = None if config is None or str(config) == "-" else config
        state = None if path is None else file_state(path)
        try:
            return Reading(path, state, load(config, os.environ, flags).plain())
        except ConfigError as error:
            return Reading(path, state, error.problems)

    recipient: Recipient | None = context.obj
    reading = read()
    if isinstance(reading.outcome, tuple) and not (recipient is not None and recipient.again):
        print_problems(reading.outcome, config)
        raise typer.Exit(FAILED)
    if recipient is not None:
        recipient.send(reading)
    import asyncio

    from authgate.cli.serving import ignore_reload, run_service

    ignore_reload()

    run_service(reading, partial(asyncio.to_thread, read))
