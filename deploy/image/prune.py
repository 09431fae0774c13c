"""Remove what authgate never loads from the virtual environment whose Python runs this.

These are tests, type stubs, sources of extension modules, and parts of dependencies that authgate does not import. If
`strip` is installed, debug symbols are removed too. Metadata and licences stay. `tests/integration/test_image.py` runs
authgate afterwards.
"""

import ast
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
    "pygments/lexers/[!_]*",  # authgate highlights nothing
    "tzdata/zoneinfo",  # dateutil's copy of the system's time zones, for local times
)
"""Patterns below the folder of the packages."""

GENERATED = (
    "cel",
    "envoy",
    "google/api",
    "google/rpc",
    "kubernetes_asyncio",
    "opencensus",
    "opentelemetry/proto",
    "test",
    "udpa",
    "validate",
    "xds",
)
"""Folders of generated modules. authgate imports a few of them."""


def main() -> None:
    """Remove the files, and print how much is left."""
    site = Path(sysconfig.get_path("purelib"))
    before = size(site)
    remove(unloaded(site))
    remove(path for pattern in UNUSED for path in site.glob(pattern))
    strip(site)
    print(f"{site}: {before} before, {size(site)} after")  # noqa: T201 - a command


def remove(paths: Iterable[Path]) -> None:
    """Remove files and whole folders."""
    for path in sorted(paths):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()


def unloaded(site: Path) -> Iterator[Path]:
    """Yield the folders and modules of `GENERATED` that authgate does not load."""
    loaded = loaded_files(generated_imports(site))
    for folder in GENERATED:
        for path in (site / folder, *(site / folder).rglob("*")):
            if not any(file.is_relative_to(path) for file in loaded):
                yield path


def generated_imports(site: Path) -> list[str]:
    """Return the modules of `GENERATED` that authgate imports, also those inside functions, if they are installed."""
    packages = {folder.partition("/")[0] for folder in GENERATED if (site / folder).exists()}
    modules = {
        node.module
        for path in (site / "authgate").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and node.module
        and node.module.partition(".")[0] in packages
        # A namespace such as `opentelemetry` can hold packages of an extra that is not installed.
        and any(site.glob(node.module.replace(".", "/") + "*"))
    }
    return [
        "authgate.cluster.typed_api",
        *sorted(modules),
    ]  # the first one prepares imports of the Kubernetes client


def loaded_files(modules: Iterable[str]) -> list[Path]:
    """Return the files that Python loads for these modules.

    A process of its own loads them, because `strip` writes to loaded libraries.
    """
    script = f"import sys, {', '.join(modules)}\n"
    script += "for module in list(sys.modules.values()): print(getattr(module, '__file__', None) or '')"
    command = [sys.executable, "-B", "-c", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - the modules' names
    return [Path(line) for line in done.stdout.splitlines() if line]


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
