"""The table of docs/proxies.md equals the observations of the tests in this folder, which run before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from authgate.tools.snippets import SNIPPETS
from tests.proxies.programs import PROGRAMS
from tests.proxies.table import PAGE, replaced, written

if TYPE_CHECKING:
    from tests.proxies.table import Results


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_version_is_listed(name: str) -> None:
    """`authgate snippets` lists the versions of .ci/run, with which the tests run."""
    program = PROGRAMS[name]
    version = program.version()
    if version.split(".")[:2] not in [listed.split(".")[:2] for listed in program.snippet.runs_on]:
        pytest.skip(f"not applicable: {name} is {version} here")
    assert version in program.snippet.runs_on


def test_every_version_is_run() -> None:
    """Every listed version is tested."""
    assert {program.snippet.proxy for program in PROGRAMS.values()} == set(SNIPPETS)
    listed = sum(len(snippet.runs_on) for snippet in SNIPPETS.values())
    assert listed == len(PROGRAMS)


def test_the_table_equals_the_observations(results: Results) -> None:
    """Every cell has the observation of the tests. `make proxy-table` updates it."""
    if not results.complete(list(PROGRAMS)):
        pytest.skip("not applicable: only a part of tests/proxies was run")
    columns = {name: program.heading() for name, program in PROGRAMS.items()}
    if os.environ.get("AUTHGATE_TEST_WRITE_PROXY_TABLE") == "1":
        PAGE.write_text(replaced(PAGE.read_text(), results.table(columns)))
    if not all(program.version() in program.snippet.runs_on for program in PROGRAMS.values()):
        pytest.skip("not applicable: other versions are installed than those of the table")
    assert results.table(columns) == written(PAGE.read_text())
