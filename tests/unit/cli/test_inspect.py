from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from authgate.dev.compact import compact, json_bytes
from tests.support.tokens import POD_BOUND, claims, unsigned

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Run

HEADER = {"alg": "RS256", "kid": "key-1", "typ": "JWT"}


def good_for(seconds: float, **more: object) -> str:
    """Return a token whose `exp` is this many seconds from now."""
    return unsigned(HEADER, claims(exp=int(time.time() + seconds), **more))


def test_the_output_begins_with_a_warning_that_nothing_was_verified(run: Run) -> None:
    """The token may be forged."""
    assert run("inspect", stdin=good_for(60)).stdout.startswith("NOT VERIFIED")


def test_header_and_claims_are_shown_as_a_table(run: Run) -> None:
    """Names and values can be read and searched for."""
    lines = [line.split() for line in run("inspect", stdin=good_for(60, sub="me")).stdout.splitlines()]
    assert ["alg", "RS256"] in lines
    assert ["kid", "key-1"] in lines
    assert ["sub", "me"] in lines


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(42 * 60 + 30, "expires in 42 min"), (-3 * 3600 - 60, "expired 3 h ago")],
    ids=["future", "past"],
)
def test_times_are_shown_as_dates_and_relative_to_now(run: Run, seconds: float, words: str) -> None:
    """POSIX timestamps are hard to read."""
    output = run("inspect", stdin=good_for(seconds)).stdout
    assert words in output
    assert time.strftime("%Y-", time.gmtime(time.time() + seconds)) in output


def test_the_bound_object_of_a_pods_token_is_named(run: Run) -> None:
    """Namespace, account, pod and node are shown without JSON."""
    token = good_for(60, jti="token-1", **{"kubernetes.io": POD_BOUND})
    section = run("inspect", stdin=token).stdout.partition("\nKubernetes\n")[2].partition("\n\n")[0]
    assert {tuple(line.rsplit(maxsplit=1)) for line in section.splitlines()} == {
        ("  namespace           ".rstrip(), "prod"),
        ("  service account", "web"),
        ("  service account uid", "uid-of-web"),
        ("  pod", "web-0"),
        ("  pod uid", "uid-of-web-0"),
        ("  node", "node-1"),
        ("  node uid", "uid-of-node-1"),
        ("  token id (jti)", "token-1"),
    }


def test_an_error_of_the_gates_parser_is_shown(run: Run) -> None:
    """The claims are still shown, so that the mistake can be found."""
    token = compact(json_bytes(HEADER), b'{"iss":"https://a","sub":"x","sub":"y","exp":1}', b"")
    output = run("inspect", stdin=token).stdout
    assert "\n  a JSON object in the token has a duplicate member: the payload" in output
    assert "the gate" not in output
    assert "sub  y" in output


def test_a_part_that_cannot_be_read_is_named(run: Run) -> None:
    """The other part is still shown."""
    output = run("inspect", stdin=compact(json_bytes(HEADER), b"no JSON", b"")).stdout
    assert "Form: malformed JWT" in output
    assert "alg  RS256" in output
    assert "Claims: cannot be decoded" in output
    assert "authgate inspect" not in output


def test_an_opaque_token_is_called_opaque(run: Run) -> None:
    """It cannot be decoded, and no part of it is printed."""
    result = run("inspect", stdin="s3cret-of-somebody\n")
    assert result.exit_code == 0
    assert "Form: opaque token, 18 characters" in result.stdout
    assert "s3cret" not in result.stdout
    assert "TokenReview" not in result.stdout


@pytest.mark.parametrize("output", ["text", "json"])
def test_neither_the_token_nor_its_signature_is_printed(run: Run, output: str) -> None:
    """The output cannot be used as a credential."""
    token = good_for(60)
    result = run("inspect", "--output", output, stdin=token)
    assert not any(part in result.output for part in token.split("."))


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_claim_cannot_control_the_terminal(run: Run, output: str) -> None:
    """Escape sequences, line breaks, bidirectional overrides and lone surrogates are escaped."""
    tricks = "\x1b]0;title\x07\x1b[2Ja\r\nb\x9b1m\u202ec\ud800"
    token = unsigned(HEADER, claims(**{"sub": tricks, "na\x1bme": 1}))
    result = run("inspect", "--output", output, stdin=token)
    assert result.exit_code == 0
    assert all(char.isprintable() or char == "\n" for char in result.stdout)
    assert "\\u202e" in result.stdout


def test_a_script_gets_json(run: Run, tmp_path: Path) -> None:
    """It has the same facts by name, and `verified` is false."""
    file = tmp_path / "token"
    file.write_text(good_for(-125 * 60) + "\n")
    shown = json.loads(run("inspect", file, "--output", "json").stdout)
    assert shown["verified"] is False
    assert shown["kind"] == "signed JWT"
    assert shown["header"] == HEADER
    assert shown["claims"]["iss"] == "https://issuer.example"
    assert shown["times"]["exp"]["relation"] == "expired 2 h ago"
    assert shown["structure"]["well_formed"] is True


def test_a_huge_claim_is_truncated_only_on_the_terminal(run: Run) -> None:
    """JSON has the complete claim."""
    token = unsigned(HEADER, claims(sub="a" * 5000))
    text = run("inspect", stdin=token).stdout
    assert "… (3000 more characters, see --output json)" in text
    assert json.loads(run("inspect", "-o", "json", stdin=token).stdout)["claims"]["sub"] == "a" * 5000


def test_output_to_a_file_has_no_colours(run: Run) -> None:
    """Colours are only for terminals."""
    assert "\x1b" not in run("inspect", stdin=good_for(60)).stdout
