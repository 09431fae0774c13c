"""From pydantic's errors to findings: the path as in the file, a sentence, the nearest known name."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from authgate.config.models import Config
from authgate.config.problems import Finding, Path, nearest, shown
from authgate.config.shape import Shape

_KEY = "[key]"  # pydantic's mark for "the key itself, not its value"


def validate(tree: object, shape: Shape) -> Config | tuple[Finding, ...]:
    """Return the configuration that a tree of plain values describes, or what is wrong with its fields."""
    try:
        return Config.model_validate(tree, by_alias=True, by_name=False)
    except ValidationError as error:
        return tuple(_findings(error.errors(include_url=False), shape))


def _findings(errors: list[ErrorDetails], shape: Shape) -> Iterator[Finding]:
    refused_in = {_refused_at(error, shape) for error in errors} - {None}
    for error in errors:
        path = _path(error, shape)
        # Whoever writes `expression` has not forgotten `claim`: one sentence is enough.
        if error["type"] == "missing" and path[:-1] in refused_in:
            continue
        # What is too short only without its entries that are wrong gets by when they are mended.
        if error["type"] == "too_short" and error["input"]:
            continue
        yield _finding(error, path, shape)


def _path(error: ErrorDetails, shape: Shape) -> Path:
    location = error["loc"][:-1] if error["loc"][-1:] == (_KEY,) else error["loc"]
    return location if error["type"] == "extra_forbidden" else shape.spelled(location)


def _refused_at(error: ErrorDetails, shape: Shape) -> Path | None:
    *place, name = error["loc"] or ("",)
    holder = shape.at(tuple(place))
    known = error["type"] == "extra_forbidden" and holder is not None and name in holder.refused
    return tuple(place) if known else None


def _finding(error: ErrorDetails, path: Path, shape: Shape) -> Finding:
    holder = shape.at(path[:-1]) if path else None
    name = str(path[-1]) if path else ""
    match error["type"]:
        case "missing":
            absent = {} if holder is None else holder.absent
            return Finding(path, absent.get(name, "is required"))
        case "extra_forbidden" if holder is not None and name in holder.refused:
            return Finding(path, holder.refused[name].sentence)
        case "extra_forbidden":
            # The value is not shown: nobody knows what an unknown field holds.
            known = () if holder is None else tuple(holder.members)
            return Finding(path, "is not a known field", suggestion=nearest(name, known))
        case "literal_error":
            expected = str(error["ctx"]["expected"]).replace("'", '"')
            choices = expected.replace('" or "', '", "').strip('"').split('", "')
            suggestion = nearest(error["input"], choices) if isinstance(error["input"], str) else None
            return Finding(path, f"must be {expected}", shown(error["input"]), suggestion)
        case "value_error" if isinstance(error["input"], dict):
            return Finding(path, _sentence(error))
        case _:
            return Finding(path, _sentence(error), shown(error["input"]))


def _sentence(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return str(context["error"])
        case "tuple_type":
            return "must be a list, such as [a, b]"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "must be a mapping"
        case "string_type":
            return "must be a text; put it in quotes"
        case "string_unicode":
            return "must not hold a lone surrogate"
        case "int_type" | "int_from_float" | "int_parsing_size":
            return "must be a whole number"
        case "float_type" | "finite_number":
            return "must be a number"
        case "string_too_short" | "too_short":
            return "must not be empty"
        case "string_too_long":
            return f"must not be longer than {context['max_length']} characters"
        case "too_long":
            return f"must not have more than {context['max_length']} entries"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case _:
            return f"is not valid: {error['msg']}"
