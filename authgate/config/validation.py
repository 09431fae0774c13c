"""From plain values to models, or to findings: the path as in the file, a message, the nearest known name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from authgate.config.checks import check
from authgate.config.format import Shape
from authgate.config.models.configuration import Config
from authgate.config.models.fields import FINDING, ONE, SEVERAL, ConfigModel
from authgate.config.problems import Finding, Path, nearest, shown

M = TypeVar("M", bound=ConfigModel)

_INVALID: Final = "is not valid"
_KEY: Final = "[key]"  # pydantic's mark for "the key itself, not its value"


def parse(tree: object, shape: Shape) -> Config | tuple[Finding, ...]:
    """Return the configuration that a tree of plain values describes, or everything that is wrong with it.

    A check between sections runs if these sections are valid. Other checks of a policy run if that policy is valid.
    """
    outcome = validate(tree, Config, shape)
    if isinstance(outcome, Config):
        return tuple(check(outcome, ())) or outcome
    if not isinstance(tree, dict):
        return outcome
    invalid = {str(step) for finding in outcome for step in finding.path[:1]}
    valid = {name: value for name, value in tree.items() if name not in invalid}
    policies = tree.get("policies")
    if "policies" in invalid and isinstance(policies, dict):
        wrong = {
            step for finding in outcome if finding.path[:1] == ("policies",) for step in finding.path[1:2]
        }
        kept = {name: policy for name, policy in policies.items() if name not in wrong}
        if kept and wrong:
            valid["policies"] = kept
    rest = validate(valid, Config, shape)
    return (*outcome, *check(rest, invalid)) if isinstance(rest, Config) else outcome


def validate(tree: object, model: type[M], shape: Shape) -> M | tuple[Finding, ...]:
    """Return what a tree of plain values describes, or what is wrong with its fields; `shape` is the model's."""
    try:
        return model.model_validate(tree, by_alias=True, by_name=False)
    except ValidationError as error:
        return tuple(_findings(error.errors(include_url=False), shape))


def _findings(errors: list[ErrorDetails], shape: Shape) -> Iterator[Finding]:
    for error in errors:
        path = _path(error, shape)
        # A list that is too short only because its wrong entries do not count is reported for these entries.
        if error["type"] == "too_short" and error["input"]:
            continue
        yield _finding(error, path, shape)


def _path(error: ErrorDetails, shape: Shape) -> Path:
    location = _location(error)
    return location if error["type"] == "extra_forbidden" else shape.spelled(location)


def _location(error: ErrorDetails) -> Path:
    location = error["loc"][:-1] if error["loc"][-1:] == (_KEY,) else error["loc"]
    return tuple(step for step in location if step not in (ONE, SEVERAL))


def _finding(error: ErrorDetails, path: Path, shape: Shape) -> Finding:
    holder = shape.at(path[:-1]) if path else None
    name = str(path[-1]) if path else ""
    match error["type"]:
        case _ if error["type"] == FINDING:
            finding: Finding = error["ctx"][FINDING]
            return replace(finding, path=path)
        case "missing":
            absent = {} if holder is None else holder.absent
            return _plain(path, absent.get(name, "is required"))
        case "extra_forbidden" if holder is not None and name in holder.refused:
            return _plain(path, holder.refused[name].sentence)
        case "extra_forbidden":
            # The value is not shown: an unknown field may hold a secret.
            known = () if holder is None else tuple(holder.members)
            suggestion = nearest(name, known)
            return Finding(path, "is not a known field", suggestion=suggestion, rule="has an unknown field")
        case "literal_error":
            expected = str(error["ctx"]["expected"]).replace("'", '"')
            choices = expected.replace('" or "', '", "').strip('"').split('", "')
            suggestion = nearest(error["input"], choices) if isinstance(error["input"], str) else None
            rule = f"must be {expected}"
            return Finding(path, rule, shown(error["input"]), suggestion, rule=rule)
        case "value_error" if isinstance(error["input"], dict):
            return _plain(path, _sentence(error))
        case _:
            sentence = _sentence(error)
            rule = _INVALID if sentence.startswith(_INVALID) else sentence
            return Finding(path, sentence, shown(error["input"]), rule=rule)


def _plain(path: Path, sentence: str) -> Finding:
    return Finding(path, sentence, rule=sentence)


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
            return "must not contain a lone surrogate"
        case "int_type" | "int_from_float" | "int_parsing_size":
            return "must be a whole number"
        case "bool_type" | "bool_parsing":
            return "must be true or false"
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
            return f"{_INVALID}: {error['msg']}"
