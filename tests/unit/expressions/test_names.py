"""Escaped names of claims that are not identifiers."""

from __future__ import annotations

import pytest

from authgate.expressions.names import unescape


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sub", "sub"),
        ("kubernetes__dot__io", "kubernetes.io"),
        ("a__dash__b", "a-b"),
        ("a__slash__b__dot__c", "a/b.c"),
        ("a__underscores__b", "a__b"),
        ("__namespace__", "namespace"),
        ("__dot__", "."),
        ("a__b", "a__b"),
        ("_a_", "_a_"),
        ("kubernetes.io", "kubernetes.io"),
        ("", ""),
        ("a__nothing__b", None),
        ("a__namespace__", None),
        ("__Dot__", None),
    ],
)
def test_names_are_unescaped(name: str, expected: str | None) -> None:
    """The escapes are those of Kubernetes. A name with an unknown escape is None."""
    assert unescape(name) == expected
