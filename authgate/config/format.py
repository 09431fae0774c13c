"""The format of the configuration file: its shape, and values written as in the file."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from authgate.config.models.configuration import Config
from authgate.config.models.fields import ConfigModel, Refused, Seconds
from authgate.config.plain import camel_case
from authgate.config.problems import Path, masked
from authgate.listen_address import ListenAddress

Kind = Literal["mapping", "keyed", "list", "text", "number", "duration"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of the values at one place of a configuration.

    `members` are the fields of a mapping by their names in the file. `item` is the shape of the entries of a list or a
    keyed mapping, or of a mapping that can be replaced by a list of such mappings. `refused` and `absent` are those of
    `ConfigModel`.
    """

    kind: Kind
    nullable: bool = False
    _: KW_ONLY
    members: Mapping[str, Shape] = field(default_factory=dict)
    item: Shape | None = None
    refused: Mapping[str, Refused] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)

    def step(self, name: str | int) -> Shape | None:
        """Return the shape one step further, or None if the format has no such step."""
        if self.kind == "mapping":
            return self.members.get(name) if isinstance(name, str) else self.item
        return self.item

    def at(self, path: Path) -> Shape | None:
        """Return the shape at a path, or None if the format has no such path."""
        shape: Shape | None = self
        for name in path:
            if shape is None:
                return None
            shape = shape.step(name)
        return shape

    def spelled(self, path: Path) -> Path:
        """Return a path of pydantic, which has attribute names for defaults, with the names of the file."""
        shape: Shape | None = self
        spelled: list[str | int] = []
        for name in path:
            if shape is not None and isinstance(name, str) and shape.step(name) is None:
                in_file = camel_case(name)
                spelled.append(name if shape.step(in_file) is None else in_file)
            else:
                spelled.append(name)
            shape = None if shape is None else shape.step(spelled[-1])
        return tuple(spelled)


def shape_of(model: type[ConfigModel]) -> Shape:
    """Return the shape of a model and of all models below it."""
    return _of_model(model, nullable=False)


def _of_model(model: type[ConfigModel], *, nullable: bool) -> Shape:
    members = {
        camel_case(name): _of_annotation(info.annotation, list(info.metadata))
        for name, info in model.model_fields.items()
    }
    return Shape("mapping", nullable, members=members, refused=model.refused, absent=model.absent)


def _of_annotation(annotation: Any, metadata: list[object], *, nullable: bool = False) -> Shape:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _of_annotation(arguments[0], [*metadata, *arguments[1:]], nullable=nullable)
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not types.NoneType]
        shapes = [
            _of_annotation(argument, metadata, nullable=len(inner) < len(arguments)) for argument in inner
        ]
        # The only union of shapes is a mapping, or a list of such mappings (`OneOrSeveral`).
        return shapes[0] if len(shapes) == 1 else replace(shapes[0], item=shapes[1].item)
    if origin is tuple:
        return Shape("list", nullable, item=_of_annotation(arguments[0], []))
    if origin is dict:
        return Shape("keyed", nullable, item=_of_annotation(arguments[1], []))
    if isinstance(annotation, type) and issubclass(annotation, ConfigModel):
        return _of_model(annotation, nullable=nullable)
    if any(isinstance(datum, Seconds) for datum in metadata):
        return Shape("duration", nullable)
    return Shape("number" if annotation in (bool, int, float) else "text", nullable)


def leaves(config: Config) -> Iterator[tuple[Path, object]]:
    """Yield every path of a configuration with a plain value or a list of plain values, and the value."""
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
    """Return a value as a file has it, with secrets masked."""
    match value:
        case str():
            return masked(value)
        case ListenAddress():
            return str(value)
        case tuple():
            return [as_written(item) for item in value]
        case _:
            return value
