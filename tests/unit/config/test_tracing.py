"""`tracing`: what is accepted, and what is refused at which path."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from authgate.config import Config, ConfigError, load

if TYPE_CHECKING:
    from pathlib import Path


def loaded(folder: Path, tracing: dict[str, Any]) -> Config:
    """Return a configuration with this section."""
    file = folder / "authgate.yaml"
    file.write_text(json.dumps({"cluster": {"audiences": ["a"]}, "tracing": tracing}))
    return load(file, {}).config


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("https://collector.example.com/", "https://collector.example.com/v1/traces"),
        ("https://example.com/otlp/v1/traces", "https://example.com/otlp/v1/traces"),
    ],
)
def test_an_endpoint_without_a_path_gets_the_usual_one(tmp_path: Path, endpoint: str, url: str) -> None:
    """Collectors have it; other services can have another one."""
    config = loaded(tmp_path, {"endpoint": endpoint})

    assert config.tracing is not None
    assert config.tracing.url == url


def test_headers_are_read_from_the_file(tmp_path: Path) -> None:
    """Empty lines and white space around values are ignored."""
    (tmp_path / "headers").write_text("\nApi-Key: a:b \nX-Empty:\n")
    section = {"endpoint": "https://collector.example.com", "headersFile": str(tmp_path / "headers")}
    config = loaded(tmp_path, section)

    assert config.tracing is not None
    assert config.tracing.headers == (("Api-Key", "a:b"), ("X-Empty", ""))


@pytest.mark.parametrize(
    ("section", "headers", "path", "message"),
    [
        ({"endpoint": "collector:4318"}, None, "tracing.endpoint", "must be an absolute URL"),
        ({"endpoint": "grpc://collector:4317"}, None, "tracing.endpoint", "must be an https:// URL"),
        ({"endpoint": "https://a:b@collector"}, None, "tracing.endpoint", "user name or password"),
        ({"endpoint": "https://collector/?key=x"}, None, "tracing.endpoint", "must not have a query"),
        ({"ratio": 1.1}, None, "tracing.ratio", "at most 1"),
        ({"ratio": True}, None, "tracing.ratio", "must be a number"),
        ({"ratio": -1}, None, "tracing.ratio", "at least 0"),
        ({"caFile": "/nonexistent"}, None, "tracing.caFile", "cannot be read"),
        ({}, "secret-key", "tracing.headersFile", "each line must be a header"),
        ({}, "", "tracing.headersFile", "each line must be a header"),
        ({"endpoint": "http://collector:4318"}, "A: secret-key", "tracing.headersFile", "needs an endpoint"),
    ],
    ids=[
        "no-url",
        "grpc",
        "user-info",
        "query",
        "ratio",
        "boolean",
        "negative",
        "no-ca",
        "bad",
        "empty",
        "plain-http",
    ],
)
def test_what_is_refused(
    tmp_path: Path, section: dict[str, Any], headers: str | None, path: str, message: str
) -> None:
    """The message names the field, and no value of a header."""
    if headers is not None:
        (tmp_path / "headers").write_text(headers)
        section = {**section, "headersFile": str(tmp_path / "headers")}
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, section)

    (problem,) = error.value.problems
    assert problem.path == path
    assert message in problem.message
    assert "secret-key" not in str(error.value)


@pytest.mark.parametrize("module", ["opentelemetry", "opentelemetry.exporter"])
def test_without_the_extra_the_message_has_the_command(module: str) -> None:
    """The message is that of `check`."""
    code = (
        f"import sys\nsys.modules[{module!r}] = None\n"
        "from authgate.config import ConfigError, load\n"
        "env = {'AUTHGATE_CLUSTER__AUDIENCES': 'a', 'AUTHGATE_TRACING__RATIO': '1'}\n"
        "try:\n    load(None, env)\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert "pip install '.[otel]'" in done.stdout
