"""The files of the repository agree with each other."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.conftest import fail_skipped

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# The classes of one letter keep this file from matching itself.
OF_ONE_MACHINE = re.compile(r"(?<![\w.$}~-])/(?:[r]oot|[w]ork|[h]ome|[U]sers)/[\w.]")
OF_A_REGISTRY = re.compile(r"(?:[p]ypi|[p]ythonhosted|[n]pmjs|[p]roxy\.golang)\.(?:org|com)")

# Packages that belong to the interface of another package and are pinned by it: functions of pydantic and aiohttp
# take and return their types, so authgate imports them without depending on them directly.
# Modules of opentelemetry are in many packages, which the SDK and the exporter pin.
PARTS = {
    "multidict": "aiohttp",
    "pydantic-core": "pydantic",
    "yarl": "aiohttp",
    **{
        f"opentelemetry-{part}": "opentelemetry-sdk"
        for part in (
            "api",
            "exporter-http-transport",
            "exporter-otlp-common",
            "exporter-otlp-json-common",
            "proto-json",
            "semantic-conventions",
        )
    },
}


def name_of(requirement: str) -> str:
    """The normalised name (PEP 503) at the start of a requirement."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0]).lower()


def files_of_the_project() -> list[Path]:
    """The files that git tracks or would add. A folder without git, such as an unpacked archive, is not checked."""
    if not (ROOT / ".git").exists():
        pytest.skip("not applicable: not a git checkout")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def texts_of_the_project() -> dict[str, str]:
    """The text files of the project by path."""
    texts = {}
    for path in files_of_the_project():
        data = path.read_bytes()
        if b"\0" not in data:
            texts[str(path.relative_to(ROOT))] = data.decode(errors="replace")
    return texts


def packages_imported() -> set[str]:
    """The top-level names that authgate's modules import, except authgate and the standard library."""
    names: set[str] = set()
    for path in (ROOT / "authgate").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=aliases):
                    names.update(alias.name.partition(".")[0] for alias in aliases)
                case ast.ImportFrom(module=str(module)):
                    names.add(module.partition(".")[0])
                case _:
                    pass
    return names - sys.stdlib_module_names - {"authgate"}


def distributions_imported() -> set[str]:
    """The names of the distributions that authgate's modules import; a part counts as its parent (`PARTS`)."""
    known = packages_distributions()
    names = {name_of(found) for package in packages_imported() for found in known.get(package, [package])}
    return {PARTS.get(name, name) for name in names}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_locked_package_has_a_version_and_a_hash(lock: Path) -> None:
    """A lock fixes the bytes that are installed, not only the version."""
    entries = re.split(r"\n(?=\w)", re.sub(r"(?m)^ *#.*\n?", "", lock.read_text()).strip())

    unlocked = [
        entry for entry in entries if not re.match(r"[\w.-]+==\S+ .*\\\n +--hash=sha256:[0-9a-f]{64}", entry)
    ]

    assert unlocked == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_contains_no_index_address(lock: Path) -> None:
    """A lock can be installed from any mirror."""
    assert re.findall(r"(?m)^-.*|\S+://\S+", lock.read_text()) == []


@pytest.mark.parametrize(
    "lock", [lock for lock in LOCKS if lock.name != "build.txt"], ids=lambda lock: lock.name
)
def test_a_lock_contains_every_dependency(lock: Path) -> None:
    """After a change of the dependencies in pyproject.toml, run `make lock`."""
    locked = {name_of(line) for line in lock.read_text().splitlines() if re.match(r"\w", line)}

    assert {name_of(requirement) for requirement in PROJECT["dependencies"]} <= locked


def test_the_locks_agree() -> None:
    """A package has the same version in all locks, so the tested version is the shipped one."""
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+)", lock.read_text()):
            versions.setdefault(name, set()).add(version)

    assert {name: sorted(found) for name, found in versions.items() if len(found) > 1} == {}


def test_every_dependency_is_imported() -> None:
    """A dependency that authgate does not import must be removed."""
    declared = {name_of(requirement) for requirement in PROJECT["dependencies"]}

    assert declared - distributions_imported() == set()


def test_every_import_is_a_dependency() -> None:
    """authgate imports no package that is installed only because another package needs it."""
    extras = itertools.chain(*PROJECT["optional-dependencies"].values())
    declared = {name_of(requirement) for requirement in (*PROJECT["dependencies"], *extras)}

    assert distributions_imported() - declared == set()


def test_no_file_contains_a_path_of_one_machine() -> None:
    """The project can be built and tested in any folder."""
    found = {
        name: hits for name, text in texts_of_the_project().items() if (hits := OF_ONE_MACHINE.findall(text))
    }

    assert found == {}


def test_no_file_contains_the_host_of_a_registry() -> None:
    """The machine that installs packages chooses the registry."""
    found = {
        name: hits for name, text in texts_of_the_project().items() if (hits := OF_A_REGISTRY.findall(text))
    }

    assert found == {}


@pytest.mark.parametrize(
    ("strict", "reason", "outcome"),
    [
        pytest.param("", "nginx is missing", "skipped", id="skipped elsewhere"),
        pytest.param("1", "nginx is missing", "failed", id="failed when strict"),
        pytest.param("1", "not applicable: no Ed448", "skipped", id="skipped if it cannot apply"),
    ],
)
def test_a_skip_fails_in_strict_mode(
    monkeypatch: pytest.MonkeyPatch, strict: str, reason: str, outcome: str
) -> None:
    """With AUTHGATE_TEST_STRICT=1 a missing program fails the test instead of skipping it."""
    monkeypatch.setenv("AUTHGATE_TEST_STRICT", strict)
    report = pytest.TestReport(
        "test", ("test.py", 1, "test"), {}, "skipped", ("test.py", 1, f"Skipped: {reason}"), "setup"
    )

    fail_skipped(report)

    assert report.outcome == outcome


def test_locks_are_installed_without_resolving() -> None:
    """Otherwise an old pip asks the index about packages with extras, and fails once a newer version exists."""
    installs = re.findall(
        r"^.*--require-hashes.*$",
        (ROOT / "Makefile").read_text() + (ROOT / "Dockerfile").read_text(),
        re.MULTILINE,
    )
    assert installs
    assert [line for line in installs if "--no-deps" not in line] == []


def test_no_file_recommends_a_package_that_is_not_published() -> None:
    """Anyone could register the name, and everyone who follows the advice would run their code."""
    unpublished = re.compile(r"pip install +(?:-[\w-]+ +)*['\"]?[a]uthgate\b")
    found = [path for path, text in texts_of_the_project().items() if unpublished.search(text)]
    assert found == []
