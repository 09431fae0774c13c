"""`authgate version`."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import typer

from authgate import __version__
from authgate.cli.plain_parser import plain_parser
from authgate.cli.terminal import Output, print_data

if TYPE_CHECKING:
    from argparse import ArgumentParser


def version(context: typer.Context) -> None:
    """Print the versions of authgate and of its main dependencies."""
    output = Output(parser().parse_args(context.args).output)
    if output is not Output.TEXT:
        print_data(_versions(), output)
        return
    for name, number in _versions().items():
        print(f"{name} {number}")


def parser() -> ArgumentParser:
    """Return the parser of the options."""
    parser = plain_parser(version)
    parser.add_argument(
        "-o",
        "--output",
        choices=tuple(each.value for each in Output),
        default=Output.TEXT.value,
        help="text for people, json or yaml for scripts",
    )
    return parser


def _versions() -> dict[str, str]:
    from cryptography.hazmat.backends.openssl import backend

    return {
        "authgate": __version__,
        "python": platform.python_version(),
        "openssl": backend.openssl_version_text().removeprefix("OpenSSL "),
        **{name: _installed(name) for name in ("aiohttp", "cryptography", "PyJWT", "uvloop")},
    }


def _installed(name: str) -> str:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed(name)
    except PackageNotFoundError:
        return "not installed"
