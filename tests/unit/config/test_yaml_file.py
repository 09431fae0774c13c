from __future__ import annotations

import pytest

from authgate.config.problems import Problem
from authgate.config.yaml_file import Document, parse_yaml


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("a: [1", "is not valid YAML", 1),
        ("a: 1\n\tb: 2", "is not valid YAML", 2),
        ("a: &x 1", "anchors and aliases", 1),
        ("a: 1\nb: *a", "anchors and aliases", 2),
        ("a: */web", "quote a text that begins with *", 1),
        ("a: !!python/name:os.system 1", "tags", 1),
        ("a: !local 1", "tags", 1),
        ("a: 1\n---\nb: 1", "single document", 2),
        ("[" * 40 + "]" * 40, "nested deeper than 32", 1),
        ("a: [" + "1," * 50_001 + "]", "more than 50000 values", 1),
        ("a: \x07", "control character", None),
        ("a: \ud800", "lone surrogate", None),
        ('a: "\\U00110000"', "no character", None),
        ('a: "\\Uffffffff"', "no character", None),
    ],
    ids=[
        "unclosed",
        "tab",
        "anchor",
        "alias",
        "bare-star",
        "python-tag",
        "local-tag",
        "two-documents",
        "deep",
        "many-values",
        "control-character",
        "surrogate",
        "beyond-unicode",
        "beyond-int",
    ],
)
def test_yaml_that_is_not_read_is_one_problem(text: str, words: str, line: int | None) -> None:
    """What makes a text unreadable is told once, with its line where there is one."""
    problem = parse_yaml(text)
    assert isinstance(problem, Problem)
    assert (words in problem.message, problem.line) == (True, line)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("yes", True),
        ("Off", False),
        ("'yes'", "yes"),
        ("12", 12),
        ("-3", -3),
        ("017", "017"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("9" * 5000, "9" * 5000),
        ("<<", "<<"),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
    ids=lambda value: repr(value)[:16],
)
def test_a_scalar_means_what_it_looks_like(text: str, value: object) -> None:
    """Only null, truth values and decimal numbers are more than text."""
    document = parse_yaml(text)
    assert isinstance(document, Document)
    assert document.value == value


def test_a_number_that_is_none_stays_a_number() -> None:
    """`.nan` reads as a float, so that a number's bounds refuse it."""
    document = parse_yaml(".nan")
    assert isinstance(document, Document)
    assert str(document.value) == "nan"


def test_every_value_knows_its_line() -> None:
    """Keys and entries are found again in the file."""
    document = parse_yaml("a:\n  b:\n  - x\n  - y: 1\n")
    assert isinstance(document, Document)
    assert {path: line for path, line in document.lines.items() if path} == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "b", 0): 3,
        ("a", "b", 1): 4,
        ("a", "b", 1, "y"): 4,
    }


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("a: 1\na: 2", "a", "stands twice; the first is on line 1"),
        ("a: {b: 1, 'b': 2}", "a.b", "stands twice"),
        ("a: [{b: 1, b: 2}]", "a[0].b", "stands twice"),
        ("a: {1: x}", "a", "a key must be a text"),
        ("a: {yes: x}", "a", "a key must be a text"),
        ("a: {~: x}", "a", "a key must be a text"),
        ("a: {? [b] : x}", "a", "a key must be a text"),
    ],
    ids=["top", "quoted", "in-a-list", "number", "truth", "null", "list"],
)
def test_a_key_at_fault_is_a_problem_at_its_path(text: str, path: str, words: str) -> None:
    """Duplicate keys and keys that are no text are told without giving up on the rest."""
    document = parse_yaml(text)
    assert isinstance(document, Document)
    assert [(problem.path, words in problem.message) for problem in document.problems] == [(path, True)]


def test_each_duplicate_key_is_told() -> None:
    """Three wrong keys are three problems."""
    document = parse_yaml("a: 1\na: 2\na: 3\nb: 1\nb: 2")
    assert isinstance(document, Document)
    assert [(problem.path, problem.line) for problem in document.problems] == [("a", 2), ("a", 3), ("b", 5)]
