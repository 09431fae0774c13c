"""Kubernetes manifests: the objects of a file, and the arguments of a container as fields."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authgate.tools.convert.fields import Fields
from authgate.tools.convert.values import ConversionError, Original, read_originals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from authgate.config.problems import Path
    from authgate.tools.convert.fields import Reading

_TEMPLATES: Final = {
    "Pod": (),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    **dict.fromkeys(
        ("DaemonSet", "Deployment", "Job", "ReplicaSet", "StatefulSet"),
        ("spec", "template"),
    ),
}
_UNUSED: Final = "the converted containers do not use it"
_FILES: Final = {"ConfigMap": ("data",), "Secret": ("stringData", "data")}
_REFERENCES: Final = {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}
_WORKLOAD: Final = "the workload stays as it is"
_VARIABLE: Final = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
_STATUS: Final = ("apiVersion", "kind", "status")


@dataclass(frozen=True, slots=True)
class Object:
    """An object of a file."""

    kind: str
    name: str
    namespace: str
    fields: Fields

    @property
    def label(self) -> str:
        """The kind and the name."""
        return f"{self.kind}/{self.name}"


def objects(text: str, reading: Reading) -> list[Object]:
    """Return the objects of a file, with those of a `List`; raises `ConversionError`."""
    found = []
    for value, lines in read_originals(text):
        if value is None:
            continue
        if not isinstance(value, dict):
            raise ConversionError([Original({}, lines).note((), "must be a mapping of fields")])
        if str(value.get("kind")).endswith("List") and isinstance(value.get("items"), tuple):
            root = reading.open(Original(value, lines))
            root.ignore("apiVersion", "kind", "metadata")
            for item in root.sections("items"):
                found.append(_object(item.values, lines, item.path, reading))
                item.ignore(*item)
        else:
            found.append(_object(value, lines, (), reading))
    return found


def _object(value: Mapping[str, object], lines: dict[Path, int], path: Path, reading: Reading) -> Object:
    metadata = value.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    kind, name, namespace = (
        str(text or "") for text in (value.get("kind"), names.get("name"), names.get("namespace"))
    )
    below = {place[len(path) :]: line for place, line in lines.items() if place[: len(path)] == path}
    label = "/".join(filter(None, (kind, name)))
    return Object(kind, name, namespace, reading.open(Original(value, below, label)))


def containers(item: Object) -> Iterator[Fields]:
    """Yield the containers of a workload; the rest of the object is noted as omitted."""
    fields = item.fields
    fields.ignore(*_STATUS, "metadata")
    below: Fields | None = fields
    for step in (*_TEMPLATES[item.kind], "spec"):
        opened = below.section(step) if below is not None else None
        if below is not None:
            below.ignore("metadata")
            below.omit_rest(_WORKLOAD)
        below = opened
    if below is not None:
        found = below.sections("containers")
        below.omit_rest(_WORKLOAD)
        yield from found


def is_workload(item: Object) -> bool:
    """Return whether an object has containers."""
    return item.kind in _TEMPLATES


def arguments(
    container: Fields, items: list[Object], used: set[str], reading: Reading, *, environment: str = ""
) -> Fields:
    """Return the flags of a container's command and arguments as fields, each with the list of its values.

    A value of `$(NAME)` is replaced if `env` has it, also from a ConfigMap or Secret of the file, whose label is added
    to `used`. A flag before another flag is "true". Variables that begin with `environment` are fields, too.
    """
    variables = {}
    values: dict[str, list[str]] = {}
    lines: dict[Path, int] = {}
    for variable in container.sections("env"):
        name = variable.text("name")
        if "value" in variable.values:
            variables[name] = variable.text("value")
        elif (value := _referenced(variable, items, used)) is not None:
            variables[name] = value
        # An empty variable counts as unset.
        if environment and name.startswith(environment) and variables.get(name):
            values[name] = [variables[name]]
            lines[name,] = variable.original.lines.get(variable.path, 0)
    for field in ("command", "args"):
        words = list(enumerate(container.texts(field)))
        while words:
            index, word = words.pop(0)
            word = _VARIABLE.sub(lambda match: variables.get(match[1]) or match[0], word)
            flag, equals, value = word.partition("=")
            flag = flag.lstrip("-")
            if not word.startswith("-"):
                if field == "args" or index > 0:
                    container.note(field, f"has the word at index {index} omitted: it is not a flag")
                continue
            if not equals:
                value = words.pop(0)[1] if words and not words[0][1].startswith("--") else "true"
            if found := _VARIABLE.search(value):
                container.note(
                    field,
                    f"has the reference $({found[1]}) in --{flag}, and the file does not have its value:"
                    " replace it in the result",
                )
            values.setdefault(flag, []).append(value)
            place = (*container.path, field)
            lines.setdefault(
                (flag,), container.original.lines.get((*place, index), container.original.lines.get(place, 0))
            )
    label = f"{container.original.label} {container.text('name')}"
    return reading.open(Original({name: tuple(items) for name, items in values.items()}, lines, label))


def _referenced(variable: Fields, items: list[Object], used: set[str]) -> str | None:
    """Return the value of a variable from a ConfigMap or Secret of the file; None, with a note, if it is not there."""
    source = variable.section("valueFrom")
    if source is None:
        return None
    for name in source:
        reference = source.section(name) if name in _REFERENCES else None
        if reference is None:
            continue
        reference.omit("optional", "the value must be in the file")
        key, owner = reference.text("key"), f"{_REFERENCES[name]}/{reference.text('name')}"
        found = embedded(key, [item for item in items if item.label == owner], used)
        if found is not None:
            return found.text
    source.ignore(*source)
    variable.note("valueFrom", "is omitted: the value is not in the file")
    return None


def container_of(container: Fields, *, env_from: str = "copy the variables into env") -> None:
    """Note everything of a container except its command, arguments and environment as omitted."""
    container.ignore("name")
    container.omit("envFrom", env_from)
    container.omit_rest(_WORKLOAD)


@dataclass(frozen=True, slots=True)
class File:
    """A file in a ConfigMap or Secret."""

    text: str
    line: int
    label: str


def embedded(name: str, items: list[Object], used: set[str]) -> File | None:
    """Return the file with this name in the only ConfigMap or Secret that has one, or None.

    The label of the object is added to `used`.
    """
    found = [
        (item, member)
        for item in items
        for member in _FILES.get(item.kind, ())
        if isinstance(files := item.fields.values.get(member), dict) and name in files
    ]
    if len(found) != 1:
        return None
    item, member = found[0]
    data = item.fields.section(member)
    if data is None:
        return None
    used.add(item.label)
    item.fields.ignore(*_STATUS, "metadata")
    line = item.fields.original.lines.get((member, name), 0)
    text = data.text(name)
    if (item.kind, member) == ("Secret", "data"):
        try:
            text = base64.b64decode("".join(text.split()), validate=True).decode()
        except ValueError:
            raise data.wrong(name, "must be base64 of a text in UTF-8, as in every Secret") from None
    return File(text, line, f"{item.label} {member}[{name}]")


def rest_of_file(item: Object) -> None:
    """Note everything of a ConfigMap or Secret that no container uses as omitted."""
    for member in _FILES[item.kind]:
        data = item.fields.section(member)
        if data is not None:
            data.omit_rest(_UNUSED)
    item.fields.omit_rest(_UNUSED)


def parse_flag(text: str) -> bool | None:
    """Return the boolean that Go's flags read, or None."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    return False if text in ("0", "f", "F", "false", "FALSE", "False") else None
