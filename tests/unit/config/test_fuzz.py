"""Any configuration is either accepted or refused with ConfigError."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from authgate.config import ConfigError, effective, load
from authgate.config.format import Shape, shape_of
from authgate.config.models.configuration import Config

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=5)
    | st.dates()
    | st.sampled_from(
        ["https://a.example", "http://localhost", "a/b", "60s", "127.0.0.1:0", "unix:/a", "RS256"]
    )
)
ANYTHING = st.recursive(
    SCALARS,
    lambda below: (
        st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=8) | SCALARS, below, max_size=4)
    ),
    max_leaves=12,
)


def near(shape: Shape) -> st.SearchStrategy[object]:
    """Values similar to a configuration: with known names, and often the right types."""
    match shape.kind:
        case "mapping":
            members = {name: near(below) for name, below in shape.members.items()}
            unknown = dict.fromkeys(shape.refused, ANYTHING)
            kind: st.SearchStrategy[object] = st.fixed_dictionaries({}, optional={**members, **unknown})
        case "list":
            kind = st.lists(near(shape.item) if shape.item else ANYTHING, max_size=3)
        case "keyed":
            kind = st.dictionaries(
                st.sampled_from(["default", "app", "B"]),
                near(shape.item) if shape.item else ANYTHING,
                max_size=2,
            )
        case "text":
            kind = st.sampled_from(
                ["a", "https://a.example", "http://[::1]", "a/*", "/a/*", "MatchAny", "/dev/null"]
            )
        case "number" | "duration":
            kind = st.integers(-1, 100) | st.sampled_from(["5s", "1m"])
    return kind | SCALARS


CONFIGURATIONS = near(shape_of(Config))


def load_or_refuse(data: bytes) -> None:
    """Load a file, and show the configuration if it is accepted."""
    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(ConfigError):
        file = Path(directory) / "authgate.yaml"
        file.write_bytes(data)
        effective(load(file, {}))


@given(ANYTHING)
@settings(max_examples=100, deadline=None)
def test_any_structure_is_accepted_or_refused(value: object) -> None:
    """Any YAML document is valid or raises ConfigError."""
    load_or_refuse(yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass"))


@given(CONFIGURATIONS)
@settings(max_examples=200, deadline=None)
def test_anything_that_looks_like_a_configuration_is_accepted_or_refused(value: object) -> None:
    """The document has known names."""
    load_or_refuse(yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass"))


@given(
    st.binary(max_size=200) | st.text(alphabet="ab:[]{}&*!|>-?'\"#%@,\n\t \\uU0", max_size=60).map(str.encode)
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_accepted_or_refused(data: bytes) -> None:
    """The file may not be YAML."""
    load_or_refuse(data)


@given(CONFIGURATIONS)
@settings(max_examples=50, deadline=None)
def test_flags_of_any_value_are_accepted_or_refused(value: object) -> None:
    """A flag of any value is valid or raises ConfigError."""
    flags = value if isinstance(value, dict) else {"cluster": value}
    with contextlib.suppress(ConfigError):
        load(None, {}, flags)


NAMES = st.sampled_from(
    ["AUTHGATE_CLUSTER", "AUTHGATE_JWT", "AUTHGATE_CACHE__TTL", "AUTHGATE_SERVER__LISTEN_FILE"]
)


@given(
    st.dictionaries(NAMES | st.text(max_size=10).map("AUTHGATE_".__add__), st.text(max_size=30), max_size=4)
)
@settings(max_examples=100, deadline=None)
def test_any_environment_is_accepted_or_refused(env: dict[str, str]) -> None:
    """A variable of any value is valid or raises ConfigError."""
    with contextlib.suppress(ConfigError):
        load(None, env)
