"""Each provider has a page, and the page shows what the code and the case contain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml
from typer.testing import CliRunner

from authgate.cli.commands import app
from authgate.errors import REASONS, Reason
from authgate.tools.providers import provider, provider_names
from tests.providers.case import case
from tests.providers.pages import PAGES, page, policy_example, section, updated

if TYPE_CHECKING:
    from pathlib import Path

OUTLINE = [
    "What the tokens look like",
    "Configuration",
    "What to set at the provider",
    "A policy example",
    "Three common mistakes",
]
ROW = re.compile(
    r"^\| (?P<mistake>.+?) \| (?P<status>\d+) `(?P<reason>\w+)` \| (?P<fix>.+?) \|$", re.MULTILINE
)

every_provider = pytest.mark.parametrize("name", provider_names())


@every_provider
def test_a_page_shows_the_token_and_the_configuration(name: str) -> None:
    """The header and claims of the case, and exactly what `config init` writes. `make provider-pages` updates them."""
    text = page(name).read_text(encoding="utf-8")
    assert text == updated(name)


@every_provider
def test_all_pages_have_the_same_outline(name: str) -> None:
    """A reader who knows one page finds everything on another one."""
    assert re.findall(r"^## (.*)$", page(name).read_text(encoding="utf-8"), re.MULTILINE) == OUTLINE


@every_provider
def test_the_responses_to_mistakes_are_those_of_near_misses(name: str) -> None:
    """A gate returns each of the three reasons for a token of the case, with its status."""
    rows = [match.groupdict() for match in ROW.finditer(section(page(name).read_text(), OUTLINE[-1]))]
    assert len(rows) == 3
    assert {row["reason"] for row in rows} <= {near.reason for near in case(name).near}
    assert [int(row["status"]) for row in rows] == [REASONS[Reason(row["reason"])].status for row in rows]


@every_provider
def test_the_policy_example_is_valid(name: str, tmp_path: Path) -> None:
    """`authgate check` finds no problem in a configuration whose policies are those of the example."""
    file = tmp_path / "authgate.yaml"
    file.write_text(
        yaml.safe_dump({**yaml.safe_load(provider(name).render({})), **yaml.safe_load(policy_example(name))})
    )
    result = CliRunner().invoke(app, ["check", "--config", str(file)])
    assert (result.exit_code, result.stdout) == (0, f"{file}: the configuration is valid\n"), result.stderr


def test_the_index_lists_every_page() -> None:
    """docs/providers/README.md has a row for each provider, with its issuer."""
    rows = re.findall(
        r"^\| \[[^]]+\]\(([\w-]+)\.md\) \| [^|]+ \| (.*?) \|$",
        (PAGES / "README.md").read_text(),
        re.MULTILINE,
    )
    assert sorted(name for name, _ in rows) == provider_names()
    wrong = [
        name
        for name, issuer in rows
        if "iss" in case(name).claims and f"`{case(name).claims['iss']}`" != issuer
    ]
    assert wrong == []
