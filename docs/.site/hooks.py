"""Generate the site's reference pages, and make links from docs/ to other files of the repository work.

The reference comes from the models, the commands and the documents at the root, so it never has a copy to keep up to
date. A link to a file that does not exist fails the build, as MkDocs does for links inside docs/.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer.main
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from authgate.cli.command_tree import command_tree
from authgate.cli.commands import app
from authgate.config import SCHEMA_ID, json_schema
from authgate.tools.field_help import all_fields, explain_field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parents[2]
AT_ROOT: Final = {
    "ARCHITECTURE.md": "reference/architecture.md",
    "CHANGELOG.md": "reference/changelog.md",
    "CONTRIBUTING.md": "reference/contributing.md",
    "SECURITY.md": "reference/security.md",
}
"""Documents at the root that are pages of the site."""
_LINK: Final = re.compile(r"(?<=\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))")
_FENCE: Final = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give headings the anchors that GitHub gives them, and list the pages of a folder that the navigation names."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = lambda heading, _separator: re.sub(
        r"[^\w\- ]", "", heading.lower()
    ).replace(" ", "-")
    config.nav = [_expanded(entry) for entry in config.nav or []]
    return config


def _expanded(entry: Any) -> Any:
    """Replace a folder such as `providers/` by its pages, the index first."""
    if isinstance(entry, dict):
        return {title: _expanded(below) for title, below in entry.items()}
    if isinstance(entry, list):
        return [_expanded(below) for below in entry]
    if not entry.endswith("/"):
        return entry
    pages = sorted(
        (ROOT / "docs" / entry).glob("*.md"), key=lambda page: (page.name != "README.md", page.name)
    )
    return [f"{entry}{page.name}" for page in pages]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are generated, and the documents at the root."""
    pages = {
        "reference/configuration.md": "\n".join(_configuration()),
        "reference/commands.md": "\n".join(_commands()),
        SCHEMA_ID.removeprefix(config.site_url or ""): json.dumps(json_schema(), indent=1),
        **{page: (ROOT / name).read_text() for name, page in AT_ROOT.items()},
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files outside docs/ lead to the repository, and links to documents at the root to their pages."""
    source = page.file.src_uri
    origin = next((name for name, target in AT_ROOT.items() if target == source), f"docs/{source}")

    def target_of(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        if path in AT_ROOT:
            return posixpath.relpath(AT_ROOT[path], posixpath.dirname(source) or ".") + anchor
        if path.startswith("docs/"):
            inside = path.removeprefix("docs/")
            if (ROOT / path).is_dir():
                inside += "/README.md"
            if inside.endswith(".md") or files.get_file_from_path(inside) is not None:
                return posixpath.relpath(inside, posixpath.dirname(source) or ".") + anchor
        if path == "README.md":
            return posixpath.relpath("index.md", posixpath.dirname(source) or ".")
        if not (ROOT / path).exists():
            raise PluginError(f"{origin}: the link to {target} leads to no file")
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"{config.extra['source']}/{kind}/main/{path}{anchor}"

    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(target_of, part) for part in parts)


def _configuration() -> Iterator[str]:
    yield "# Configuration reference\n"
    yield (
        "Every field, generated from the models that read the configuration. `authgate config explain PATH` prints the"
        " same, with the value that is set now. `[]` is an entry of a list; `<name>` is a name that you choose.\n"
    )
    section = ""
    for path in all_fields():
        field = explain_field(path)
        top = re.split(r"[.\[]", path)[0]
        if top != section:
            section = top
            yield f"\n## {top}\n"
        if path != top:
            yield f"\n### `{path}` {{: #{_anchor(path)} }}\n"
        yield f"{_text(field.meaning)}\n"
        yield f"- Type: {_text(field.type)}"
        default = f"`{field.default}`" if field.default not in {None, "null"} else "none"
        yield f"- Default: {'required' if field.required else default}"
        if field.variable:
            yield f"- Environment: `{field.variable}`"
        yield ""


def _commands() -> Iterator[str]:
    yield "# Command line reference\n"
    yield "Every command, generated from the program. `authgate help COMMAND` prints the same.\n"
    context = typer.Context(typer.main.get_command(app), info_name="authgate")
    for command in command_tree(context).walk():
        yield f"\n## {command.name}\n"
        yield f"{_text(command.description)}\n"
        yield f"```text\n{command.usage}\n```\n"
        parameters = [*command.arguments, *command.options]
        if parameters:
            yield "| argument or option | meaning |\n|---|---|"
        for each in parameters:
            name = " ".join((", ".join(each.names), each.metavar)).strip()
            choices = f" One of {', '.join(each.choices)}." if each.choices else ""
            yield f"| `{_cell(name)}` | {_cell(_text(each.help))}{choices} |"
        yield ""


def _anchor(path: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-")


def _text(text: str) -> str:
    """Return plain text as Markdown: angle brackets and stars are not markup."""
    return re.sub(r"(?<!`)([<>*_])(?!`)", r"\\\1", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
