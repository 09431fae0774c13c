"""What holds for every test: a clean environment, and no silent skip where AUTHGATE_TEST_STRICT=1.

There, generated examples are also the same in every run, so that a run fails only because of a change.
"""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

pytest.register_assert_rewrite("tests.support")

# A busy machine is slow, not wrong.
settings.register_profile(
    "tests",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("AUTHGATE_TEST_STRICT") == "1",
)
settings.load_profile("tests")

NOT_APPLICABLE = "not applicable:"
"""How the reason of a skip begins that no machine could avoid, such as a vector for an algorithm nobody has."""

_FROM_OUTSIDE = re.compile(
    r"(?i)AUTHGATE_(?!TEST_|CACHE$)|KUBE(?!BUILDER_ASSETS$)|NO_COLOR$|FORCE_COLOR$|\w+_PROXY$"
)


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """Nothing of the user's own gate, cluster, proxy or terminal reaches a test; where tools are found may."""
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if _FROM_OUTSIDE.match(name):
                environment.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _usual_interrupts() -> None:
    """Let programs get SIGINT: a shell ignores it for jobs in the background, and programs inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def fail_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns the report of a skip into that of a failure in strict mode, unless the test is not applicable."""
    if os.environ.get("AUTHGATE_TEST_STRICT") != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith(NOT_APPLICABLE):
        report.outcome = "failed"
        report.longrepr = f"AUTHGATE_TEST_STRICT=1 allows no skip: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip in a test or its fixtures."""
    report = yield
    fail_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A skip of a whole module."""
    report = yield
    fail_skipped(report)
    return report
