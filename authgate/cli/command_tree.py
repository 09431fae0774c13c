"""The commands with their options and arguments as plain values, for completion scripts and the manual page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Final

import typer

from authgate.cli.healthcheck import parser as healthcheck_parser
from authgate.cli.version import parser as version_parser
from authgate.tools.providers import provider_names

if TYPE_CHECKING:
    from argparse import ArgumentParser

_CHOICES: Final = re.compile(r"<([\w|-]*\|[\w|-]*)>")
_TYPE: Final = re.compile(r" ?<\w+>")
_PARSERS: Final = {"authgate healthcheck": healthcheck_parser, "authgate version": version_parser}
_FILES: Final = frozenset({"DIR", "FILE", "FILE|-", "FOLDER", "[FILE|-]"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """An option, or an argument, which has no names; a flag has no metavar."""

    names: tuple[str, ...]
    metavar: str
    help: str
    choices: tuple[str, ...] = ()

    @property
    def takes_file(self) -> bool:
        """Whether the value is the name of a file or folder."""
        return self.metavar in _FILES


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command or a group of commands; `name` has all its words, such as "authgate config show"."""

    name: str
    usage: str
    description: str
    options: tuple[Parameter, ...]
    arguments: tuple[Parameter, ...]
    commands: tuple[Command, ...]

    @property
    def word(self) -> str:
        """The last word of the name."""
        return self.name.rpartition(" ")[2]

    @property
    def summary(self) -> str:
        """The first sentence of the description, without its full stop."""
        return re.split(r"\.(?:\s|\Z)", " ".join(self.description.split()), maxsplit=1)[0]

    def walk(self) -> tuple[Command, ...]:
        """Return this command and all commands below it, in the order of the help."""
        return (self, *(below for command in self.commands for below in command.walk()))


def command_tree(context: typer.Context) -> Command:
    """Return the tree of all commands, given the context of any of them."""
    root = context.find_root()
    return _command(root.command, "authgate", None)


def _command(command: Any, name: str, parent: typer.Context | None) -> Command:
    context = typer.Context(
        command, info_name=name.rpartition(" ")[2], parent=parent, **command.context_settings
    )
    children = tuple(
        _command(child, f"{name} {word}", context)
        for word, child in getattr(command, "commands", {}).items()
        if not child.hidden
    )
    parser = _PARSERS[name]() if name in _PARSERS else None
    options, arguments = _of_parser(parser) if parser is not None else _of_typer(command, context)
    usage = parser.format_usage() if parser is not None else command.get_usage(context)
    return Command(
        name=name,
        usage=" ".join(usage.partition(":")[2].split()),
        description=cleandoc(command.help or ""),
        options=options,
        arguments=arguments,
        commands=children,
    )


def _of_typer(command: Any, context: typer.Context) -> tuple[tuple[Parameter, ...], tuple[Parameter, ...]]:
    options, arguments = [], []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        shown, text = record
        choices = _CHOICES.search(shown)
        values = tuple(choices[1].split("|")) if choices else ()
        text = " ".join(text.split())
        if parameter.param_type_name == "argument":
            metavar = _TYPE.sub("", _CHOICES.sub("", shown)).strip()
            values = values or (tuple(provider_names()) if metavar == "PROVIDER" else ())
            arguments.append(Parameter((), metavar, text, values))
            continue
        names = (*sorted(parameter.opts, key=len), *parameter.secondary_opts)
        metavar = "" if parameter.is_flag else "|".join(values) or shown.rpartition(" ")[2]
        options.append(Parameter(names, metavar, text, values))
    return tuple(options), tuple(arguments)


def _of_parser(parser: ArgumentParser) -> tuple[tuple[Parameter, ...], tuple[Parameter, ...]]:
    options = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list of them
        values = tuple(map(str, action.choices or ()))
        name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
        metavar = "" if action.nargs == 0 else "|".join(values) or name
        options.append(Parameter(tuple(action.option_strings), metavar, action.help or "", values))
    return tuple(options), ()
