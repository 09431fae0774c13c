"""`AUTHGATE_…` variables: one field each, nested with `__`; a `…_FILE` variable names a file with the value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from authgate.config.format import Shape
from authgate.config.models.files import MAX_FILE_BYTES, read_text
from authgate.config.problems import Path, Problem, dotted, nearest, shown
from authgate.config.reading.layers import Setting
from authgate.config.reading.yaml_file import parse_yaml, plain_scalar

PREFIX = "AUTHGATE_"
_NOT_OURS = frozenset({"AUTHGATE_CONFIG", "AUTHGATE_CACHE"})  # for the command line and for the build
_TESTS = "AUTHGATE_TEST_"
FROM_FILE = "_FILE"
"""The suffix of a variable that names a file with the value, which may be a secret."""
# The variables that the kubelet sets in every pod for a Service whose name begins with "authgate"
# (k8s.io/kubernetes, pkg/kubelet/envvars/envvars.go).
_SERVICE = re.compile(
    r"AUTHGATE(?:_[A-Z0-9]+)*_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9]+)*"
    r"|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)
_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Environment:
    """The settings of the environment, outer fields first, its problems, and its warnings."""

    settings: tuple[Setting, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    path: Path
    shape: Shape
    from_file: bool


def read_environment(env: Mapping[str, str], shape: Shape) -> Environment:
    """Read every `AUTHGATE_…` variable except those that Kubernetes sets for Services."""
    settings: dict[Path, Setting] = {}
    problems: list[Problem] = []
    for name in filter(_is_setting, sorted(env)):
        variable = _find(name, shape)
        if variable is None:
            problems.append(_unknown(name, shape))
        elif variable.path in settings:
            other = settings[variable.path].source.removeprefix("env ")
            problems.append(
                Problem(name, f"sets {dotted(variable.path)}, as {other} does; remove one of them")
            )
        else:
            outcome = _value(variable, env[name])
            if isinstance(outcome, Problem):
                problems.append(outcome)
            else:
                settings[variable.path] = outcome
    outer_first = sorted(settings.values(), key=lambda setting: len(setting.path))
    return Environment(tuple(outer_first), tuple(problems), tuple(_ignored_variables(env)))


def from_text(text: str, shape: Shape) -> object | Problem:
    """Parse a text as a value of the given shape.

    Lists are separated by commas or written as `[a, "b,c"]`; mappings, and lists of mappings, are YAML or JSON.
    """
    if len(text) > MAX_FILE_BYTES:
        return Problem("", f"is longer than {MAX_FILE_BYTES} characters")
    if shape.nullable and text.strip() == "null":
        return None
    match shape.kind:
        case "text":
            return text
        case "number" | "duration":
            return plain_scalar(text.strip())
        case "list" if _of_texts(shape) and not text.lstrip().startswith("["):
            return tuple(entry.strip() for entry in text.split(",")) if text.strip() else ()
        case "list" | "mapping" | "keyed":
            return _from_yaml(text)


def _from_yaml(text: str) -> object | Problem:
    document = parse_yaml(text)
    if isinstance(document, Problem):
        return document
    if document.problems:
        first = document.problems[0]
        return Problem("", f"{first.path}: {first.message}", first.value, line=first.line)
    return document.value


def _of_texts(shape: Shape) -> bool:
    return shape.item is not None and shape.item.kind == "text"


def _is_setting(name: str) -> bool:
    if not name.startswith(PREFIX) or name in _NOT_OURS or name.startswith(_TESTS):
        return False
    return _SERVICE.fullmatch(name) is None


def _ignored_variables(env: Mapping[str, str]) -> Iterator[Problem]:
    for name in ("AUTHGATE_PORT", "AUTHGATE_SERVER_PORT", "AUTHGATE_ADMIN_PORT"):
        if name in env and _ADDRESS.match(env[name]) is None:
            sentence = "is ignored: Kubernetes sets it for a Service; to set an address to listen on, use"
            setting = "AUTHGATE_SERVER__ADMIN" if "ADMIN" in name else "AUTHGATE_SERVER__LISTEN"
            yield Problem(name, f"{sentence} {setting}", shown(env[name]))


def _find(name: str, shape: Shape) -> _Variable | None:
    """Return the field that a variable names; a field whose own name ends in File takes precedence over the suffix."""
    for text, from_file in ((name, False), (name.removesuffix(FROM_FILE), True)):
        if from_file and text == name:
            break
        path: list[str] = []
        found: Shape | None = shape
        for segment in text.removeprefix(PREFIX).split("__"):
            folded = segment.replace("_", "").casefold()
            member = (
                next((known for known in found.members if known.casefold() == folded), None)
                if found
                else None
            )
            found = None if found is None or member is None else found.members[member]
            path.append(member or "")
        if found is not None:
            return _Variable(name, tuple(path), found, from_file)
    return None


def _value(variable: _Variable, text: str) -> Setting | Problem:
    source = f"env {variable.name}"
    if variable.from_file:
        try:
            text = read_text(text).rstrip("\r\n")
        except ValueError as error:
            sentence = f"names a file that {error}"
            return Problem(variable.name, sentence, shown(text), rule=f"{variable.name}: {sentence}")
    value = from_text(text, variable.shape)
    if isinstance(value, Problem):
        seen = "" if variable.from_file else value.value
        return Problem(variable.name, value.message, seen, rule=f"{variable.name}: is not valid")
    return Setting(variable.path, value, source)


def _unknown(name: str, shape: Shape) -> Problem:
    known = tuple(_names(shape, PREFIX))
    for outer in known:
        if name.startswith(f"{outer}__") and not any(other.startswith(f"{outer}__") for other in known):
            return Problem(
                name, f"cannot be set by itself; set {outer} to the whole value, as YAML or JSON text"
            )
    return Problem(
        name, "is not a variable that authgate knows", suggestion=nearest(name, (*known, *_NOT_OURS))
    )


def _names(shape: Shape, prefix: str) -> Iterator[str]:
    for member, below in shape.members.items():
        name = prefix + _WORD.sub("_", member).upper()
        yield name
        yield from _names(below, f"{name}__")
