"""`authgate healthcheck`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from authgate.cli.plain_parser import plain_parser
from authgate.cli.terminal import USAGE, fail
from authgate.text import visible

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from authgate.cli.probe import Target
    from authgate.listen_address import ListenAddress

DEFAULT_ADMIN: Final = "0.0.0.0:9090"
_TIMEOUT: Final = 2.0
_HTTP_OK: Final = 200
_MAX_LINES: Final = 20


def healthcheck(context: typer.Context) -> None:
    """Check whether a running gate is healthy.

    For a container's health check. Exit status 1 if the gate is not healthy or does not respond within 2 s.
    """
    from authgate.cli.probe import ProbeError, ask, target_of_url

    arguments = parser().parse_args(context.args)
    try:
        target = target_of_url(arguments.url) if arguments.url is not None else _target(arguments)
    except ValueError as error:
        fail(str(error), USAGE)
    token = None
    if arguments.token_file is not None:
        from authgate.cli.token_source import read_token

        token = read_token(arguments.token_file)
    try:
        answer = ask(target, "/readyz?verbose" if arguments.ready else "/livez", _TIMEOUT, token)
    except ProbeError as error:
        fail(f"the gate at {target} does not respond: {error}")
    lines = answer.body.splitlines()[:_MAX_LINES]
    if answer.status != _HTTP_OK:
        fail(f"the gate at {target} responds with {answer.status}: {' | '.join(lines)}")
    for line in lines:
        print(visible(line))


def parser() -> ArgumentParser:
    """Return the parser of the options."""
    parser = plain_parser(healthcheck)
    parser.add_argument(
        "--url",
        help="the admin port as http://host:port or unix:/path; by default the one in the configuration",
    )
    parser.add_argument(
        "--ready",
        action="store_true",
        help="check that the gate is ready to decide (/readyz), not only that it is running (/livez)",
    )
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        type=Path,
        default=os.environ.get("AUTHGATE_CONFIG") or None,
        help="the configuration file with the admin port [env var: AUTHGATE_CONFIG]",
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file with the token that admin.policy asks for; without it, --ready prints no checks then",
    )
    parser.add_argument("--admin", metavar="ADDRESS", help="the admin port, as in serve --admin")
    return parser


def _target(arguments: Namespace) -> Target:
    from authgate.cli.probe import target_of_address

    address = _configured(arguments.config) if arguments.admin is None else _parsed_address(arguments.admin)
    if address is None:
        fail("server.admin is null: the gate has no admin port; configure one, or give --url")
    return target_of_address(address)


def _parsed_address(text: str) -> ListenAddress | None:
    from authgate.listen_address import ListenAddress

    try:
        return None if text == "null" else ListenAddress.parse(text)
    except ValueError as error:
        raise ValueError(f"the admin address {error}, but is {text!r}; correct it, or give --url") from None


def _configured(config: Path | None) -> ListenAddress | None:
    """Return the admin address in effect; read the whole configuration only if one variable does not decide."""
    variables = {name: value for name, value in os.environ.items() if name.startswith("AUTHGATE_SERVER")}
    if "AUTHGATE_SERVER__ADMIN" in variables:
        return _parsed_address(variables["AUTHGATE_SERVER__ADMIN"])
    if config is None and not variables:
        return _parsed_address(DEFAULT_ADMIN)
    from authgate.cli.settings import load_or_fail

    return load_or_fail(config).config.server.admin
