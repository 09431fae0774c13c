"""`authgate completion`: static scripts, generated from the command tree, so that completing starts no process."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from authgate.cli.command_tree import Command


class Shell(StrEnum):
    """The shells with a completion script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="The shell that reads the script.")],
) -> None:
    """Print a script that completes commands, options, values and files in a shell.

    Load it in bash with `source <(authgate completion bash)`, in zsh with `source <(authgate completion zsh)` after
    `compinit`, in fish with `authgate completion fish | source`. Put the line into the startup file of the shell.
    """
    from authgate.cli.command_tree import command_tree

    scripts: dict[Shell, Callable[[Command], Iterator[str]]] = {
        Shell.BASH: _bash,
        Shell.ZSH: _zsh,
        Shell.FISH: _fish,
    }
    print(*scripts[shell](command_tree(context)), sep="\n")


def _bash(root: Command) -> Iterator[str]:
    yield "# bash completion for authgate"
    yield "_authgate() {"
    yield "    local at=authgate word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} i"
    yield "    # bash splits --option=value into three words."
    yield '    if [[ $word == "=" ]]; then word='
    yield '    elif [[ $before == "=" ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi'
    yield "    for ((i = 1; i < COMP_CWORD; i++)); do"
    yield '        case "$at ${COMP_WORDS[i]}" in'
    yield f'            {_patterns(command.name for command in root.walk()[1:])}) at+=" ${{COMP_WORDS[i]}}" ;;'
    yield "        esac"
    yield "    done"
    yield "    COMPREPLY=()  # readline completes file names if this stays empty"
    yield '    case "$at $before" in'
    for patterns, values in _values(root):
        words = f'COMPREPLY=($(compgen -W {_quoted(" ".join(values))} -- "$word")); ' if values else ""
        yield f"        {patterns}) {words}return ;;"
    yield "    esac"
    yield '    case "$at" in'
    for command in root.walk():
        names = " ".join(name for option in command.options for name in option.names)
        words = " ".join((*(each.word for each in command.commands), *_choices(command)))
        yield f"        {_quoted(command.name)})"
        yield f'            if [[ $word == -* ]]; then COMPREPLY=($(compgen -W {_quoted(names)} -- "$word"))'
        yield f'            else COMPREPLY=($(compgen -W {_quoted(words)} -- "$word")); fi ;;'
    yield "    esac"
    yield "}"
    yield "complete -o bashdefault -o default -F _authgate authgate"


def _zsh(root: Command) -> Iterator[str]:
    yield "#compdef authgate"
    yield "_authgate() {"
    yield "    local at=authgate word"
    yield '    for word in "${(@)words[2,CURRENT-1]}"; do'
    yield '        case "$at $word" in'
    yield f'            ({_patterns(command.name for command in root.walk()[1:])}) at+=" $word" ;;'
    yield "        esac"
    yield "    done"
    yield '    local before="${words[CURRENT-1]}"'
    yield "    if [[ $PREFIX == --*=* ]]; then before=${PREFIX%%=*}; compset -P '*='; fi"
    yield '    case "$at $before" in'
    for patterns, values in _values(root):
        yield f"        ({patterns}) {'compadd -- ' + ' '.join(values) if values else '_files'}; return ;;"
    yield "    esac"
    yield "    local -a options choices"
    yield '    case "$at" in'
    for command in root.walk():
        options = (_described(name, option.help) for option in command.options for name in option.names)
        commands = (_described(each.word, each.summary) for each in command.commands)
        yield f"        ({_quoted(command.name)})"
        yield f"            options=({' '.join(options)})"
        yield f"            choices=({' '.join((*commands, *map(_quoted, _choices(command))))}) ;;"
    yield "    esac"
    yield "    if [[ $PREFIX == -* ]]; then _describe -o option options"
    yield "    elif (( $#choices )); then _describe command choices"
    yield "    else _files; fi"
    yield "}"
    yield 'if [[ $funcstack[1] == _authgate ]]; then _authgate "$@"; else compdef _authgate authgate; fi'


def _fish(root: Command) -> Iterator[str]:
    yield "# fish completion for authgate"
    yield "function __authgate_at"
    yield "    set -l at authgate"
    yield "    for word in (commandline -opc)[2..-1]"
    yield '        switch "$at $word"'
    yield f"            case {' '.join(_quoted(command.name) for command in root.walk()[1:])}"
    yield '                set at "$at $word"'
    yield "        end"
    yield "    end"
    yield '    test "$at" = "$argv"'
    yield "end"
    for command in root.walk():
        at = f"complete -c authgate -n {_fish_quoted(f'__authgate_at {command.name}')}"
        if not any(argument.takes_file for argument in command.arguments):
            yield f"{at} -f"
        for each in command.commands:
            yield f"{at} -a {each.word} -d {_fish_quoted(each.summary)}"
        for choice in _choices(command):
            yield f"{at} -a {choice}"
        for option in command.options:
            flags = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
            )
            if option.choices:
                flags += f" -x -a {_fish_quoted(' '.join(option.choices))}"
            elif option.metavar:
                flags += " -r -F" if option.takes_file else " -x"
            yield f"{at} {flags} -d {_fish_quoted(_first_sentence(option.help))}"


def _values(root: Command) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the patterns of each option with a value, as "command option", and its possible values."""
    for command in root.walk():
        for option in command.options:
            if option.metavar:
                yield _patterns(f"{command.name} {name}" for name in option.names), option.choices


def _choices(command: Command) -> tuple[str, ...]:
    """Return the possible values of the arguments of a command."""
    return tuple(choice for argument in command.arguments for choice in argument.choices)


def _patterns(words: Iterable[str]) -> str:
    return "|".join(map(_quoted, words))


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].removesuffix(".").partition("  [")[0]


def _described(name: str, text: str) -> str:
    described = _first_sentence(text).replace("\\", "\\\\").replace(":", "\\:")
    return _quoted(f"{name}:{described}")


def _quoted(text: str) -> str:
    """Quote a text for bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
