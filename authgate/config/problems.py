"""Problems of a configuration, with the place, the value and the remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field

Path = tuple[str | int, ...]
"""The path of a value: field names as in the file, keys, and indexes of lists."""

_MAX_PROBLEMS = 200
_MAX_PUBLIC = 10
_MAX_SHOWN = 80
_MAX_COMPARED = 64
PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""A key that needs no quotes in a path."""
_SECRETS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*", re.DOTALL),
    re.compile(r"eyJ[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*"),  # the base64url of '{"': a token's header
    re.compile(r'"(?:d|p|q|dp|dq|qi|oth|k|priv)"\s*:.*', re.DOTALL),  # members of a private or symmetric JWK
    re.compile(r"(?<=://)[^/@\s]*(?=@)"),  # user info of a URL
)
_URL_QUERY = re.compile(r"(://[^\s?#\"']*\?)[^\s#\"']+")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: the place, what is wrong and how to fix it, the value (masked), and the nearest known name.

    `path` is such as `jwt[0].issuer.url`, or the name of the file, variable or flag if the problem is not in a field.
    `line` counts from 1, and is None for a value that is not from the file. `rule` is the place and the broken rule
    without any value of the configuration, or "" if the message cannot be written so.
    """

    path: str
    message: str
    value: str = ""
    suggestion: str | None = None
    _: KW_ONLY
    line: int | None = None
    rule: str = field(default="", compare=False)

    def fields(self) -> dict[str, object]:
        """Return the problem as JSON has it, by name."""
        return {
            "path": self.path,
            "message": self.message,
            "value": self.value,
            "suggestion": self.suggestion,
            "line": self.line,
        }

    def without_values(self) -> str:
        """Render the place and the broken rule without any value of the configuration, for the admin port."""
        line = "" if self.line is None else f" (line {self.line})"
        place, _, rule = (self.rule or "configuration: is not valid").partition(": ")
        return f"{place}{line}: {rule}"

    @property
    def sentence(self) -> str:
        """The message with the value and the suggestion, without the place."""
        value = f"; got {self.value}" if self.value else ""
        suggestion = "" if self.suggestion is None else f"; did you mean {self.suggestion}?"
        return f"{self.message}{value}{suggestion}"

    def __str__(self) -> str:
        """Render the problem as one line of text."""
        line = "" if self.line is None else f" (line {self.line})"
        return f"{self.path}{line}: {self.sentence}"


class ConfigError(Exception):
    """The configuration is not valid; `problems` holds every problem, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        found = tuple(problems)
        if len(found) > _MAX_PROBLEMS:
            more = Problem("…", f"and {len(found) - _MAX_PROBLEMS} more problems; fix the first ones")
            found = (*found[:_MAX_PROBLEMS], more)
        self.problems = found
        super().__init__("\n".join(map(str, found)))

    def without_values(self) -> str:
        """Return the places and broken rules of the first problems without any value of the configuration."""
        rules = list(dict.fromkeys(problem.without_values() for problem in self.problems))
        more = [f"and {len(rules) - _MAX_PUBLIC} more"] if len(rules) > _MAX_PUBLIC else []
        return "; ".join((*rules[:_MAX_PUBLIC], *more))


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem at a path, before the line or variable of the value is looked up.

    `rule` is the message, or another text, without any value of the configuration; "" if there is no such text.
    """

    path: Path
    message: str
    value: str = ""
    suggestion: str | None = None
    _: KW_ONLY
    rule: str = ""


def dotted(path: Path) -> str:
    """Write a path as `jwt[0].issuer.url`; a key with other characters is quoted in brackets, and shortened."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{shown(step)}]"
    return text


def shown(value: object) -> str:
    """Render a value of a configuration as one short line of JSON, with secrets masked."""
    match value:
        case None | bool():
            return json.dumps(value)
        case str():
            text = masked(value[: 16 * _MAX_SHOWN])
            return json.dumps(text) if len(text) <= _MAX_SHOWN else f'{json.dumps(text[:_MAX_SHOWN])[:-1]}…"'
        case int() if value.bit_length() > 64:
            return "a huge number"
        case int() | float():
            return str(value)
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case _:
            return f"a {type(value).__name__}"


def masked(text: str) -> str:
    """Replace what looks like a private key, a token, or the password or query of a URL by `***`."""
    for secret in _SECRETS:
        text = secret.sub("***", text)
    return _URL_QUERY.sub(r"\1***", text)


def nearest(name: str, known: Collection[str]) -> str | None:
    """Return the known name that is nearest to `name`, or None if no name is near."""
    if len(name) > _MAX_COMPARED:
        return None
    folded = {candidate.casefold(): candidate for candidate in sorted(known)}
    import difflib

    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None
