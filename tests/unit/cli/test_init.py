from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from authgate.tools.providers import provider, provider_names

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Run

OPTIONS = [(name, option.name) for name in provider_names() for option in provider(name).options]
AWKWARD = ["a: b", "- a", "true", "1234", "null", "@a", "|", "a -", "1e3", "0x10", "2026-01-01", "a:"]


def strings(value: Any) -> list[str]:
    """Return every string in a YAML value."""
    if isinstance(value, dict):
        return [text for below in value.values() for text in strings(below)]
    if isinstance(value, list):
        return [text for below in value for text in strings(below)]
    return [value] if isinstance(value, str) else []


def test_without_a_provider_all_are_listed(run: Run) -> None:
    """Each line has one provider with its product's name."""
    result = run("config", "init")
    assert [line.split()[0] for line in result.stdout.splitlines()] == provider_names()
    assert re.search(r"^ *entra +Microsoft Entra ID$", result.stdout, re.MULTILINE)


def test_the_help_lists_all_providers(run: Run) -> None:
    """`authgate config init --help` is enough to find a provider."""
    text = " ".join(run("config", "init", "--help").stdout.split())
    assert f"Providers: {', '.join(provider_names())}." in text


@pytest.mark.parametrize("name", provider_names())
def test_standard_output_has_only_the_configuration(run: Run, name: str) -> None:
    """The output can be redirected to a file. What to do next is on standard error."""
    result = run("config", "init", name)
    assert result.exit_code == 0
    assert result.stdout == provider(name).render({})
    assert set(yaml.safe_load(result.stdout)) <= {"cluster", "jwt", "credential", "policies"}


def test_the_next_commands_are_printed(run: Run, tmp_path: Path) -> None:
    """They name the file that was written. Example values that must be replaced are named, too."""
    file = tmp_path / "gate.yaml"
    result = run("config", "init", "dex", "--client", "shop", "--output", file)
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "authgate: example values in use, replace them: --issuer --group",
        f"authgate: next: authgate doctor --config {file}",
        f"authgate: then: authgate explain --config {file} TOKEN-FILE",
    ]
    assert file.read_text() == provider("dex").render({"client": "shop"})


def test_values_are_inserted(run: Run) -> None:
    """Both forms of an option work."""
    words = ["--realm=shop", "--host", "login.example.org", "--role", "on call"]
    result = run("config", "init", "keycloak", *words)
    document = yaml.safe_load(result.stdout)
    assert document["jwt"][0]["issuer"]["url"] == "https://login.example.org/realms/shop"
    assert document["policies"]["default"]["allow"][0]["groups"] == ["keycloak:on call"]
    assert "example values in use, replace them: --audience" in result.stderr


def test_the_options_are_listed(run: Run) -> None:
    """Each has its meaning and an example."""
    result = run("config", "init", "keycloak", "--options")
    assert re.findall(r"^ *(--\w+) ", result.stdout, re.MULTILINE) == [
        "--host",
        "--realm",
        "--audience",
        "--role",
    ]
    assert "the realm (shop)" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["keycloack"], '"keycloack": unknown provider; did you mean "keycloak"?'),
        (["nobody"], '"nobody": unknown provider; `authgate config init` lists all providers'),
        (["--client=a", "dex"], '"--client=a": write the provider before its options'),
        (["dex", "--realm", "shop"], "--realm: unknown option; dex has --issuer, --client, --group"),
        (["dex", "--client"], "--client: has no value; write --client VALUE"),
        (["dex", "--client", "--group", "x"], "--client: has no value; write --client VALUE"),
        (["dex", "--client=a", "--client=b"], "--client: given twice"),
        (["dex", "shop"], '"shop": unexpected argument; write --NAME VALUE'),
        (["dex", "--client="], "--client: must be 1 to 512 letters, digits, spaces or any of _.:/@|+-"),
    ],
)
def test_wrong_usage_is_refused(run: Run, words: list[str], message: str) -> None:
    """The exit status is 2, and nothing is on standard output."""
    result = run("config", "init", *words)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"authgate: {message}\n")


@pytest.mark.parametrize(
    "value", ['a"', "a'", "a\\", "a\nb: c", "${x}", "a#b", "[a", "{a", "&a", "*", "é", "a" * 513]
)
def test_values_that_could_change_the_meaning_are_refused(run: Run, value: str) -> None:
    """A value becomes a text in the YAML, or the command fails."""
    result = run("config", "init", "keycloak", "--realm", value)
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=[f"{name} {option}" for name, option in OPTIONS])
def test_every_accepted_value_stays_a_text(name: str, option: str) -> None:
    """No value becomes a number, a boolean or a further member of the document."""
    usual = yaml.safe_load(provider(name).render({}))
    for value in AWKWARD:
        document = yaml.safe_load(provider(name).render({option: value}))
        assert any(value in text for text in strings(document))
        assert len(strings(document)) == len(strings(usual))


def test_an_existing_file_is_kept(run: Run, tmp_path: Path) -> None:
    """It is overwritten only with --force."""
    file = tmp_path / "gate.yaml"
    file.write_text("mine")
    refused = run("config", "init", "dex", "--output", file)
    assert (refused.exit_code, file.read_text()) == (1, "mine")
    assert refused.stderr == f"authgate: {file}: the file exists; --force overwrites it\n"
    assert run("config", "init", "dex", "--output", file, "--force").exit_code == 0
    assert file.read_text() == provider("dex").render({})


def test_a_folder_that_does_not_exist_is_named(run: Run, tmp_path: Path) -> None:
    """The message is the operating system's."""
    file = tmp_path / "missing" / "gate.yaml"
    result = run("config", "init", "dex", "--output", file)
    assert (result.exit_code, result.stderr) == (1, f"authgate: {file}: No such file or directory\n")
