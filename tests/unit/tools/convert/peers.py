"""The cases of this folder: configurations of other programs, and what authgate makes of them.

`PEER/NAME.yaml` (or `.cfg`) is an input; its first line has the options of the command. `NAME.authgate.yaml` is the
expected result, and `NAME.tests.yaml` a table for `authgate policy test`. After a change,
`python -m tests.unit.tools.convert.peers` writes the expected results again.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from authgate.tools.convert import FROM, Converted, Options, converted_text
from authgate.vocabulary import DEFAULT_POLICY

FOLDER: Final = Path(__file__).parent
_OURS: Final = (".authgate.yaml", ".tests.yaml")


@dataclass(frozen=True)
class Case:
    """One configuration of a peer."""

    peer: str
    file: Path

    @cached_property
    def text(self) -> str:
        """The input."""
        return self.file.read_text(encoding="utf-8")

    @property
    def words(self) -> list[str]:
        """The options of the command."""
        return shlex.split(self.text.partition("\n")[0].lstrip("# "))

    @property
    def options(self) -> Options:
        """The options as the conversion gets them."""
        given = list(zip(self.words[::2], self.words[1::2], strict=True))
        named = dict(given)
        audiences = tuple(value for name, value in given if name == "--audience")
        return Options(
            policy=named.get("--policy", DEFAULT_POLICY), proxy=named.get("--proxy"), audiences=audiences
        )

    @property
    def expected(self) -> Path:
        """The file with the expected result."""
        return self.file.with_suffix(".authgate.yaml")

    @property
    def tests(self) -> Path:
        """The file with policy tests, which may not exist."""
        return self.file.with_suffix(".tests.yaml")

    def convert(self, text: str | None = None) -> Converted:
        """Return the conversion of the input, or of another text."""
        return FROM[self.peer](self.text if text is None else text, self.options)


CASES: Final = [
    Case(peer, file)
    for peer in FROM
    for file in sorted((FOLDER / peer).iterdir())
    if not file.name.endswith(_OURS)
]
"""Every input."""


if __name__ == "__main__":
    for case in CASES:
        case.expected.write_text(converted_text(case.convert(), case.peer), encoding="utf-8")
