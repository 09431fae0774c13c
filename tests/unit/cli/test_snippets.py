from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from authgate.tools.snippets import MANIFESTS, SNIPPETS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Run


def test_without_a_proxy_they_are_listed(run: Run) -> None:
    """Every proxy is listed with its tested versions."""
    output = run("snippets").stdout
    for snippet in SNIPPETS.values():
        assert snippet.proxy in output
        assert all(version in output for version in snippet.runs_on)


def test_manifests_are_listed_with_what_they_were_checked_against(run: Run) -> None:
    """The list does not claim that they were run."""
    rows = run("snippets").stdout.splitlines()
    for manifest in MANIFESTS.values():
        [row] = [row for row in rows if row.split()[:1] == [manifest.proxy]]
        assert manifest.checked.split(";")[0] in row
        assert "run on" not in row


def test_manifests_are_printed(run: Run) -> None:
    """They are printed like snippets, with their options."""
    words = ["--gate", "http://door.infra.svc:81", "--policy", "billing"]
    output = run("snippets", "traefik-crd", *words).stdout
    assert "http://door.infra.svc.cluster.local:81/policies/billing/verify" in output


def test_error_pages_are_separate_files(run: Run) -> None:
    """There is one for each status, in addition to the configuration."""
    output = run("snippets", "caddy", "--error-pages").stdout
    assert [line for line in output.splitlines() if line.startswith("# file: ")] == [
        "# file: authgate.caddy",
        *(f"# file: authgate-{status}.html" for status in (401, 403, 503)),
    ]


def test_several_files_are_separated_by_their_names(run: Run) -> None:
    """Each begins with a line that names it."""
    output = run("snippets", "nginx").stdout
    assert [line for line in output.splitlines() if line.startswith("# file: ")] == [
        "# file: authgate-http.conf",
        "# file: authgate-server.conf",
        "# file: authgate-protect.conf",
    ]


def test_a_single_file_has_no_heading(run: Run) -> None:
    """A single file needs no name."""
    assert "# file:" not in run("snippets", "envoy", "--complete").stdout


def test_options_reach_the_snippet(run: Run) -> None:
    """The snippet has the addresses, policy, preset, paths and the token's header."""
    words = ["--gate", "unix:/run/gate.sock", "--app", "http://app:81", "--listen", "127.0.0.1:82"]
    words += ["--policy", "billing", "--preset", "remote", "--open", "/healthz", "--open", "/livez"]
    output = run("snippets", "nginx", "--complete", *words, "--keep-authorization", "--tls").stdout
    for expected in (
        "server unix:/run/gate.sock;",
        "server app:81;",
        "listen 127.0.0.1:82 ssl http2;",
        "proxy_pass http://authgate/policies/billing/verify;",
        "proxy_set_header Remote-User $gate_remote_user;",
        "location = /healthz {",
        "location = /livez {",
    ):
        assert expected in output
    assert "proxy_set_header Authorization" not in output


def test_files_are_written(run: Run, tmp_path: Path) -> None:
    """They are written into a new folder, without the lines with their names. Writing them again is no error."""
    for _ in range(2):
        done = run("snippets", "haproxy", "--complete", "--output", tmp_path / "new")
        assert done.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["authgate.lua", "haproxy.cfg"]
    assert "# file:" not in (tmp_path / "new" / "authgate.lua").read_text()


def test_a_changed_file_is_kept(run: Run, tmp_path: Path) -> None:
    """No file is overwritten, and no other file is written."""
    (tmp_path / "authgate.lua").write_text("mine")
    done = run("snippets", "haproxy", "--complete", "--output", tmp_path)
    assert done.exit_code == 1
    assert "authgate.lua exists and differs: overwrite it with --force" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["authgate.lua"]


def test_a_changed_file_is_overwritten_with_force(run: Run, tmp_path: Path) -> None:
    """This includes a file that is not text. Other files in the folder are kept."""
    (tmp_path / "authgate.lua").write_bytes(b"\xff mine")
    (tmp_path / "other").write_text("mine")
    assert run("snippets", "haproxy", "--complete", "--output", tmp_path).exit_code == 1
    assert run("snippets", "haproxy", "--complete", "--output", tmp_path, "--force").exit_code == 0
    assert "core.register_action" in (tmp_path / "authgate.lua").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["authgate.lua", "haproxy.cfg", "other"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["nginx", "--force"], "--force: needs --output", id="force without a folder"),
        pytest.param(["squid"], "no snippet for squid; choose one of nginx,", id="another proxy"),
        pytest.param(
            ["nginx", "--preset", "kubernetes"], "first of several headers", id="an unsupported preset"
        ),
        pytest.param(["nginx", "--preset", "other"], "--preset must be", id="an unknown preset"),
        pytest.param(
            ["traefik", "--gate", "unix:/run/x"], "not support unix sockets", id="an unsupported socket"
        ),
        pytest.param(["traefik", "--open", "/healthz"], "anonymous", id="an unsupported open path"),
        pytest.param(
            ["haproxy", "--app", "h2c://app:1"], "supports http to the app", id="an unsupported app"
        ),
        pytest.param(["nginx", "--open", "/a;b"], "must be one path", id="characters of a configuration"),
    ],
)
def test_unsupported_options_are_rejected(run: Run, words: list[str], message: str) -> None:
    """There is a message, and the exit status is that of wrong usage."""
    done = run("snippets", *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
