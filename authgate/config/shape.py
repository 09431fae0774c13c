"""The configuration's outline, read off its models: which names are known where, and of what kind they are."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from authgate.config.models.fields import ConfigModel, Refused, Seconds, camel_case
from authgate.config.problems import Path

Kind = Literal["mapping", "keyed", "list", "text", "number", "duration"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What may stand at one place of a configuration.

    `members` are a mapping's fields by their names in the file; `item` is what a list or a keyed mapping holds, or
    a mapping in whose place a list of such mappings may stand.
    `refused` and `absent` are those of `ConfigModel`.
    """

    kind: Kind
    nullable: bool = False
    members: Mapping[str, Shape] = field(default_factory=dict)
    item: Shape | None = None
    refused: Mapping[str, Refused] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)

    def step(self, name: str | int) -> Shape | None:
        """Return what stands one step further, or None where nothing is known."""
        if self.kind == "mapping":
            return self.members.get(name) if isinstance(name, str) else self.item
        return self.item

    def at(self, path: Path) -> Shape | None:
        """Return what stands at a path, or None where nothing is known."""
        shape: Shape | None = self
        for name in path:
            if shape is None:
                return None
            shape = shape.step(name)
        return shape

    def spelled(self, path: Path) -> Path:
        """Return the path with the attribute names that pydantic gives for defaults replaced by those of the file."""
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
    """Read the shape of a model and of all below it."""
    return _of_model(model, nullable=False)


def _of_model(model: type[ConfigModel], *, nullable: bool) -> Shape:
    members = {
        camel_case(name): _of_annotation(info.annotation, list(info.metadata))
        for name, info in model.model_fields.items()
    }
    return Shape("mapping", nullable, members, refused=model.refused, absent=model.absent)


def _of_annotation(annotation: Any, metadata: list[object], *, nullable: bool = False) -> Shape:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _of_annotation(arguments[0], [*metadata, *arguments[1:]], nullable=nullable)
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not types.NoneType]
        shapes = [
            _of_annotation(argument, metadata, nullable=len(inner) < len(arguments)) for argument in inner
        ]
        # A mapping, or a list of such mappings (`OneOrSeveral`), is the only choice there is.
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
