"""Configurations of other programs become configurations of authgate, and nothing is dropped silently."""

from __future__ import annotations

import itertools
import json
import tomllib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from authgate.cli.commands import app
from authgate.config import load, load_policy_tests
from authgate.config.problems import dotted
from authgate.tools import policy_tests
from authgate.tools.convert import FROM, ConversionError, Converted
from tests.unit.tools.convert.peers import CASES, Case

_DESCRIBES = {"apiVersion", "id", "kind", "metadata", "status"}
"""The fields of an object that are not listed, because they only describe it."""

ALL = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.peer}/{case.file.name}")
DECIDED = pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.tests.exists()],
    ids=lambda case: f"{case.peer}/{case.file.name}",
)


@ALL
def test_a_configuration_is_converted_as_expected(case: Case) -> None:
    """The command writes the expected file, whose comments list the notes, and the result passes the check."""
    words = ["config", "convert", str(case.file), "--from", case.peer, *case.words]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.stdout == case.expected.read_text(encoding="utf-8")
    assert result.exit_code == 0, result.stderr


@DECIDED
async def test_the_result_decides_as_the_other_program(case: Case) -> None:
    """The policy tests of the case pass with the expected result."""
    config = load(case.expected, {}).config
    results = await policy_tests.run(config, load_policy_tests(case.tests).tests)
    assert [(result.test.name, result.reason, result.detail) for result in results if not result.passed] == []


@ALL
def test_every_value_of_the_input_is_used_or_listed(case: Case) -> None:
    """A value either changes the result, or has a note, or a changed value is an error."""
    documents = _documents(case)
    before = case.convert(_text(case, documents))
    silent = [
        dotted(path)
        for index, document in enumerate(documents)
        for path, value in _leaves(document)
        if not _is_noted(before, path, value)
        and _outcome(case, _with(documents, (index, *path), _other(value))) == _seen(before)
    ]
    assert silent == []


@ALL
def test_an_unknown_field_is_listed(case: Case) -> None:
    """A field that the conversion does not know has a note, in whichever mapping it is."""
    documents = _documents(case)
    for index, document in enumerate(documents):
        for path in _mappings(document):
            changed = _with(documents, (index, *path, "zz_unknown"), "x")
            try:
                converted = case.convert(_text(case, changed))
            except ConversionError:
                continue
            listed = [note for note in converted.notes if "zz_unknown" in f"{note.path} {note.message}"]
            assert listed or _is_noted(converted, (*path, "zz_unknown")), dotted(path)


@ALL
def test_a_value_of_another_type_is_converted_or_rejected(case: Case) -> None:
    """A wrong type has a message, and no other exception."""
    documents = _documents(case)
    others = itertools.cycle((None, 7, "x", [], {}, ["x"], [{"a": "b"}], {"a": 1}, True, -1, "("))
    for index, document in enumerate(documents):
        for path in (*_mappings(document), *(path for path, _ in _leaves(document))):
            changed = _with(documents, (index, *path), next(others))
            if all(isinstance(item, dict | list) for item in changed):
                _outcome(case, changed)


@pytest.mark.parametrize("peer", FROM)
def test_each_program_has_ten_cases_and_decisions(peer: str) -> None:
    """Ten configurations are converted for each program, and the decisions of some results are tested."""
    counts = Counter(case.peer for case in CASES)
    assert counts[peer] >= 10
    assert [case for case in CASES if case.peer == peer and case.tests.exists()]


def _documents(case: Case) -> list[Any]:
    return [tomllib.loads(case.text)] if case.file.suffix == ".cfg" else list(yaml.safe_load_all(case.text))


def _text(case: Case, documents: list[Any]) -> str:
    if case.file.suffix == ".cfg":
        return "\n".join(f"{name} = {json.dumps(value)}" for name, value in documents[0].items())
    return yaml.safe_dump_all(documents, sort_keys=False)


def _seen(converted: Converted) -> tuple[object, object]:
    return converted.document, [str(note) for note in converted.notes]


def _outcome(case: Case, documents: list[Any]) -> object:
    try:
        return _seen(case.convert(_text(case, documents)))
    except ConversionError as error:
        return error


def _is_noted(converted: Converted, path: tuple[str | int, ...], value: object = None) -> bool:
    """Return whether a note is about the value at a path, or about something that contains it.

    The path of a note begins below the object that its label names. A note about a flag has the flag's name.
    """
    if _DESCRIBES & {step for step in path if isinstance(step, str)}:
        return True
    flag = str(value).partition("=")[0].lstrip("-")
    for note in converted.notes:
        place = note.path.split(" ")[-1]
        names = note.message.partition(" omitted: ")[0].replace(",", "").split()
        for start in range(len(path)):
            for end in range(start, len(path)):
                if place == dotted(path[start : end + 1]) or (
                    (place == dotted(path[start:end]) or end == start) and str(path[end]) in names
                ):
                    return True
        if flag == place and str(value).startswith("-"):
            return True
    return False


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    match value:
        case dict():
            for name, member in value.items():
                yield from _leaves(member, (*path, name))
        case list():
            for index, item in enumerate(value):
                yield from _leaves(item, (*path, index))
        case _:
            yield path, value


def _mappings(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict):
        yield path
        for name, member in value.items():
            yield from _mappings(member, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _mappings(item, (*path, index))


def _with(value: Any, path: tuple[str | int, ...], leaf: object) -> Any:
    if not path:
        return leaf
    step, *rest = path
    if isinstance(value, list):
        return [_with(item, tuple(rest), leaf) if index == step else item for index, item in enumerate(value)]
    return {**value, step: _with(value.get(step), tuple(rest), leaf)}


def _other(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return "other" if value is None else f"{value}x"
