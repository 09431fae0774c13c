"""Write docs/dependencies.md: the packages that authgate installs, and their licences.

    python docs/.site/licences.py      (`make licences`)

The names come from requirements/runtime.txt, the licences from the metadata of the installed packages.
"""

from __future__ import annotations

import re
from importlib.metadata import metadata, requires
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "dependencies.md"
_NAME: Final = re.compile(r"^([\w.-]+)==(?!.*sys_platform == 'win32')", re.MULTILINE)
_SPDX: Final = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "MIT License, Apache Software License": "MIT OR Apache-2.0",
}
"""Identifiers for the names that older packages use. Each was compared with the package's licence file."""


def licence_of(package: str) -> str:
    """Return the licence of an installed package as an SPDX expression; raise `LookupError` if it has none."""
    described = metadata(package)
    classifiers = sorted(
        (
            each.rpartition(" :: ")[2]
            for each in described.get_all("Classifier") or []
            if "License ::" in each
        ),
        key=lambda name: name != "MIT License",
    )
    written = described["License-Expression"] or described["License"] or ", ".join(classifiers)
    if len(classifiers) > 1:
        written = ", ".join(classifiers)
    if not written:
        raise LookupError(f"{package} does not name its licence")
    return _SPDX.get(written, written)


def page() -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# Dependencies and their licences"
    yield ""
    yield "The packages that authgate and its extras install on Linux and macOS, from `requirements/runtime.txt`."
    yield "`make licences` writes this page. authgate itself has the Apache License 2.0."
    yield ""
    yield "| package | licence | needed for |"
    yield "|---|---|---|"
    uses = _uses()
    for package in _NAME.findall((ROOT / "requirements/runtime.txt").read_text()):
        yield f"| {package} | {licence_of(package)} | {uses.get(package, 'another package')} |"


def _uses() -> dict[str, str]:
    """Return for each direct dependency what needs it: authgate, or one of its extras."""
    found = {}
    for requirement in requires("authgate") or []:
        name = re.split(r"[^\w.-]", requirement)[0].lower()
        extra = re.search(r"extra == ['\"](\w+)", requirement)
        found[name] = f"the extra `{extra[1]}`" if extra else "authgate"
    return found


if __name__ == "__main__":
    PAGE.write_text("\n".join(page()) + "\n")
