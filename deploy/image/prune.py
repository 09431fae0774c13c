"""Remove what authgate never loads from the virtual environment whose Python runs this.

These are tests, type stubs, sources of extension modules, and parts of dependencies that authgate does not import. If
`strip` is installed, debug symbols are removed too. Metadata and licences stay. `tests/integration/test_image.py` runs
authgate afterwards.
"""

import ast
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

UNUSED = (
    "**/*.h",
    "**/*.pxd",
    "**/*.pxi",
    "**/*.pyi",
    "**/*.pyx",
    "**/test_*.py",
    "**/tests",
    "*.md",  # of kubernetes-asyncio
    "bazel-project",  # build files of cel-expr-python, with test suites
    "cel_expr_python/ext",  # authgate uses the extensions that are built into cel
    "kubernetes_asyncio/[!c_]*",  # everything except client and __init__.py
    "kubernetes_asyncio/config",
    "pygments/lexers/[!_]*",  # authgate highlights nothing
    "tzdata/zoneinfo",  # dateutil's copy of the system's time zones, for local times
)
"""Patterns below the folder of the packages."""

GENERATED = (
    "cel",
    "envoy",
    "google/api",
    "google/rpc",
    "opencensus",
    "opentelemetry",
    "test",
    "udpa",
    "validate",
    "xds",
)
"""Folders of generated messages. authgate imports a few of them."""


def main() -> None:
    """Remove the files, and print how much is left."""
    site = Path(sysconfig.get_path("purelib"))
    before = size(site)
    if importlib.util.find_spec("envoy") is not None:
        remove(unloaded_messages(site))
    remove(path for pattern in UNUSED for path in site.glob(pattern))
    reduce_kubernetes_client(site)
    strip(site)
    print(f"{site}: {before} before, {size(site)} after")  # noqa: T201 - a command


def remove(paths: Iterable[Path]) -> None:
    """Remove files and whole folders."""
    for path in sorted(paths):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()


def unloaded_messages(site: Path) -> Iterator[Path]:
    """Yield the folders and modules of `GENERATED` that authgate's gRPC service does not load."""
    loaded = loaded_files(
        [f"authgate.server.grpc.{path.stem}" for path in (site / "authgate/server/grpc").glob("*.py")]
    )
    for folder in GENERATED:
        for path in (site / folder, *(site / folder).rglob("*")):
            if not any(file.is_relative_to(path) for file in loaded):
                yield path


def loaded_files(modules: Iterable[str]) -> list[Path]:
    """Return the files that Python loads for these modules.

    A process of its own loads them, because `strip` writes to loaded libraries.
    """
    script = f"import sys, {', '.join(modules)}\n"
    script += "for module in list(sys.modules.values()): print(getattr(module, '__file__', None) or '')"
    command = [sys.executable, "-B", "-c", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - the modules' names
    return [Path(line) for line in done.stdout.splitlines() if line]


def reduce_kubernetes_client(site: Path) -> None:
    """Keep only the APIs and models of the Kubernetes client that authgate imports."""
    package = site / "kubernetes_asyncio"
    typed_api = ast.parse((site / "authgate" / "cluster" / "typed_api.py").read_text())
    wanted = {
        alias.name
        for node in ast.walk(typed_api)
        if isinstance(node, ast.ImportFrom) and node.module == "kubernetes_asyncio.client"
        for alias in node.names
    }
    (package / "__init__.py").write_text("")
    kept = {"__init__.py"}
    for init in (package / "client" / name / "__init__.py" for name in ("", "api", "models")):
        imports = [
            node
            for node in ast.parse(init.read_text()).body
            if isinstance(node, ast.ImportFrom) and not wanted.isdisjoint(alias.name for alias in node.names)
        ]
        kept |= {f"{(node.module or '').rpartition('.')[2]}.py" for node in imports}
        init.write_text("".join(f"{ast.unparse(node)}\n" for node in imports))
    for folder in ("api", "models"):
        remove(path for path in (package / "client" / folder).glob("*.py") if path.name not in kept)


def strip(site: Path) -> None:
    """Remove symbols that only a debugger reads."""
    if shutil.which("strip") is None:
        print("strip is not installed: debug symbols stay", file=sys.stderr)  # noqa: T201
        return
    for path in site.rglob("*.so*"):
        subprocess.run(["strip", "--strip-unneeded", path], check=True)  # noqa: S603, S607 - the build's own tool


def size(folder: Path) -> str:
    """Return the size of a folder, such as "12 MB in 345 files"."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return f"{sum(sizes) / 1e6:.0f} MB in {len(sizes)} files"


if __name__ == "__main__":
    main()
