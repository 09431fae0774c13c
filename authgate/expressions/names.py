"""Names that are no identifiers in CEL: Kubernetes writes `kubernetes.io` as `kubernetes__dot__io`.

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
    """Return the name that an identifier stands for, or None where it holds an unknown escape."""
    out, place = [], 0
    for match in _ESCAPE.finditer(name):
        word = match[1]
        character = _CHARACTERS.get(word)
        if character is None:
            # a reserved word stands for itself, and only alone
            if word not in _RESERVED or match[0] != name:
                return None
            character = word
        out += [name[place : match.start()], character]
        place = match.end()
    return "".join(out) + name[place:]
