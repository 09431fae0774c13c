"""Find the programs that tests run. If one is missing, the test is skipped with how to install it."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.process_one import why_impossible

_INSTALL = {
    "kube-apiserver": "run `make cluster-tools` (needs Go), or point KUBEBUILDER_ASSETS at an envtest folder",
    "kubectl": "run `make cluster-tools` (needs Go), or point KUBEBUILDER_ASSETS at an envtest folder",
    "etcd": "install it (Debian: etcd-server), or run `make cluster-tools` (needs Go)",
    "helm": "run `make cluster-tools` (needs Go), or install it",
    "helm4": "run `make cluster-tools` (needs Go)",
    "nginx": "install it (Debian: nginx-light)",
    "apache2": "install it (Debian: apache2-bin)",
    "envoy": "run `make proxy-tools`",
    "traefik": "run `make proxy-tools` (needs Go)",
    "caddy-2.11.9": "run `make proxy-tools` (needs Go)",
    "compose-go-2.16.2": "run `make proxy-tools` (needs Go)",
    "prometheus": "install it (Debian: prometheus)",
    "systemd-analyze": "install systemd",
    "faketime": "install it (Debian: faketime)",
    "chromium": "install it (Debian: chromium)",
    "strip": "install it (Debian: binutils)",
    "git": "install it (Debian: git)",
    "fish": "install it (Debian: fish)",
    "zsh": "install it (Debian: zsh)",
    "groff": "install it (Debian: groff-base)",
    "mandoc": "install it (Debian: mandoc)",
}


def cache_bin() -> Path:
    """Return the folder with the programs that `tests/cluster/tools/build` builds."""
    cache = os.environ.get("AUTHGATE_CACHE")
    if cache:
        return Path(cache) / "bin"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "authgate" / "bin"


def find_tool(name: str) -> Path | None:
    """Return the program from $KUBEBUILDER_ASSETS (as controller-runtime's envtest), the cache or PATH.

    It also searches /usr/sbin, where Debian installs nginx.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    folders = [assets] if assets else []
    folders += [str(cache_bin()), *os.get_exec_path(), "/usr/sbin"]
    found = shutil.which(name, path=os.pathsep.join(folders))
    return Path(found).absolute() if found else None


def require_tool(name: str, why: str) -> Path:
    """Return the program of this name; skip the test without it, or fail if AUTHGATE_TEST_STRICT=1.

    `why` completes the reason: "nginx is missing: <why>".
    """
    found = find_tool(name)
    if found is None:
        _missing(name, why)
    return found


def require_lua(library: str, why: str) -> None:
    """Skip or fail the test, as `require_tool` does, without this library of Lua 5.3 in Debian's folder."""
    if not Path("/usr/share/lua/5.3", f"{library}.lua").exists():
        _missing(f"lua-{library}", why)


def require_process_one() -> None:
    """Skip or fail the test, as `require_tool` does, if no PID namespace can be created."""
    why = why_impossible()
    if why is not None:
        _skip(why)


def _missing(name: str, why: str) -> NoReturn:
    _skip(f"{name} is missing: {why}; {_INSTALL.get(name, 'install it')}")


def _skip(reason: str) -> NoReturn:
    if os.environ.get("AUTHGATE_TEST_STRICT") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
