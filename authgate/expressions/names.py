"""Escaped names of fields that are not CEL identifiers: Kubernetes writes `kubernetes.io` as `kubernetes__dot__io`.

Source: kubernetes staging/src/k8s.io/apiserver/pkg/cel/escaping.go.
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"__([^_]+)__")
_CHARACTERS = {"underscores": "__", "dot": ".", "dash": "-", "slash": "/"}
_RESERVED = frozenset(
    (
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    )
)


def unescape(name: str) -> str | None:
    """Return the name that an escaped identifier represents, or None if it has an unknown escape."""
    out, position = [], 0
    for match in _ESCAPE.finditer(name):
        word = match[1]
        character = _CHARACTERS.get(word)
        if character is None:
            # a reserved word is escaped as a whole, and means itself
            if word not in _RESERVED or match[0] != name:
                return None
            character = word
        out += [name[position : match.start()], character]
        position = match.end()
    return "".join(out) + name[position:]
