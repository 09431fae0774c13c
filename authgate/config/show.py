"""The configuration in effect, value by value, with where each comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from authgate.config.models.configuration import Config
from authgate.config.models.durations import format_duration
from authgate.config.models.fields import ConfigModel, camel_case
from authgate.config.problems import Path, dotted, masked
from authgate.config.shape import shape_of
from authgate.listen_address import ListenAddress

if TYPE_CHECKING:
    from authgate.config.load import LoadedConfig


def effective(loaded: LoadedConfig) -> list[tuple[str, object, str]]:
    """Return every value in effect as (path, value, source), as the file would write it and with secrets masked."""
    shape = shape_of(Config)
    shown: list[tuple[str, object, str]] = []
    for path, value in leaves(loaded.config):
        at = shape.at(path)
        timed = at is not None and at.kind == "duration"
        text = format_duration(value) if timed and isinstance(value, float) else as_written(value)
        shown.append((dotted(path), text, loaded.sources.get(dotted(path), "default")))
    return shown


def leaves(config: Config) -> Iterator[tuple[Path, object]]:
    """Yield every path of a configuration that holds a plain value or a list of such, and the value."""
    yield from _leaves((), config)


def _leaves(path: Path, value: object) -> Iterator[tuple[Path, object]]:
    match value:
        case ConfigModel():
            for name in type(value).model_fields:
                yield from _leaves((*path, camel_case(name)), getattr(value, name))
        case dict():
            for key, member in value.items():
                yield from _leaves((*path, key), member)
        case tuple() if value and isinstance(value[0], ConfigModel):
            for index, item in enumerate(value):
                yield from _leaves((*path, index), item)
        case _:
            yield path, value


def as_written(value: object) -> object:
    """Return a value as a file would have it, with secrets masked."""
    match value:
        case str():
            return masked(value)
        case ListenAddress():
            return str(value)
        case tuple():
            return [as_written(item) for item in value]
        case _:
            return value
