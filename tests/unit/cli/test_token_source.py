from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from authgate.cli.token_source import MAX_BYTES
from tests.support.tokens import claims, unsigned

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

TOKEN = unsigned({"alg": "RS256"}, claims())


@pytest.mark.parametrize("words", [(), ("-",)], ids=["nothing", "dash"])
def test_a_token_comes_from_standard_input(run: Run, words: tuple[str, ...]) -> None:
    """A pipe is the usual way."""
    assert "Form: signed JWT" in run("inspect", *words, stdin=TOKEN).stdout


def test_a_token_comes_from_a_file_with_a_line_end(run: Run, tmp_path: Path) -> None:
    """White space around the token is removed."""
    file = tmp_path / "token"
    file.write_text(f"\n {TOKEN}\r\n")
    assert f"Form: signed JWT, {len(TOKEN)} characters" in run("inspect", file).stdout


def test_a_token_given_as_the_file_is_refused_and_not_repeated(run: Run) -> None:
    """This also holds if only the command checks it."""
    result = run("inspect", TOKEN)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "must not be on the command line" in result.stderr
    assert TOKEN not in result.stderr


def test_the_name_of_a_missing_file_is_not_repeated(run: Run) -> None:
    """The name may be an opaque token, given by mistake."""
    result = run("inspect", "0paque-t0ken")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("authgate: cannot read the token file: No such file or directory")
    assert "0paque" not in result.stderr


@pytest.mark.parametrize("name", [".", "nul\0"], ids=["folder", "nul"])
def test_an_unreadable_file_is_a_one_line_error(run: Run, name: str) -> None:
    """There is no traceback for a user's mistake."""
    result = run("inspect", name)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("content", ["", " \n\t"], ids=["nothing", "white-space"])
def test_an_empty_token_is_reported(run: Run, content: str) -> None:
    """The command before the pipe failed, so the message does not call the token invalid."""
    result = run("inspect", stdin=content)
    assert result.exit_code == 1
    assert result.stderr == "authgate: no token: standard input is empty\n"


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (
            f'{{"access_token": "{TOKEN}", "id_token": "x"}}',
            "the token in it, such as with `jq -r .access_token`",
        ),
        (f'\n{{"kind": "TokenRequest", "status": {{"token": "{TOKEN}"}}}}', "`jq -r .status.token`"),
        (f'{{"count": 1, "value": "{TOKEN}"}}', "`jq -r .value`"),
        ('{"x": 1}', "give only the token in it\n"),
    ],
    ids=["OAuth", "Kubernetes", "GitHub Actions", "unknown"],
)
def test_a_whole_token_response_is_reported(run: Run, content: str, advice: str) -> None:
    """It is not explained as several credentials, and nothing of it is repeated."""
    for command in (["inspect"], ["inspect", "-"]):
        result = run(*command, stdin=content)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("authgate: this is a JSON object, not a token: ")
        assert advice in result.stderr
        assert TOKEN not in result.stderr


def test_reading_is_bounded(run: Run, tmp_path: Path) -> None:
    """A file that is larger than any token is not read completely."""
    file = tmp_path / "token"
    with file.open("wb") as opened:
        opened.truncate(1 << 33)  # sparse: it needs no space on the disk, but would in memory
    result = run("inspect", file)
    assert result.exit_code == 1
    assert f"longer than {MAX_BYTES} bytes" in result.stderr


def test_bytes_that_are_not_text_are_kept(run: Run) -> None:
    """They are part of the token, and are reported as its error later."""
    result = run("inspect", stdin=b"\xff\xfe\x00token")
    assert result.exit_code == 0
    assert "Form: opaque token" in result.stdout


def test_an_endless_source_is_bounded(run: Run) -> None:
    """A source without a size is read up to the limit."""
    if not Path("/dev/zero").exists():
        pytest.skip("not applicable: there is no /dev/zero")
    assert run("inspect", "/dev/zero").exit_code == 1


@pytest.mark.parametrize(
    "before", ["Bearer ", "bearer\n", "Authorization: Bearer ", "authorization:BEARER\t"]
)
@pytest.mark.parametrize("after", ["", "\n"], ids=["no-newline", "newline"])
def test_a_pasted_credential_is_recognised(run: Run, before: str, after: str) -> None:
    """The words before the token are removed, and a note names them."""
    result = run("inspect", stdin=before + TOKEN + after)
    assert f"Form: signed JWT, {len(TOKEN)} characters" in result.stdout
    assert result.stderr.startswith("authgate: note: ")
    assert TOKEN not in result.stderr


def test_a_credential_without_a_token_is_empty(run: Run) -> None:
    """`Bearer` alone has no token."""
    assert run("inspect", stdin="Bearer \n").stderr.endswith("no token: standard input is empty\n")
