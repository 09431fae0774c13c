"""`authgate config init`, `config show`, `config schema` and `config convert`."""

from __future__ import annotations

import typer

from authgate.cli.convert import convert
from authgate.cli.init import init
from authgate.cli.settings import AdminOption, ConfigOption, ListenOption, load_or_fail
from authgate.cli.terminal import Output, OutputOption, print_json, visible

config_app = typer.Typer(
    help="Write, show or convert a configuration, or show its schema.", no_args_is_help=True
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
    if output is Output.JSON:
        print_json({dotted(path): {"value": value, "source": source} for path, value, source in values})
    else:
        document = nested((path, value) for path, value, _ in values)
        print(yaml_text(document, {path: visible(source) for path, _, source in values}), end="")


@config_app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file."""
    from authgate.config import json_schema

    print_json(json_schema())
