"""A configuration as plain values, for the serving process, which does not load pydantic and the models.

A child process reads the configuration and hands over these values (`cli/config_process`). What uses a configuration
at runtime reads its attributes only, so it works with models and with plain values.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, cast

from authgate.config.problems import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.config.models.configuration import Config

FileState = tuple[int, int, int, int] | None
"""What changes when a file is written or replaced, or None if the file does not exist."""

_ACRONYMS: Final = {"url": "URL", "ttl": "TTL", "ca": "CA", "id": "ID", "http": "HTTP"}
_CHANGED: Final = frozenset({"ServerConfig", "ExchangeConfig", "LogConfig"})
"""Models whose values are copied with changes at runtime. Their properties are left out: a copy would have old ones."""


class Section:  # noqa: PLW1641 - values may be mappings, so it has no hash
    """The values of a model: its fields and its properties. It is frozen, as the model is."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self.__dict__.update(values)

    def model_copy(self, *, update: Mapping[str, object]) -> Self:
        """Return a copy with other values."""
        return type(self)({**self.__dict__, **update})

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name}: a configuration cannot be changed")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Section) and self.__dict__ == other.__dict__

    def __repr__(self) -> str:
        return f"Section({', '.join(self.__dict__)})"  # a value may be a secret


@dataclass(frozen=True, slots=True)
class PlainConfig:
    """A valid configuration as plain values, the warnings about it, and the files that it names."""

    config: Config
    """Not a `Config`, but a `Section` with the same attributes."""
    warnings: tuple[Problem, ...]
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A configuration that was read, or every problem with it.

    `path` is its file, or None if it cannot be read again. `state` is the state of the file just before it was read.
    """

    path: Path | None
    state: FileState
    outcome: PlainConfig | tuple[Problem, ...]

    def config(self) -> PlainConfig:
        """Return the configuration, or raise `ConfigError`."""
        if isinstance(self.outcome, tuple):
            raise ConfigError(self.outcome)
        return self.outcome


def plain(config: Config) -> Config:
    """Return a configuration as plain values."""
    return cast("Config", _plain(config))


def _plain(value: Any) -> object:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    kind = type(value)
    if not hasattr(kind, "model_fields"):
        return value
    names = (*kind.model_fields, *_properties(kind))  # type: ignore[arg-type]  # it is a model's class, as it has fields
    return Section({name: _plain(getattr(value, name)) for name in names})


@cache
def _properties(kind: type) -> tuple[str, ...]:
    names = () if kind.__name__ in _CHANGED else dir(kind)
    own = (name for name in names if not name.startswith(("_", "model_")))
    return tuple(name for name in own if isinstance(getattr(kind, name, None), property))


def camel_case(name: str) -> str:
    """Return an attribute's name in the file: `client_ca_file` is `clientCAFile`."""
    first, *rest = name.split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


def file_state(path: Path | str) -> FileState:
    """Return the current state of a file, to compare it with a later one."""
    try:
        found = os.stat(path)  # noqa: PTH116 - Path.stat is the same
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
