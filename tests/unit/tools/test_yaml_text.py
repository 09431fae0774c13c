"""This project's reader and a YAML 1.1 reader read written YAML back unchanged."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from authgate.config.reading.yaml_file import Document, parse_yaml
from authgate.tools.yaml_text import nested, yaml_text

TRICKY = [
    "",
    "yes",
    "NO",
    "n",
    "null",
    "~",
    "1e3",
    "0x1f",
    "12:30:00",
    "2026-01-01",
    "1_000",
    "=",
    "<<",
    "*a",
    "&a",
]


@pytest.mark.parametrize(
    "text", [*TRICKY, "a: b", "#a", "a #b", "- a", "|", "\u2028", "\ufeff", "a\tb", " a", "a "]
)
def test_a_text_stays_a_text(text: str) -> None:
    """A text that a reader could take for another type or for YAML syntax is quoted."""
    document = {"text": text, text or "key": [text]}
    assert yaml.safe_load(yaml_text(document)) == document


@given(st.dictionaries(st.text(), st.recursive(st.text() | st.booleans() | st.integers(), st.lists)))
def test_any_document_is_read_back_unchanged(document: dict[str, object]) -> None:
    """It is written in ASCII."""
    text = yaml_text(document)
    assert yaml.safe_load(text) == document
    assert text.isascii()


def test_texts_of_several_lines_are_blocks() -> None:
    """So PEM is easy to read."""
    text = yaml_text(
        {"certificateAuthority": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"}
    )
    assert text == (
        "certificateAuthority: |\n  -----BEGIN CERTIFICATE-----\n  MIIB\n  -----END CERTIFICATE-----\n"
    )


def test_shared_values_are_written_twice() -> None:
    """The reader refuses anchors."""
    shared = {"claim": "sub"}
    document = parse_yaml(yaml_text({"a": shared, "b": shared}))
    assert isinstance(document, Document)
    assert document.value == {"a": shared, "b": shared}


@pytest.mark.parametrize(
    ("values", "document"),
    [
        ([(("a",), 1)], {"a": 1}),
        (
            [(("a", "b"), 1), (("a", "c"), None), (("d",), [1, "x"])],
            {"a": {"b": 1, "c": None}, "d": [1, "x"]},
        ),
        (
            [(("a", 0, "b"), 1), (("a", 0, "c", "d"), 2), (("a", 1, "b"), 3)],
            {"a": [{"b": 1, "c": {"d": 2}}, {"b": 3}]},
        ),
        ([(("a", 0, "b", 0, "c"), 1), (("a", 0, "b", 1, "c"), 2)], {"a": [{"b": [{"c": 1}, {"c": 2}]}]}),
        ([(("a", "on"), "no"), (("a", "x-y"), "#: '\"\n")], {"a": {"on": "no", "x-y": "#: '\"\n"}}),
        ([(("a", "b c.d", "e"), 1)], {"a": {"b c.d": {"e": 1}}}),
        ([(("a",), "\x1b\u202e\x85é\n\n")], {"a": "\x1b\u202e\x85é\n\n"}),
        ([(("a",), "one\ntwo\n"), (("b",), {})], {"a": "one\ntwo\n", "b": {}}),
        ([(("k" * 200,), "a word " * 50)], {"k" * 200: "a word " * 50}),
    ],
    ids=["leaf", "mapping", "list", "nested-lists", "words", "odd-key", "characters", "block", "long"],
)
def test_every_value_is_on_a_line_with_its_comment(
    values: list[tuple[tuple[str | int, ...], object]], document: object
) -> None:
    """Comments are on the lines of their values, and the text reads back as the values."""
    text = yaml_text(nested(values), {path: f"value {number}" for number, (path, _) in enumerate(values)})
    assert yaml.safe_load(text) == document
    assert [line.partition("  # ")[2] for line in text.splitlines() if "  # " in line] == [
        f"value {number}" for number in range(len(values))
    ]
