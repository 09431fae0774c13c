"""YAML that is written: it reads as what it was, by this project's reader and by one of YAML 1.1."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from authgate.config.reading.yaml_file import Document, parse_yaml
from authgate.tools.convert import yaml_text

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
    """Whatever a reader could take for another type, or for YAML's own signs, is quoted."""
    document = {"text": text, text or "key": [text]}
    assert yaml.safe_load(yaml_text(document)) == document


@given(st.dictionaries(st.text(), st.recursive(st.text() | st.booleans() | st.integers(), st.lists)))
def test_what_is_written_is_read(document: dict[str, object]) -> None:
    """Any document reads as itself, and is written in ASCII."""
    text = yaml_text(document)
    assert yaml.safe_load(text) == document
    assert text.isascii()


def test_texts_of_several_lines_stand_as_they_are() -> None:
    """PEM stays legible."""
    text = yaml_text(
        {"certificateAuthority": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"}
    )
    assert text == (
        "certificateAuthority: |\n  -----BEGIN CERTIFICATE-----\n  MIIB\n  -----END CERTIFICATE-----\n"
    )


def test_what_stands_twice_is_written_twice() -> None:
    """The reader refuses anchors."""
    shared = {"claim": "sub"}
    document = parse_yaml(yaml_text({"a": shared, "b": shared}))
    assert isinstance(document, Document)
    assert document.value == {"a": shared, "b": shared}
