from __future__ import annotations

import pytest

from authgate.config.problems import Problem
from authgate.config.reading.yaml_file import Document, parse_yaml

NINE = range(1, 10)
LAUGHS = "x0: &x0 [lol]\n" + "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in NINE)
MERGED_LAUGHS = "x0: &x0 {a: 1}\n" + "".join(
    f"x{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 9)}]}}\n" for n in NINE
)
DEEP = "x0: &x0 [1]\n" + "".join(f"x{n}: &x{n} [*x{n - 1}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("a: [1", "is not valid YAML", 1),
        ("a: 1\n\tb: 2", "is not valid YAML", 2),
        ("a: 1\nb: *a", 'there is no anchor (&) of this name before the alias (*): "a"', 2),
        ("a: &x 1\nb: &x 2", "duplicate anchor", 2),
        ("a: &x [1, *x]", "repeats the value that contains it", 1),
        ("a: &x\n  b: {c: *x}", "repeats the value that contains it", 2),
        ("a: &x\n  <<: *x", "repeats the value that contains it", 2),
        ("a: {<<: 1}", "needs a mapping", 1),
        (LAUGHS, "more than 200000 values", None),
        (MERGED_LAUGHS, "more than 200000 values", None),
        (DEEP, "nested deeper than 32", 1),
        (f"a: &x {'y' * 10_000}\nb: [{'*x,' * 1_000}]", "more than 4194304 characters", 2),
        ("a: */web", "quote a text that begins with *", 1),
        ("a: !!python/name:os.system 1", "tags", 1),
        ("a: !local 1", "tags", 1),
        ("a: 1\n---\nb: 1", "single document", 2),
        ("[" * 40 + "]" * 40, "nested deeper than 32", 1),
        ("a: [" + "1," * 200_001 + "]", "more than 200000 values", 1),
        ("a: \x07", "control character", None),
        ("a: \ud800", "lone surrogate", None),
        ('a: "\\U00110000"', "not a character", None),
        ('a: "\\Uffffffff"', "not a character", None),
    ],
    ids=[
        "unclosed",
        "tab",
        "unknown-anchor",
        "anchor-twice",
        "list-in-itself",
        "mapping-in-itself",
        "merged-into-itself",
        "merge-of-a-number",
        "billion-laughs",
        "billion-merged-laughs",
        "deep-by-aliases",
        "long-by-aliases",
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
def test_yaml_that_is_not_supported_is_one_problem(text: str, words: str, line: int | None) -> None:
    """It is reported once, with its line if there is one."""
    problem = parse_yaml(text)
    assert isinstance(problem, Problem)
    assert words in problem.message
    assert line in (None, problem.line)


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
        ("[&x a, *x]", ("a", "a")),
        ("{a: &x [b, c], d: *x}", {"a": ("b", "c"), "d": ("b", "c")}),
        ("{a: &x {b: 1, c: 2}, d: {<<: *x, c: 3}}", {"a": {"b": 1, "c": 2}, "d": {"c": 3, "b": 1}}),
        (
            "{a: &x {b: 1}, e: &y {b: 2, c: 2}, d: {<<: [*x, *y]}}",
            {"a": {"b": 1}, "e": {"b": 2, "c": 2}, "d": {"b": 1, "c": 2}},
        ),
        ("{a: &x {<<: &y {b: 1}, c: 2}, d: {<<: *x}}", {"a": {"c": 2, "b": 1}, "d": {"c": 2, "b": 1}}),
        ("{'<<': a}", {"<<": "a"}),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
    ids=lambda value: repr(value)[:16],
)
def test_a_scalar_has_the_type_that_it_looks_like(text: str, value: object) -> None:
    """Only null, booleans and decimal numbers are not texts."""
    document = parse_yaml(text)
    assert isinstance(document, Document)
    assert document.value == value


def test_not_a_number_is_a_float() -> None:
    """`.nan` is a float, so that the bounds of a number refuse it."""
    document = parse_yaml(".nan")
    assert isinstance(document, Document)
    assert str(document.value) == "nan"


def test_every_value_has_its_line() -> None:
    """So do keys and entries of lists."""
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
        ("a: 1\na: 2", "a", "is given twice; the first one is on line 1"),
        ("a: {b: 1, 'b': 2}", "a.b", "is given twice"),
        ("a: [{b: 1, b: 2}]", "a[0].b", "is given twice"),
        ("a: {1: x}", "a", "a key must be a text"),
        ("a: {yes: x}", "a", "a key must be a text"),
        ("a: {~: x}", "a", "a key must be a text"),
        ("a: {? [b] : x}", "a", "a key must be a text"),
    ],
    ids=["top", "quoted", "in-a-list", "number", "truth", "null", "list"],
)
def test_a_wrong_key_is_a_problem_at_its_path(text: str, path: str, words: str) -> None:
    """Duplicate keys, and keys that are not texts, do not stop the parser."""
    document = parse_yaml(text)
    assert isinstance(document, Document)
    assert [(problem.path, words in problem.message) for problem in document.problems] == [(path, True)]


def test_each_duplicate_key_is_reported() -> None:
    """Three wrong keys are three problems."""
    document = parse_yaml("a: 1\na: 2\na: 3\nb: 1\nb: 2")
    assert isinstance(document, Document)
    assert [(problem.path, problem.line) for problem in document.problems] == [("a", 2), ("a", 3), ("b", 5)]


def test_an_alias_has_its_own_line_and_its_value_the_line_of_the_anchor() -> None:
    """An error in a shared list has the line of the list; an error about its place has that of the alias."""
    document = parse_yaml("x-list: &list\n- a\n- b\nfirst: *list\nlist:\n- *list\nmerged:\n  <<: {c: 1}\n")
    assert isinstance(document, Document)
    assert {
        path: document.lines[path] for path in (("first",), ("first", 1), ("list", 0), ("merged", "c"))
    } == {
        ("first",): 4,
        ("first", 1): 3,
        ("list", 0): 6,
        ("merged", "c"): 8,
    }


def test_keys_of_merged_mappings_are_not_duplicates() -> None:
    """A mapping's own member overrides a merged one; two own members of a name are still an error."""
    document = parse_yaml("a: &x {b: 1}\nc: {<<: *x, b: 2}\nd: {<<: *x, b: 2, b: 3}\n")
    assert isinstance(document, Document)
    assert [problem.path for problem in document.problems] == ["d.b"]
