"""One proxy at a time, started once for all tests that can share it, and the observations for the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.proxies.programs import PROGRAMS, Program
from tests.proxies.site import HEALTH, protected
from tests.proxies.table import PASSED, ROWS, Results

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

    from tests.proxies.site import Site

    Note = Callable[[str], None]

_RESULTS = pytest.StashKey[Results]()
_PROXY = pytest.StashKey[str]()
_SEEN = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark that assigns a test to a row of the table."""
    config.addinivalue_line("markers", "row(name): the row of docs/proxies.md that a test shows")
    config.stash[_RESULTS] = Results()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the test of the table last."""
    items.sort(key=lambda item: item.path.name == "test_table.py" and item.path.parent.name == "proxies")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Record the observation of a test of a row."""
    report = yield
    mark = item.get_closest_marker("row")
    if mark is None or (report.when != "call" and report.passed):
        return report
    results = item.config.stash[_RESULTS]
    if report.passed:
        results.add(mark.args[0], item.stash[_PROXY], item.stash.get(_SEEN, PASSED))
    elif report.failed:
        results.failed = True
    return report


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> Program:
    """Each proxy in turn."""
    program = PROGRAMS[request.param]
    mark = request.node.get_closest_marker("row")
    assert mark is None or mark.args[0] in ROWS
    request.node.stash[_PROXY] = program.name
    return program


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=PROGRAMS)
async def shared_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """The app behind each proxy in turn."""
    program = PROGRAMS[request.param]
    folder = tmp_path_factory.mktemp(program.name.replace(".", "-"))
    paths = () if program.snippet.no_open_path else (HEALTH,)
    async with protected(program, folder, open_paths=paths) as site:
        yield site


@pytest.fixture
def site(request: pytest.FixtureRequest, shared_site: Site) -> Site:
    """The app behind each proxy in turn, without earlier requests."""
    shared_site.app.seen.clear()
    shared_site.gate.forget()
    shared_site.way.forget()
    request.node.stash[_PROXY] = shared_site.program.name
    return shared_site


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    """Set the text of the table's cell instead of yes."""

    def remember(seen: str) -> None:
        request.node.stash[_SEEN] = seen

    return remember


@pytest.fixture
def results(request: pytest.FixtureRequest) -> Results:
    """The observations of earlier tests."""
    return request.config.stash[_RESULTS]
