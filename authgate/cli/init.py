"""`authgate config init`."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authgate.cli.terminal import FAILED, USAGE, complain, console, fail, print_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from authgate.tools.providers import Provider


def init(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="PROVIDER", help="The identity provider; omit it to list all.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file to write; standard output by default."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE if it exists.")] = False,
    options: Annotated[bool, typer.Option("--options", help="List the provider's options.")] = False,
) -> None:
    """Write a commented configuration for an identity provider.

    Each provider has options of its own, such as --realm shop. Options that are not given get an example value.

    Providers: adfs, aks, auth0, authelia, authentik, aws-alb, cloudflare-access, cognito, dex, eks, entra, firebase,
    github-actions, gitlab-ci, gke, google, google-iap, keycloak, kubernetes, okta, openshift, spiffe, teleport, vault,
    zitadel.
    """
    from authgate.tools.providers import OptionError, provider, provider_names

    if name is None:
        print_rows(console(), [(known, provider(known).title) for known in provider_names()])
        return
    if name.startswith("--"):
        fail(f'"{name}": write the provider before its options', USAGE)
    if name not in provider_names():
        near = get_close_matches(name, provider_names(), 1)
        hint = f'; did you mean "{near[0]}"?' if near else "; `authgate config init` lists all providers"
        fail(f'"{name}": unknown provider{hint}', USAGE)
    chosen = provider(name)
    if options:
        print_rows(
            console(),
            [(f"--{item.name}", f"{item.description} ({item.example})") for item in chosen.options],
        )
        return
    try:
        values = _values(context.args)
        text = chosen.render(values)
    except OptionError as error:
        fail(str(error), USAGE)
    if output is None:
        sys.stdout.write(text)
    else:
        _write(text, output, force=force)
    _explain_next(chosen, values, output)


def _values(words: Sequence[str]) -> dict[str, str]:
    """Return the values of `--name value` and `--name=value`; raises `OptionError`."""
    from authgate.tools.providers import OptionError

    values: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            raise OptionError(f'"{word}": unexpected argument; write --NAME VALUE')
        option, equals, value = word[2:].partition("=")
        if not equals:
            value = next(rest, "--")
            if value.startswith("--"):
                raise OptionError(f"--{option}: has no value; write --{option} VALUE")
        if option in values:
            raise OptionError(f"--{option}: given twice")
        values[option] = value
    return values


def _write(text: str, output: Path, *, force: bool) -> None:
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        fail(f"{output}: the file exists; --force overwrites it", FAILED)
    except OSError as error:
        fail(f"{output}: {error.strerror}", FAILED)


def _explain_next(chosen: Provider, values: dict[str, str], output: Path | None) -> None:
    """Print to standard error which values are only examples, and the next commands."""
    examples = [f"--{item.name}" for item in chosen.options if item.name not in values]
    if examples:
        complain(f"example values in use, replace them: {' '.join(examples)}")
    file = output or "authgate.yaml"
    complain(f"next: authgate doctor --config {file}")
    complain(f"then: authgate explain --config {file} TOKEN-FILE")
