"""Merge the values of the file, the environment and flags, and keep the source of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from authgate.config.problems import Path


@dataclass(frozen=True, slots=True)
class Setting:
    """A value from an environment variable or a flag, which `source` names."""

    path: Path
    value: object
    source: str


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged values, and the source of those that are not from the file, by path."""

    tree: object
    settings: Mapping[Path, str]
    file: str | None
    unplaced: tuple[Setting, ...] = ()
    """Settings of one field that cannot be applied, because the file has a list there."""

    def setting(self, path: Path) -> str | None:
        """Return the variable or flag that set the value at a path, or None."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.settings:
                return self.settings[path[:end]]
        return None

    def source(self, path: Path) -> str:
        """Return the source of the value at a path: a flag, a variable, the file, or "default"."""
        value = self.tree
        for step in path:
            match value, step:
                case dict(), str() if step in value:
                    value = value[step]
                case tuple() | list(), int() if step < len(value):
                    value = value[step]
                case _:
                    return "default"
        return self.setting(path) or ("default" if self.file is None else f"file {self.file}")


def merge(tree: object, file: str | None, settings: Iterable[Setting]) -> Merged:
    """Apply settings to the values of the file in order; each replaces the whole value at its path."""
    merged = _copy(tree)
    sources: dict[Path, str] = {}
    unplaced: list[Setting] = []
    for setting in settings:
        # A value in the file that should be a mapping and is not must be reported, so it is not replaced.
        if isinstance(merged, dict) and _place(merged, setting.path, setting.value):
            for below in [path for path in sources if path[: len(setting.path)] == setting.path]:
                del sources[below]
            sources[setting.path] = setting.source
        elif isinstance(merged, dict) and isinstance(merged.get(str(setting.path[0])), list | tuple):
            unplaced.append(setting)
    return Merged(merged, sources, file, tuple(unplaced))


def _copy(value: object) -> object:
    return {name: _copy(member) for name, member in value.items()} if isinstance(value, dict) else value


def _place(tree: dict[str, object], path: Path, value: object) -> bool:
    *way, last = path
    for step in way:
        below = tree.get(str(step))
        if below is None:
            below = tree[str(step)] = {}
        if not isinstance(below, dict):
            return False
        tree = below
    tree[str(last)] = _copy(value)
    return True
