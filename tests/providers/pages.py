"""Write what each page in docs/providers repeats: the token from the case, and the output of `config init`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import yaml

from authgate.tools.providers import provider
from tests.providers.case import ROOT, case, case_names

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PAGES: Final = ROOT / "docs" / "providers"
_WIDTH: Final = 110


def page(name: str) -> Path:
    """Return the path of a provider's page."""
    return PAGES / f"{name}.md"


def section(text: str, heading: str) -> str:
    """Return the text below a heading of the second level."""
    _, found, rest = text.partition(f"\n## {heading}\n")
    assert found, f"no heading {heading!r}"
    return rest.partition("\n## ")[0]


def policy_example(name: str) -> str:
    """Return the YAML of a page's policy example."""
    [block] = re.findall(r"```yaml\n(.*?)```", section(page(name).read_text(), "A policy example"), re.DOTALL)
    return str(block)


def wider_rule(name: str) -> Any:
    """Return the `claimValidationRules` that a page shows as an alternative to the ones of the configuration."""
    steps = section(page(name).read_text(), "What to set at the provider")
    [block] = [
        text for text in re.findall(r"```yaml\n(.*?)```", steps, re.DOTALL) if "claimValidationRules" in text
    ]
    return yaml.safe_load(block)


def updated(name: str) -> str:
    """Return a page's text with an updated token and configuration."""
    text = page(name).read_text(encoding="utf-8")
    item = case(name)
    written = [
        ("What the tokens look like", "json", (f"{_shown(item.header)}\n", f"{_shown(item.claims)}\n")),
        ("Configuration", "yaml", (provider(name).render({}),)),
    ]
    for heading, language, blocks in written:
        old = section(text, heading)
        text = text.replace(old, _replaced(old, language, blocks))
    return text


def _replaced(text: str, language: str, blocks: Iterable[str]) -> str:
    rest = iter(blocks)
    return re.sub(
        rf"```{language}\n.*?```", lambda _: f"```{language}\n{next(rest)}```", text, flags=re.DOTALL
    )


def _shown(value: Any, indent: str = "") -> str:
    """Return JSON on one line if it fits, else an object with one member on each line."""
    line = json.dumps(value)
    if len(indent) + len(line) <= _WIDTH or not isinstance(value, dict):
        return line
    inner = indent + "  "
    members = (f"{inner}{json.dumps(name)}: {_shown(below, inner)}" for name, below in value.items())
    return "{\n" + ",\n".join(members) + f"\n{indent}}}"


if __name__ == "__main__":
    for provider_name in case_names():
        page(provider_name).write_text(updated(provider_name), encoding="utf-8")
