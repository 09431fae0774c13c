"""`authgate explain --record` with the audit lines of a running gate."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.audit_lines import audit_lines
from tests.support.gate import AUDIENCE
from tests.support.logs import configured
from tests.support.service import knowing, running, written

if TYPE_CHECKING:
    from pathlib import Path

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
STRANGER = Issuer("https://stranger.example.com", SigningKey.generate("ES256"))
ID = "7e0d2a4c-9b1f-4a8f-8f0a-0d7c1f3b2a11"
JWT = ISSUER.mint("ada", AUDIENCE)


def document(*admins: str) -> dict[str, Any]:
    """Return a configuration in which these users may request what is below /admin."""
    rule = {"paths": ["/admin/*"], "allow": [{"users": [f"corp:{name}" for name in admins]}]}
    return {
        "jwt": [knowing(ISSUER)],
        "server": {"proxy": "nginx"},
        "policies": {"default": {"rules": [rule]}},
    }


async def recorded(token: str | None, config: dict[str, Any] | None = None, lines: int = 1) -> str:
    """Return the audit line of a denied request for /admin/x, or all of this number of lines."""
    log = configured()
    forwarded = {
        "X-Original-URI": "/admin/x?access_token=secret",
        "X-Original-Method": "GET",
        "X-Original-Host": "app.example",
        "X-Forwarded-For": "192.0.2.7",
        "X-Request-Id": ID,
    }
    async with running(config or document("root")) as gate:
        await gate.request(token, headers=forwarded.items())
    found = [text for text in log.getvalue().splitlines() if audit_lines(text)]
    assert len(found) == lines
    return "\n".join(found)


def explain(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run `authgate explain` with these arguments."""
    command = [sys.executable, "-m", "authgate", "explain", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)


async def test_an_audit_line_is_explained(tmp_path: Path) -> None:
    """It can be an argument, or what grep finds in the output of a log viewer."""
    line = await recorded(JWT)
    config = str(written(tmp_path, document("root")))
    found = explain("--config", config, "--record", line)
    assert (found.returncode, found.stderr) == (3, "")
    for text in (
        ID,
        "192.0.2.7",
        "GET app.example/admin/x",
        "default, rules[0]",
        "corp:ada",
        "deny: 403 not_allowed",
        "The configuration decides the same now: rules[0] of policy 'default' does not allow corp:ada.",
        "to change this: add the identity to policies.default.rules[0].allow",
    ):
        assert text in found.stdout
    assert "secret" not in found.stdout
    piped = explain("--config", config, "--record", "-", stdin=f"[pod/a/authgate] {line}\n")
    assert (piped.returncode, piped.stdout) == (3, found.stdout)


async def test_another_configuration_decides_otherwise(tmp_path: Path) -> None:
    """The JSON has the same facts."""
    line = await recorded(JWT)
    config = str(written(tmp_path, document("root", "ada")))
    found = json.loads(explain("--config", config, "--record", line, "--output", "json").stdout)
    assert (found["verdict"], found["status"], found["reason"]) == ("deny", 403, "not_allowed")
    assert (found["now"], found["remedy"]) == ("different", "")
    assert found["why"] == "rules[0] of policy 'default' allows corp:ada: 200 authenticated"
    assert found["record"]["request id"] == ID


async def test_what_a_refused_token_claims_is_marked(tmp_path: Path) -> None:
    """Nobody verified it."""
    line = await recorded(STRANGER.mint("ada", "elsewhere"))
    found = explain("--config", str(written(tmp_path, document("root"))), "--record", line)
    assert found.returncode == 3
    assert "claimed issuer (not verified)" in found.stdout
    assert "decides the same now: the issuer https://stranger.example.com is not configured" in found.stdout


async def test_the_line_about_a_shadow_is_ignored(tmp_path: Path) -> None:
    """It has the same request id, so grep finds it, too."""
    config = document("root")
    config["policies"]["default"]["shadow"] = {}
    lines = await recorded(JWT, config, lines=2)
    found = explain("--config", str(written(tmp_path, config)), "--record", "-", stdin=lines)
    assert (found.returncode, found.stderr) == (3, "")
    assert "deny: 403 not_allowed" in found.stdout


WRONG = {
    "another line": (("--record", '{"scope": "authgate"}'), "", "its scope is not authgate.audit"),
    "a token": (("--record", JWT), "", "a token must not be on the command line"),
    "nothing": (("--record", "-"), "\n", "standard input is empty: the log has no such line"),
    "two lines": (("--record", "-"), "{}\n{}\n", "standard input has 2 lines"),
    "too much": (("--record", "-"), "x" * 70000, "more than 65536 bytes"),
    "with a token file": (("--record", "-", "token"), "", "--record needs no FILE"),
    "with a path": (("--record", "-", "--path", "/x"), "", "--record needs no FILE"),
    "without a token": (("--record", "-", "--no-token"), "", "--record needs no FILE"),
}


@pytest.mark.parametrize(("arguments", "stdin", "why"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_line_is_an_error(arguments: tuple[str, ...], stdin: str, why: str, tmp_path: Path) -> None:
    """The error is one line and does not quote what was given."""
    found = explain("--config", str(written(tmp_path, document("root"))), *arguments, stdin=stdin)
    assert (found.returncode, found.stdout) == (2, "")
    assert why in found.stderr
    assert found.stderr.count("\n") == 1
    assert JWT not in found.stderr


def test_the_line_and_the_configuration_cannot_both_be_standard_input() -> None:
    """Only one of them can be read from there."""
    found = explain("--config", "-", "--record", "-", stdin="{}")
    assert (found.returncode, "cannot both be standard input" in found.stderr) == (2, True)
