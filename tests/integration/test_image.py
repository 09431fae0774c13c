"""The image's virtual environment after deploy/image/prune.py: it is small, and everything in it works."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from authgate import __version__
from authgate.dev.kube import Permission
from authgate.dev.scenario import LEGACY_AUDIENCE
from tests.support.envoy_messages import asking
from tests.support.gate import AUDIENCE, GateProcess
from tests.support.process import free_port
from tests.support.service import cluster, of_cluster, published, trusting, written
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]

MAX_MEGABYTES = 112
MAX_FILES = 5000
"""Half of the size and a third of the files before pruning. With CPython 3.13 they are 89 MB."""

_IMPORT_EVERYTHING = """
import importlib, pkgutil, authgate
for module in pkgutil.walk_packages(authgate.__path__, "authgate."):
    if module.name != "authgate.__main__":
        importlib.import_module(module.name)
"""


class Image(NamedTuple):
    """The virtual environment, and what its compilation printed."""

    folder: Path
    compiled: str

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def files(self) -> list[Path]:
        """All its files."""
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def run(self, *arguments: str | Path) -> str:
        """Run Python and return its output. It must succeed and print nothing to standard error."""
        command: Sequence[str | Path] = [self.python, *arguments]
        done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


def _environment() -> dict[str, str]:
    """The environment without what measures coverage, which is not installed there. Any port is free for `check`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    return {**kept, "AUTHGATE_SERVER__LISTEN": "127.0.0.1:0", "AUTHGATE_SERVER__ADMIN": "127.0.0.1:0"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The packages of requirements/runtime.txt, copied from the tests' own environment and then pruned."""
    require_tool("strip", "it removes debug symbols")
    folder = tmp_path_factory.mktemp("image") / "authgate"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for found in _distributions():
        for file in _files(found):
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(found.locate_file(file)), site / file)
    shutil.copytree(ROOT / "authgate", site / "authgate", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [folder / "bin" / "python", ROOT / "deploy/image/prune.py"], env=_environment(), check=True
    )
    command: list[str | Path] = [folder / "bin" / "python", "-m", "compileall", "-q", "-j", "0", site]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=True)
    return Image(folder, done.stdout + done.stderr)


def _distributions() -> Iterator[Distribution]:
    """Yield the locked packages that are installed. The others belong to other platforms."""
    lock = (ROOT / "requirements" / "runtime.txt").read_text()
    for name in re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE):
        with contextlib.suppress(PackageNotFoundError):
            yield distribution(name)


def _files(found: Distribution) -> Iterator[PackagePath]:
    """Yield the files of a package below site-packages, without bytecode."""
    for file in found.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts and Path(str(file.locate())).exists():
            yield file


def test_the_compilation_prints_nothing(image: Image) -> None:
    """There is no SyntaxWarning, as there are in test suites of dependencies."""
    assert image.compiled == ""


def test_it_is_small(image: Image) -> None:
    """A new version of a dependency can bring more files: add them to prune.py, or raise the bound."""
    megabytes = sum(path.stat().st_size for path in image.files) / 1e6
    assert (megabytes < MAX_MEGABYTES, len(image.files) < MAX_FILES) == (True, True), (
        f"{megabytes:.0f} MB in {len(image.files)} files"
    )


def test_licences_and_metadata_stay(image: Image) -> None:
    """The licence of each package is in the image, and scanners find its version."""
    names = [
        file
        for found in _distributions()
        for file in _files(found)
        if file.name == "METADATA"
        or file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))
    ]
    (site,) = image.folder.glob("lib/python*/site-packages")
    assert len(names) > 60
    assert [str(file) for file in names if not (site / file).exists()] == []


def test_every_module_can_be_imported(image: Image) -> None:
    """Nothing that a module of authgate imports is missing, the development server included."""
    image.run("-c", _IMPORT_EVERYTHING)


def test_commands(image: Image) -> None:
    """Commands that only look at files."""
    assert __version__ in image.run("-m", "authgate", "version")
    examples = ROOT / "deploy" / "examples"
    assert "is valid" in image.run("-m", "authgate", "check", examples / "expressions.yaml")
    assert "nginx" in image.run("-m", "authgate", "snippets")
    assert "jwt:" in image.run("-m", "authgate", "config", "show", "--config", examples / "oidc.yaml")


async def test_reviews_expressions_and_grpc(image: Image, tmp_path: Path) -> None:
    """A gate verifies tokens with TokenReview and with keys, evaluates CEL, reviews access, and answers over gRPC."""
    async with cluster(tmp_path / "scene") as scenario, published() as (issuer, _):
        by_expression = trusting(issuer)
        by_expression["claimMappings"] = {"username": {"expression": "'corp:' + claims.sub.lowerAscii()"}}
        grpc = f"127.0.0.1:{free_port()}"
        document = {
            "cluster": of_cluster(scenario, legacyAudiences=[LEGACY_AUDIENCE]),
            "jwt": [by_expression],
            "policies": {
                "default": {},
                "asked": {
                    "accessReview": {"resource": {"verb": "get", "resource": "pods", "namespace": "default"}}
                },
            },
            "server": {"grpc": grpc},
        }
        file = written(tmp_path, document)
        async with GateProcess(file, python=image.python) as gate, asking(grpc) as ask:
            opaque = scenario.reviewed_file.read_text()
            token = issuer.mint("ADA", AUDIENCE)
            for accepted in (opaque, token, scenario.token_file.read_text()):
                await gate.passes(accepted, within=60)
            reviewed = await gate.request(opaque)
            assert (reviewed.status, reviewed.value("X-Auth-Request-User")) == (200, "demo-operator")
            assert (await gate.request(token)).value("X-Auth-Request-User") == "corp:ada"
            assert (await gate.request(opaque, "/policies/asked/verify")).verdict == (403, "access_denied")
            assert len(scenario.api.access_reviews) == 1
            assert (await ask(token)).status == 200
            assert (await ask(opaque)).value("X-Auth-Request-User") == "demo-operator"


async def test_token_requests(image: Image, tmp_path: Path) -> None:
    """`authgate token` loads another API of the Kubernetes client."""
    async with cluster(tmp_path / "scene") as scenario:
        scenario.state.allow("system:serviceaccount:authgate:authgate", Permission.REQUEST_TOKENS)
        command = ("-m", "authgate", "token", "demo", "-n", "default", "--audience", AUDIENCE)
        token = await asyncio.to_thread(image.run, *command, "--kubeconfig", scenario.kubeconfig)
    assert token.count(".") == 2
