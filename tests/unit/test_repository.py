"""What the repository's files promise one another."""

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

# Packages that are part of another's interface and pinned by it: pydantic's and aiohttp's functions take and return
# their types, so they are imported without being dependencies of their own.
PARTS = {"multidict": "aiohttp", "pydantic-core": "pydantic", "yarl": "aiohttp"}


def name_of(requirement: str) -> str:
    """The normalised name (PEP 503) at the start of a requirement."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0]).lower()


def files_of_the_project() -> list[Path]:
    """The files git knows or would add; a folder without git has been packed by somebody and is not checked."""
    if not (ROOT / ".git").exists():
        pytest.skip("not applicable: not a git checkout")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def texts_of_the_project() -> dict[str, str]:
    """The project's text files by their path."""
    texts = {}
    for path in files_of_the_project():
        data = path.read_bytes()
        if b"\0" not in data:
            texts[str(path.relative_to(ROOT))] = data.decode(errors="replace")
    return texts


def packages_imported() -> set[str]:
    """The top-level names that authgate's modules import, its own and the standard library's left out."""
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
    """The names of the distributions that authgate's modules import, a part under the name of its whole."""
    known = packages_distributions()
    names = {name_of(found) for package in packages_imported() for found in known.get(package, [package])}
    return {PARTS.get(name, name) for name in names}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_locked_package_has_a_version_and_a_hash(lock: Path) -> None:
    """A lock says which bytes are installed, not only which version."""
    entries = re.split(r"\n(?=\w)", re.sub(r"(?m)^ *#.*\n?", "", lock.read_text()).strip())

    unlocked = [
        entry for entry in entries if not re.match(r"[\w.-]+==\S+ .*\\\n +--hash=sha256:[0-9a-f]{64}", entry)
    ]

    assert unlocked == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_leaves_the_index_to_its_user(lock: Path) -> None:
    """A lock names no index and no address, so that it installs from a mirror as from anywhere."""
    assert re.findall(r"(?m)^-.*|\S+://\S+", lock.read_text()) == []


@pytest.mark.parametrize(
    "lock", [lock for lock in LOCKS if lock.name != "build.txt"], ids=lambda lock: lock.name
)
def test_a_lock_holds_every_dependency(lock: Path) -> None:
    """A dependency added to pyproject.toml is added to the locks (`make lock`)."""
    locked = {name_of(line) for line in lock.read_text().splitlines() if re.match(r"\w", line)}

    assert {name_of(requirement) for requirement in PROJECT["dependencies"]} <= locked


def test_the_locks_agree() -> None:
    """What is tested is what is shipped: a package has one version in all locks."""
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+)", lock.read_text()):
            versions.setdefault(name, set()).add(version)

    assert {name: sorted(found) for name, found in versions.items() if len(found) > 1} == {}


def test_every_dependency_is_imported() -> None:
    """A dependency earns its place: authgate imports it."""
    declared = {name_of(requirement) for requirement in PROJECT["dependencies"]}

    assert declared - distributions_imported() == set()


def test_every_import_is_a_dependency() -> None:
    """Nothing is imported that is there only because another package needs it; extras may be imported, too."""
    extras = itertools.chain(*PROJECT["optional-dependencies"].values())
    declared = {name_of(requirement) for requirement in (*PROJECT["dependencies"], *extras)}

    assert distributions_imported() - declared == set()


def test_no_file_names_a_path_of_one_machine() -> None:
    """The project is built and tested wherever it is checked out."""
    found = {
        name: hits for name, text in texts_of_the_project().items() if (hits := OF_ONE_MACHINE.findall(text))
    }

    assert found == {}


def test_no_file_names_the_host_of_a_registry() -> None:
    """Where packages come from is the business of the machine that installs them."""
    found = {
        name: hits for name, text in texts_of_the_project().items() if (hits := OF_A_REGISTRY.findall(text))
    }

    assert found == {}


@pytest.mark.parametrize(
    ("strict", "reason", "outcome"),
    [
        pytest.param("", "nginx is missing", "skipped", id="skipped elsewhere"),
        pytest.param("1", "nginx is missing", "failed", id="failed when strict"),
        pytest.param("1", "not applicable: no Ed448", "skipped", id="skipped where nothing could help"),
    ],
)
def test_a_skip_fails_in_strict_mode(
    monkeypatch: pytest.MonkeyPatch, strict: str, reason: str, outcome: str
) -> None:
    """With AUTHGATE_TEST_STRICT=1 nothing that could be installed is skipped."""
    monkeypatch.setenv("AUTHGATE_TEST_STRICT", strict)
    report = pytest.TestReport(
        "test", ("test.py", 1, "test"), {}, "skipped", ("test.py", 1, f"Skipped: {reason}"), "setup"
    )

    fail_skipped(report)

    assert report.outcome == outcome


def test_a_lock_is_installed_without_resolving_anything() -> None:
    """An old pip otherwise looks at an index for packages with extras, and fails once a newer version is there."""
    installs = re.findall(
        r"^.*--require-hashes.*$",
        (ROOT / "Makefile").read_text() + (ROOT / "Dockerfile").read_text(),
        re.MULTILINE,
    )
    assert installs
    assert [line for line in installs if "--no-deps" not in line] == []


def test_no_file_names_a_package_that_is_not_published() -> None:
    """A stranger could register the name on the index, and everybody who follows the advice would run his code."""
    unpublished = re.compile(r"pip install +(?:-[\w-]+ +)*['\"]?[a]uthgate\b")
    found = [path for path, text in texts_of_the_project().items() if unpublished.search(text)]
    assert found == []
