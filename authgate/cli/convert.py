"""`authgate config convert`."""

from __future__ import annotations

import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authgate.cli.settings import print_problems
from authgate.cli.terminal import FAILED, USAGE, fail
from authgate.vocabulary import DEFAULT_POLICY

if TYPE_CHECKING:
    from authgate.config import Problem
    from authgate.tools.convert import Converted


class Source(StrEnum):
    """The formats that `--from` accepts."""

    AUTHENTICATION_CONFIGURATION = "authentication-configuration"
    VAULT_ROLE = "vault-role"
    KUBE_RBAC_PROXY = "kube-rbac-proxy"
    OAUTH2_PROXY = "oauth2-proxy"
    ENVOY_JWT_AUTHN = "envoy-jwt-authn"
    ISTIO = "istio"
    OATHKEEPER = "oathkeeper"
    AUTHORINO = "authorino"


class Target(StrEnum):
    """The formats that `--to` accepts."""

    AUTHENTICATION_CONFIGURATION = "authentication-configuration"


def convert(
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="The file to convert, or - for standard input.")
    ],
    *,
    source: Annotated[
        Source | None,
        typer.Option("--from", help="The format of FILE; the result is an authgate configuration."),
    ] = None,
    target: Annotated[
        Target | None,
        typer.Option("--to", help="The format of the result; FILE is an authgate configuration."),
    ] = None,
    auth_config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="For vault-role: the output of `vault read -format=json auth/jwt/config`."
        ),
    ] = None,
    policy: Annotated[
        str, typer.Option(help="The name of the policy, if the result has only one.")
    ] = DEFAULT_POLICY,
    audience: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="The audience of tokens, if FILE does not require any. Can be repeated."
        ),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="PROXY",
            help="The proxy in front of the app (server.proxy), if rules need one.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to this file instead of standard output."),
    ] = None,
) -> None:
    """Convert a configuration from or to the format of another program.

    Fields without a counterpart are listed on standard error and in comments of the result. Exit status 1 if the
    authgate configuration, given or converted, is invalid.
    """
    from authgate.tools.convert import ConversionError, converted_text
    from authgate.tools.yaml_text import yaml_text

    if (source is None) == (target is None):
        fail("give either --from, the format of FILE, or --to, the format of the result", USAGE)
    text = _read(file)
    place = None if source is Source.VAULT_ROLE else file  # a note may be about the role or --auth-config
    problems = _problems(text) if target is not None else ()
    if problems:
        print_problems(problems, file)
        raise typer.Exit(FAILED)
    try:
        if source is Source.VAULT_ROLE:
            if auth_config is None:
                fail("--auth-config is missing: the issuer is in auth/jwt/config, not in the role", USAGE)
            converted = _of_vault(text, _read(auth_config), policy)
        else:
            converted = _converted(text, source, policy, proxy, tuple(audience or ()))
    except ConversionError as error:
        print_problems(error.problems, place)
        raise typer.Exit(FAILED) from None
    result = yaml_text(converted.document) if source is None else converted_text(converted, source.value)
    _write(result, output)
    print_problems(converted.notes, place, "note")
    problems = _problems(result) if source is not None else ()
    print_problems(problems, label="problem")
    if problems:
        raise typer.Exit(FAILED)


def _converted(
    text: str, source: Source | None, policy: str, proxy: str | None, audiences: tuple[str, ...]
) -> Converted:
    from authgate.tools import convert as conversions

    if source is None:
        return conversions.to_authentication_configuration(text)
    if source is Source.AUTHENTICATION_CONFIGURATION:
        return conversions.from_authentication_configuration(text)
    options = conversions.Options(policy=policy, proxy=proxy, audiences=audiences)
    return conversions.FROM[source.value](text, options)


def _of_vault(text: str, auth_config: str, policy: str) -> Converted:
    from authgate.tools.convert import from_vault_role

    return from_vault_role(text, auth_config, policy)


def _read(file: str) -> str:
    from authgate.config.models.files import input_name, read_input

    try:
        return read_input(file)
    except ValueError as error:
        fail(f"{input_name(file)} {error}")


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"cannot write {output}: {error.strerror}")


def _problems(text: str) -> tuple[Problem, ...]:
    """Return every problem of a configuration."""
    from authgate.config import ConfigError, load

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "authgate.yaml")
        file.write_text(text, encoding="utf-8")
        try:
            load(file, {})
        except ConfigError as error:
            return error.problems
    return ()
