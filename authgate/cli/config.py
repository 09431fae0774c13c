"""`authgate config init`, `config show`, `config explain`, `config schema` and `config convert`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authgate.cli.convert import convert
from authgate.cli.init import init
from authgate.cli.settings import AdminOption, ConfigOption, ListenOption, OutputOption, load_or_fail
from authgate.cli.terminal import (
    USAGE,
    Output,
    console,
    fail,
    print_data,
    print_json,
    print_rows,
)
from authgate.text import visible

if TYPE_CHECKING:
    from authgate.tools.field_help import Field

config_app = typer.Typer(
    help="Write, show, explain or convert a configuration, or print its schema.", no_args_is_help=True
)
config_app.command()(convert)
# Each provider has options of its own, which Typer does not know.
config_app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(init)


@config_app.command()
def show(
    config: ConfigOption = None,
    listen: ListenOption = None,
    admin: AdminOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print every effective value and its source, with secrets masked.

    The output is YAML, with the sources as comments.
    """
    from authgate.config import effective
    from authgate.config.problems import dotted
    from authgate.tools.yaml_text import nested, yaml_text

    flags = {"server.listen": tuple(listen) if listen else None, "server.admin": admin}
    values = effective(load_or_fail(config, flags))
    if output is not Output.TEXT:
        print_data(
            {dotted(path): {"value": value, "source": source} for path, value, source in values}, output
        )
    else:
        document = nested((path, value) for path, value, _ in values)
        print(yaml_text(document, {path: visible(source) for path, _, source in values}), end="")


@config_app.command()
def explain(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="The field, such as server.listen; without it, the sections.",
            show_default=False,
        ),
    ] = "",
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Explain a field: its meaning, type, default and an example, and its value in a configuration.

    In a path, `[]` or nothing is every entry of a list, and `<name>` every policy: `policies.<name>.allow`.
    """
    from authgate.tools.field_help import UnknownFieldError, explain_field

    try:
        field = explain_field(path)
    except UnknownFieldError as error:
        fail(str(error), USAGE)
    current = _current(config, path) if path else []
    if output is not Output.TEXT:
        names = ("path", "value", "source", "line")
        print_data(
            {**asdict(field), "current": [dict(zip(names, each, strict=True)) for each in current]}, output
        )
    else:
        _print_field(field, current)


def _current(config: Path | None, path: str) -> list[tuple[str, object, str, int | None]]:
    """Return the values at a path; none if no configuration is given."""
    from authgate.tools.field_help import current_values

    if config is None and not any(name.startswith("AUTHGATE_") for name in os.environ):
        return []
    return list(current_values(load_or_fail(config), path))


def _print_field(field: Field, current: list[tuple[str, object, str, int | None]]) -> None:
    from authgate.tools.yaml_text import yaml_text

    out = console()
    out.print(field.path or "the configuration file", style="bold")
    out.print(f"  {field.meaning}\n")
    rows = [("type", field.type), ("default", "required" if field.required else field.default or "")]
    rows.append(("variable", field.variable or ""))
    print_rows(out, [(name, text) for name, text in rows if text])
    if field.example is not None:
        out.print("\nexample", style="bold")
        for line in yaml_text({field.path.rpartition(".")[2]: field.example}).splitlines():
            out.print(f"  {line}")
    if current:
        out.print("\nnow", style="bold")
        print_rows(
            out,
            (
                (path, f"{json.dumps(value)}  ({source}{'' if line is None else f':{line}'})")
                for path, value, source, line in current
            ),
        )
    if field.members:
        out.print("\nfields", style="bold")
        print_rows(out, field.members)


@config_app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file."""
    from authgate.config import json_schema

    print_json(json_schema())
