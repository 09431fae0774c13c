"""The check of words finds phrases wherever people read them, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lint.words import findings_in

ROOT = Path(__file__).parents[3]


def found(text: str, *, python: bool = False) -> list[tuple[int, str]]:
    """The phrases in a text, with their lines."""
    return [(finding.line, finding.phrase) for finding in findings_in(text, python=python)]


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("the gate cannot tell\n", [(1, "cannot tell")]),
        ("The log tells why.\n", [(1, "tells")]),
        ("x\n\nit cannot\n  tell\n", [(3, "cannot tell")]),
        ("# nothing is at\n# hand\n", [(1, "at hand")]),
        ("Whoever asks\n", [(1, "Whoever asks")]),
        ("it stands twice, and a token that is none\n", [(1, "stands twice"), (1, "is none")]),
        ("the gate hands the rest on and takes over\n", [(1, "takes over")]),
    ],
)
def test_a_phrase_in_a_document_is_found(text: str, phrases: list[tuple[int, str]]) -> None:
    """Each line counts, and a phrase may be split over two."""
    assert found(text) == phrases


@pytest.mark.parametrize(
    "text",
    [
        "a stand-in, a standalone program and a telltale sign\n",
        "it takes over 5 s to recommend this\n",
        "`revocation: none`, and the value is `none`\n",
        "the result is None, or 410 Gone\n",
    ],
)
def test_similar_words_are_not_found(text: str) -> None:
    """Only whole words count."""
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("x = 1  # what it tells\n", [(1, "tells")]),
        ("x = 'it is told'\n", [(1, "is told")]),
        ('"""One.\n\nIt stands.\n"""\n', [(3, "stands")]),
        ("x = ('the gate cannot '\n     'tell')\n", [(1, "cannot tell")]),
        ("def test_what_is_told() -> None: ...\n", [(1, "is told")]),
        ("class Whoever: ...\n", [(1, "Whoever")]),
        ("told = tells(stands)\n", []),
    ],
)
def test_a_phrase_in_python_is_found(text: str, phrases: list[tuple[int, str]]) -> None:
    """Comments, strings and the names of functions and classes count; other names do not."""
    assert found(text, python=True) == phrases


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ('x = "gone"  # words: allow\n', True),
        ('"""As the RFC puts it:\n\nclients shall wait.\n"""  # words: allow\n', True),
        ("> clients shall wait <!-- words: allow -->\n", False),
    ],
)
def test_a_phrase_can_be_allowed(text: str, *, python: bool) -> None:
    """For a quote, or for a name of something else."""
    assert found(text, python=python) == []


def test_a_finding_suggests_what_to_write() -> None:
    """The suggestion belongs to the phrase."""
    (finding,) = findings_in("clients shall wait\n", python=False)
    assert finding.suggestion == "must, will"


def test_the_command_prints_findings_and_fails(tmp_path: Path) -> None:
    """It checks the files of a git checkout; without findings it succeeds."""
    (tmp_path / "tests" / "lint").mkdir(parents=True)
    script = tmp_path / "tests" / "lint" / "words.py"
    script.write_text((ROOT / "tests" / "lint" / "words.py").read_text())
    page = tmp_path / "page.md"
    page.write_text("fine\nclients shall wait\n")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)

    failed = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    page.write_text("fine\n")
    passed = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)

    assert (failed.returncode, failed.stdout) == (1, 'page.md:2: "shall": write "must, will"\n')
    assert (passed.returncode, passed.stdout) == (0, "")
