"""Load the configuration from a file, the environment and flags."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilesystemPath
from types import MappingProxyType

from authgate.config.checks.warnings import warnings_of
from authgate.config.format import Shape, as_written, leaves, shape_of
from authgate.config.models.configuration import Config
from authgate.config.models.fields import format_duration
from authgate.config.models.files import input_name, named_files, read_input
from authgate.config.plain import PlainConfig, plain
from authgate.config.problems import PLAIN_KEY, ConfigError, Finding, Path, Problem, dotted
from authgate.config.reading.environment import FROM_FILE, from_text, read_environment
from authgate.config.reading.layers import Merged, Setting, merge
from authgate.config.reading.yaml_file import Document, parse_yaml
from authgate.config.validation import parse

_NO_FLAGS: Mapping[str, object] = MappingProxyType({})
_DOES_NOT_FIT = "does not fit the rest of the configuration"
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid configuration, the source of each value, and warnings.

    The keys of `sources` are paths (`server.listen`), the values
    "flag --listen", "env AUTHGATE_…", "file X" or "default".
    """

    config: Config
    sources: Mapping[str, str]
    warnings: tuple[Problem, ...]
    located: Callable[[Finding], Problem]
    """Adds to a later finding the line of the value, or the variable or flag that set it."""

    def plain(self) -> PlainConfig:
        """Return what `serve` needs, as plain values."""
        return PlainConfig(plain(self.config), self.warnings, tuple(named_files(self.config)))


def load(
    path: FilesystemPath | None, env: Mapping[str, str], flags: Mapping[str, object] = _NO_FLAGS
) -> LoadedConfig:
    """Load a configuration: flags override `AUTHGATE_…` variables, these the file, and the file the defaults.

    `flags` maps paths (`server.listen`) to values; a text is read like the text of a variable, and None is a flag that
    is not given. The path `-` is standard input. Raises ConfigError with every problem at once.
    """
    shape = shape_of(Config)
    document = Document({}) if path is None else _read(path)
    environment = read_environment(env, shape)
    flag_settings, flag_problems = _flags(flags, shape)
    outside = (*environment.problems, *flag_problems)
    if isinstance(document, Problem):
        raise ConfigError((document, *outside))
    merged = merge(
        {} if document.value is None else _without_extensions(document.value),
        None if path is None else input_name(path),
        (*environment.settings, *flag_settings),
    )
    outside = (*outside, *map(_unplaced, merged.unplaced))
    outcome = parse(merged.tree, shape)
    place = _Placing(merged, document, shape)
    problems = [*document.problems, *(() if isinstance(outcome, Config) else map(place, outcome))]
    if problems or outside or not isinstance(outcome, Config):
        raise ConfigError((*sorted(problems, key=_line), *outside))
    sources = {dotted(leaf): merged.source(leaf) for leaf, _ in leaves(outcome)}
    return LoadedConfig(outcome, sources, (*environment.warnings, *map(place, warnings_of(outcome))), place)


def effective(loaded: LoadedConfig) -> list[tuple[Path, object, str]]:
    """Return every effective value as (path, value, source), written as in the file and with secrets masked."""
    shape = shape_of(Config)
    shown: list[tuple[Path, object, str]] = []
    for path, value in leaves(loaded.config):
        at = shape.at(path)
        timed = at is not None and at.kind == "duration"
        text = format_duration(value) if timed and isinstance(value, float) else as_written(value)
        shown.append((path, text, loaded.sources.get(dotted(path), "default")))
    return shown


def flag_name(path: str) -> str:
    """Return the flag for a path: `--listen` for `server.listen`, `--log-level` for `log.level`."""
    words = path.removeprefix("server.").replace(".", "-")
    return "--" + _CAPITAL.sub("-", words).lower()


@dataclass(frozen=True, slots=True)
class _Placing:
    """Adds to findings the line of the file, or the variable or flag, that the value is from."""

    merged: Merged
    document: Document
    shape: Shape

    def __call__(self, finding: Finding) -> Problem:
        setting = self.merged.setting(finding.path)
        message = finding.message if setting is None else f"{finding.message} (set by {setting})"
        line = self._line(finding.path) if setting is None else None
        path = dotted(finding.path) or self.merged.file or "configuration"
        rule = f"{self._known(finding.path)}: {finding.rule or _DOES_NOT_FIT}"
        value = "" if setting is not None and setting.endswith(FROM_FILE) else finding.value
        return Problem(path, message, value, finding.suggestion, line=line, rule=rule)

    def _known(self, path: Path) -> str:
        """Return the part of a path that the format knows; a key after that may be a value in the wrong place."""
        known = next((end for end in range(len(path), 0, -1) if self.shape.at(path[:end]) is not None), 0)
        plain = [step for step in path[:known] if isinstance(step, int) or PLAIN_KEY.fullmatch(step)]
        return dotted(tuple(plain)) or "configuration"

    def _line(self, path: Path) -> int | None:
        for end in range(len(path), 0, -1):
            if path[:end] in self.document.lines:
                return self.document.lines[path[:end]]
        return None


def _line(problem: Problem) -> float:
    return float("inf") if problem.line is None else problem.line


def _read(path: FilesystemPath) -> Document | Problem:
    name = input_name(path)
    try:
        document = parse_yaml(read_input(path))
    except ValueError as error:
        return Problem(name, str(error), rule=f"{name}: {error}")
    if isinstance(document, Problem):
        rule = f"{name}: {document.rule}"
        return Problem(name, document.message, document.value, line=document.line, rule=rule)
    return document


def _without_extensions(tree: object) -> object:
    """Leave out the `x-…` keys of the file, which hold values for its aliases and are not part of the format."""
    if not isinstance(tree, dict):
        return tree
    return {name: value for name, value in tree.items() if not name.startswith("x-")}


def _unplaced(setting: Setting) -> Problem:
    whole = setting.path[0]
    sentence = (
        f"is a field of one {whole}, but {whole} is a list: set the field in the list, or set the whole list"
    )
    name = setting.source.removeprefix("env ")
    return Problem(name, sentence, rule=f"{name}: {sentence}")


def _flags(flags: Mapping[str, object], shape: Shape) -> tuple[list[Setting], list[Problem]]:
    settings: list[Setting] = []
    problems: list[Problem] = []
    for name, given in flags.items():
        if given is None:
            continue
        flag, path = flag_name(name), tuple(name.split("."))
        at = shape.at(path)
        value = from_text(given, at) if isinstance(given, str) and at is not None else given
        if at is None:
            problems.append(Problem(flag, "is not a field that a flag can set"))
        elif isinstance(value, Problem):
            problems.append(Problem(flag, value.message, value.value))
        else:
            settings.append(Setting(path, value, f"flag {flag}"))
    return settings, problems
