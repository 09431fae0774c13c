"""Find phrases that make authgate's texts hard to read, and suggest what to write instead: `make lint` runs this.

Checked are all text files that git tracks. In Python files these are comments, string literals and the names of
functions and classes; elsewhere every line. A phrase may be split over lines. Where one is right, such as in a quote,
put `words: allow` into a comment on the same line, or on the last line of a docstring.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

PHRASES: Final = {
    r"(cannot|can't|could not|couldn't) tell": "unavailable; cannot decide",
    r"is told": "receives, is sent; or name who reports it",
    r"tells? (\w+ ){0,2}apart|told (\w+ ){0,2}apart": "distinguish",
    r"tells?|told|telling|untold": "report, return, log, show, name",
    r"stands? in (for|the place of)": "replace",
    r"stands? twice": "is listed twice, is repeated",
    r"stands?": "is, are, appears, is listed",
    r"mend|mends|mended|mending": "fix; N problems found",
    r"(take|takes|taken|took|taking) over(?! \d)": "apply, reload, use",
    r"there (is|are|was|were) (?-i:none)": "no X, X is missing, X does not exist",
    r"(is|are|be|was|were) (?-i:none)": "is missing, does not exist, is not a X",
    r"none of (this|these|it|that)": "say what is not the case",
    r"(?-i:[Ww])ho(m|ever| shall)? asks?|whoever|whomever": "the caller, the client, anyone who",
    r"(?-i:gone)": "deleted, removed, closed, missing",
    r"goes again|go again": "is removed",
    r"(the|its|their) life": "lifetime, while X exists",
    r"(live|lives|lived|living) on": "stays cached, continues, remains valid",
    r"how long (it|they) (live|lives|shall live)": "lifetime",
    r"(to )?be had": "available, can be installed",
    r"shall": "must, will",
    r"(is|are|was|were) to be": "must be, will be, should be",
    r"at hand": "available, in memory",
    r"of which": "rewrite the sentence",
    r"by which": "that, with, how",
    r"of what it": "rewrite the sentence",
    r"(hand|hands|handed|handing|give|gives|given|giving) on": "forward, pass through, pass",
    r"anew": "again, restart",
    r"(un)?settled": "fixed, read at startup; changes need a restart",
    r"for ever": "forever",
    r"(gate|authgate|log|answer|message|program|proxy|page|command|verdict|header|file|server) says": "shows, returns",
    r"(says?|said) (why|what|how|when|where|who)": "shows, names, is the reason",
    r"as ever": "as usual, as before",
    r"has (a|no|its) say": "decides, is not used",
    r"(?-i:[Mm])ourn(s|ed)?|bury|buried|heed(s|ed)?": "use the technical term",
    r"thereby|therein|thereof|wherein|whereby|whereof|wherewith|forthwith|amiss": "use a plain word",
}
"""Regular expressions and what to write instead. They match whole words in any case, and a space matches a line end."""

_ALLOW: Final = "words: allow"
_SKIPPED: Final = re.compile(
    r"tests/lint/words\.py|tests/unit/lint/|requirements/|LICENSE$|.*(go\.mod|go\.sum|\.svg|/vectors/.*)$"
)
_PATTERN: Final = re.compile(
    r"(?<![\w-])(?:"
    + "|".join(f"(?P<p{number}>{phrase})" for number, phrase in enumerate(PHRASES)).replace(" ", r"\s+")
    + r")(?![\w-])",
    re.IGNORECASE,
)
_SUGGESTIONS: Final = tuple(PHRASES.values())
_LINE_PREFIX: Final = re.compile(r"\s*(?:#+|//+|--+|>|\*|;+)?\s?")
_QUOTES: Final = re.compile(r"""^\w{0,2}("{3}|'{3}|"|')(.*)\1$""", re.DOTALL)


class Finding(NamedTuple):
    """A phrase to replace."""

    line: int
    phrase: str
    suggestion: str


class Piece(NamedTuple):
    """Some text and the number of the line where it starts."""

    line: int
    text: str


def findings_in(text: str, *, python: bool) -> Iterator[Finding]:
    """Yield the phrases in a file, in order."""
    lines = text.splitlines()
    for passage in _python_passages(text) if python else [_plain_passage(lines)]:
        yield from _findings(passage, lines)


def _findings(passage: list[Piece], lines: list[str]) -> Iterator[Finding]:
    starts, text = [], ""
    for piece in passage:
        starts.append(len(text))
        text += piece.text + "\n"
    last = passage[-1].line + passage[-1].text.count("\n") if passage else 0
    for match in _PATTERN.finditer(text):
        number = bisect_right(starts, match.start()) - 1
        line = passage[number].line + text.count("\n", starts[number], match.start())
        if _ALLOW in lines[line - 1] or (len(passage) == 1 and _ALLOW in lines[last - 1]):
            continue
        phrase = " ".join(match[0].split())
        yield Finding(line, phrase, _SUGGESTIONS[int((match.lastgroup or "p0")[1:])])


def _plain_passage(lines: list[str]) -> list[Piece]:
    return [Piece(number, _LINE_PREFIX.sub("", line, count=1)) for number, line in enumerate(lines, 1)]


def _python_passages(text: str) -> Iterator[list[Piece]]:
    """Yield runs of comment lines, runs of string literals, and the names of functions and classes."""
    run: list[Piece] = []
    kind, before = 0, ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in {tokenize.NL, tokenize.INDENT, tokenize.DEDENT}:
            continue
        if token.type != kind and run:
            yield run
            run = []
        if token.type == tokenize.COMMENT:
            run.append(Piece(token.start[0], token.string.lstrip("# ")))
        elif token.type in _STRINGS:
            quoted = _QUOTES.match(token.string)
            run.append(Piece(token.start[0], quoted[2] if quoted else token.string))
        elif token.type == tokenize.NAME and before in {"def", "class"}:
            yield [Piece(token.start[0], token.string.replace("_", " "))]
        kind, before = token.type, token.string
    if run:
        yield run


_STRINGS: Final = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def files(root: Path) -> Iterator[str]:
    """Yield the tracked and new text files of a checkout, relative to it."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=root, check=True, capture_output=True, text=True).stdout
    for name in sorted(names.split("\0")):
        path = root / name
        if name and path.is_file() and not _SKIPPED.match(name) and b"\0" not in path.read_bytes():
            yield name


def main() -> int:
    """Print the findings; return 1 if there are any."""
    root = Path(__file__).parents[2]
    count = 0
    for name in files(root):
        text = (root / name).read_text(encoding="utf-8", errors="replace")
        for finding in findings_in(text, python=name.endswith((".py", ".pyi"))):
            count += 1
            print(f'{name}:{finding.line}: "{finding.phrase}": write "{finding.suggestion}"')
    if count:
        print(f"{count} phrases to replace", file=sys.stderr)
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
