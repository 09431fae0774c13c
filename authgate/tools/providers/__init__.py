"""Configurations for well-known identity providers, written by `authgate config init`.

Each provider is a YAML file of this folder. Its first lines declare options, `#? name = example | description`; the
rest is the configuration, with `${name}` where an option's value is inserted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPTION: Final = re.compile(r"#\? ([a-z]+) = (\S+) \| (.+)")
_PLACE: Final = re.compile(r"\$\{([a-z]+)\}")
# Every character that identifiers, addresses and paths of providers have, and none that could end a YAML text.
_VALUE: Final = re.compile(r"[A-Za-z0-9_.:/@|+ -]{1,512}")


class OptionError(ValueError):
    """An option that the provider does not have, or a value that cannot be inserted."""


@dataclass(frozen=True, slots=True)
class Option:
    """A value that users choose: its name, an example that is also the default, and what it is."""

    name: str
    example: str
    description: str


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider's name, its options in the order of their use, and the text of its configuration."""

    name: str
    options: tuple[Option, ...]
    text: str

    @property
    def title(self) -> str:
        """The product's name: the beginning of the first comment."""
        return self.text.removeprefix("# ").partition(":")[0]

    def render(self, values: Mapping[str, str]) -> str:
        """Return the configuration with these values, and with examples for options that are not given.

        Raises `OptionError`, whose message names the option.
        """
        from authgate.config import SCHEMA_LINE  # not at import: it takes longer than everything else here

        known = {option.name: option.example for option in self.options}
        for name, value in values.items():
            if name not in known:
                raise OptionError(f"--{name}: unknown option; {self.name} has {self._option_names()}")
            if not _VALUE.fullmatch(value):
                raise OptionError(f"--{name}: must be 1 to 512 letters, digits, spaces or any of _.:/@|+-")
        chosen = {**known, **values}
        return f"{SCHEMA_LINE}\n{_PLACE.sub(lambda place: chosen[place[1]], self.text)}"

    def _option_names(self) -> str:
        return ", ".join(f"--{option.name}" for option in self.options)


def provider_names() -> list[str]:
    """Return the names of all providers, sorted."""
    entries = (entry.name for entry in files(__package__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in entries if name.endswith(".yaml"))


@cache
def provider(name: str) -> Provider:
    """Return a provider by name; raises KeyError."""
    if name not in provider_names():
        raise KeyError(name)
    options, lines = [], []
    for line in files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8").splitlines():
        if line.startswith("#?"):
            match = _OPTION.fullmatch(line)
            if match is None:
                raise AssertionError(f"{name}.yaml: {line}")
            options.append(Option(match[1], match[2], match[3]))
        else:
            lines.append(line)
    return Provider(name, tuple(options), "\n".join(lines) + "\n")
