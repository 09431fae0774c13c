"""`authgate help`, and the manual page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from authgate import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authgate.cli.command_tree import Command, Parameter

_STATUSES: Final = (
    ("0", "Success; the token is accepted."),
    ("1", "Failure; for explain, the gate cannot decide."),
    ("2", "Wrong usage."),
    ("3", "The token is denied (explain)."),
)
_VARIABLES: Final = (
    ("AUTHGATE_CONFIG", "The configuration file, as --config."),
    (
        "AUTHGATE_...",
        "Any other field of the configuration, nested with __, such as AUTHGATE_SERVER__LISTEN.",
    ),
    ("NO_COLOR", "If it is set and not empty, output has no colours."),
)


def help_(
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="The command.", show_default=False)
    ] = None,
    *,
    man: Annotated[
        bool, typer.Option("--man", help="Print the manual page of all commands, for `man -l -`.")
    ] = False,
) -> None:
    """Show the help of a command, or the manual page.

    `authgate help config show` is `authgate config show --help`.
    """
    if man:
        from authgate.cli.command_tree import command_tree

        print(*_manual(command_tree(context)), sep="\n")
        return
    root = context.find_root()
    root.command.main([*(words or ()), "--help"], prog_name="authgate")


def _manual(root: Command) -> Iterator[str]:
    """Yield the lines of the manual page in roff, with the macros of man(7)."""
    yield f'.TH AUTHGATE 1 "" "authgate {__version__}" "authgate"'
    yield ".SH NAME"
    yield f"authgate \\- {_roff(root.summary[:1].lower() + root.summary[1:])}"
    yield ".SH SYNOPSIS"
    yield "\\fBauthgate\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR ...] [\\fIARGUMENT\\fR ...]"
    yield ".SH DESCRIPTION"
    yield from _paragraphs(root.description)
    yield from _parameters(root.options)
    yield ".SH COMMANDS"
    for command in root.walk()[1:]:
        if command.commands:
            continue
        yield f".SS {_roff(command.usage)}"
        yield from _paragraphs(command.description)
        yield from _parameters((*command.arguments, *command.options))
    for title, rows in (("EXIT STATUS", _STATUSES), ("ENVIRONMENT", _VARIABLES)):
        yield f".SH {title}"
        for name, text in rows:
            yield from (".TP", f"\\fB{_roff(name)}\\fR", _roff(text))


def _paragraphs(text: str) -> Iterator[str]:
    for index, paragraph in enumerate(text.split("\n\n")):
        if index:
            yield ".PP"
        yield _roff(" ".join(paragraph.split()))


def _parameters(parameters: tuple[Parameter, ...]) -> Iterator[str]:
    for parameter in parameters:
        value = f"\\fI{_roff(parameter.metavar)}\\fR" if parameter.metavar else ""
        names = ", ".join(f"\\fB{_roff(name)}\\fR" for name in parameter.names)
        yield from (".TP", f"{names} {value}".strip(), _roff(parameter.help) or "\\&")


def _roff(text: str) -> str:
    """Escape a text of one line for roff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return f"\\&{escaped}" if escaped[:1] in {".", "'"} else escaped
