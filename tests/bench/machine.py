"""Describe the machine of a measurement, so that results of different machines are not confused."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_PYTHON_FACTS = """
import importlib.metadata as m, json, platform, sys, sysconfig, time
def loop():
    started = time.perf_counter(); total = 0
    for number in range(1_000_000): total += number & 7
    return time.perf_counter() - started
words = " ".join(str(sysconfig.get_config_var(n)) for n in ("CONFIG_ARGS", "PGO_PROF_USE_FLAG", "LTOFLAGS"))
built = " ".join(str(sysconfig.get_config_var(n)) for n in ("PY_CORE_CFLAGS", "PY_CORE_LDFLAGS", "CONFIG_ARGS"))
print(json.dumps({
    "executable": sys.executable,
    "version": platform.python_version(),
    "config_args": sysconfig.get_config_var("CONFIG_ARGS"),
    "optimised_by_its_configuration": "--enable-optimizations" in built,
    "link_time_optimised": "-flto" in built or "--with-lto" in built,
    "million_loops_ms": round(min(loop() for _ in range(5)) * 1000, 1),
    "packages": {d.metadata["Name"]: d.version for d in m.distributions()
        if d.metadata["Name"].lower() in
        ("aiohttp", "uvloop", "cryptography", "pyjwt", "pydantic", "kubernetes-asyncio", "kubernetes_asyncio")},
}))
"""


def cache_folder() -> Path:
    """Return the folder outside the checkout for files that are created once. AUTHGATE_CACHE changes it."""
    chosen = os.environ.get("AUTHGATE_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "authgate"


def python_facts(python: Path) -> dict[str, object]:
    """Return the version and build of the interpreter that runs authgate, and the versions of important packages."""
    facts: dict[str, object] = json.loads(said([python, "-c", _PYTHON_FACTS]))
    return facts


def machine_facts() -> dict[str, object]:
    """Return the processor, the kernel and the current load of the machine."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {"processor": model, "cores": os.cpu_count(), "kernel": platform.release(), "load": load()}


def load() -> list[float]:
    """Return the load averages of the last 1, 5 and 15 minutes."""
    return [round(one, 2) for one in os.getloadavg()]


def program(name: str) -> Path | None:
    """Return the path of a program, or None if it is not installed."""
    found = shutil.which(name)
    return None if found is None else Path(found)


def said(command: Sequence[str | Path]) -> str:
    """Return the output of a command, including its errors."""
    done = subprocess.run(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout.strip()
