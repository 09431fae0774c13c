"""One configuration out of several: what is set by the file, the environment and flags, and which one won."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from authgate.config.problems import Path


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that is set at one place by an environment variable or a flag; `source` names which."""

    path: Path
    value: object
    source: str


@dataclass(frozen=True, slots=True)
class Merged:
    """The values of all layers together, and the settings among them by their paths."""

    tree: object
    settings: Mapping[Path, str]
    file: str | None
    unplaced: tuple[Setting, ...] = ()
    """Settings of one field where there is a list of what has such fields."""

    def setting(self, path: Path) -> str | None:
        """Return which variable or flag gave the value at a path, or None where none did."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.settings:
                return self.settings[path[:end]]
        return None

    def source(self, path: Path) -> str:
        """Return where the value at a path comes from: a flag, a variable, the file, or "default"."""
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
    """Lay settings over the file's values, the later over the earlier; each replaces all that stands at its path."""
    merged = _copy(tree)
    sources: dict[Path, str] = {}
    unplaced: list[Setting] = []
    for setting in settings:
        # Where the file has no mapping on the way, that is the mistake to tell, and not one to cover up.
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
