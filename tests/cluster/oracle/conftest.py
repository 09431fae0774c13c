"""The oracle: a kube-apiserver and a gate side by side, for all tests here. The summary shows the number of cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.support.oracle import Oracle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_ASKED = pytest.StashKey[str]()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def oracle(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> AsyncIterator[Oracle]:
    """A server and a gate, to which a module gives its configurations."""
    async with Oracle(tmp_path_factory.mktemp("oracle")) as oracle:
        yield oracle
        pytestconfig.stash[_ASKED] = f"{oracle.tokens} tokens and {oracle.entries} entries of jwt"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write the number of cases."""
    if _ASKED in config.stash:
        terminalreporter.write_line(f"kube-apiserver and gate side by side: {config.stash[_ASKED]}")
