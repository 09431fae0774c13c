"""JSON pointers (RFC 6901)."""

from __future__ import annotations

from typing import Any

import pytest

from authgate.json_pointer import JSONPointer, claim_name, claim_named, claim_pointer

DOCUMENT: dict[str, Any] = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "m~n": 8,
    "deep": {"er": [{"est": True}]},
    "null": None,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/m~0n", 8),
        ("/deep/er/0/est", True),
        ("/null", None),
        ("/missing", None),
        ("/foo/2", None),
        ("/foo/01", None),
        ("/foo/-", None),
        ("/foo/bar", None),
        ("/foo/9999999999", None),
        ("/a~1b/c", None),
        ("/deep/er/est", None),
    ],
)
def test_a_pointer_finds_one_value(text: str, value: object) -> None:
    """The examples of RFC 6901, section 5, and pointers without a value."""
    assert JSONPointer(text).find(DOCUMENT) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "starts with a slash"),
        ("foo", "starts with a slash"),
        ("#/foo", "starts with a slash"),
        ("/a~", "~0"),
        ("/a~2b", "~0"),
        ("/a\x00", "~0"),
        ("/a" * 17, "more than 16"),
    ],
)
def test_an_invalid_pointer_is_rejected(text: str, why: str) -> None:
    """The message shows how to write a pointer."""
    with pytest.raises(ValueError, match=why):
        JSONPointer(text)


@pytest.mark.parametrize("name", ["sub", "/", "/a/b", "a~1.b", "/~", "https://example.com/roles"])
def test_any_name_of_a_claim_can_be_written(name: str) -> None:
    """A name that starts with a slash is written as a pointer."""
    assert claim_pointer(claim_named(name)).find({name: 1}) == 1
    assert claim_name(claim_named(name)) == name
    assert claim_name("/a/b") is None
