from __future__ import annotations

from pathlib import Path

import pytest

from authgate.config import ConfigError, load
from authgate.config.format import leaves, shape_of
from authgate.config.models.configuration import Config
from authgate.config.reading.environment import _SERVICE, _names

AUDIENCES = {"AUTHGATE_CLUSTER__AUDIENCES": "a"}
ISSUER = (
    '{"issuer": {"url": "https://a.example", "audiences": ["a"]}, '
    '"claimMappings": {"username": {"claim": "sub", "prefix": "a:"}}}'
)


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("AUTHGATE_CLUSTER__AUDIENCES", "a,b", "cluster.audiences", ("a", "b")),
        ("AUTHGATE_CLUSTER__AUDIENCES", " a , b ", "cluster.audiences", ("a", "b")),
        ("AUTHGATE_CLUSTER__AUDIENCES", '["a,b", c]', "cluster.audiences", ("a,b", "c")),
        ("AUTHGATE_CLUSTER__AUDIENCES", "https://a.example", "cluster.audiences", ("https://a.example",)),
        ("AUTHGATE_CLUSTER__ISSUERS", "", "cluster.issuers", ()),
        ("AUTHGATE_CLUSTER__TOKEN_REVIEW__MODE", "always", "cluster.tokenReview.mode", "always"),
        ("AUTHGATE_CLUSTER__TOKENREVIEW__MODE", "always", "cluster.tokenReview.mode", "always"),
        ("AUTHGATE_cluster__tokenReview__mode", "always", "cluster.tokenReview.mode", "always"),
        ("AUTHGATE_CLUSTER__TOKEN_REVIEW__QPS", "2.5", "cluster.tokenReview.qps", 2.5),
        ("AUTHGATE_CLUSTER__NAME", "017", "cluster.name", "017"),
        ("AUTHGATE_CLUSTER__NAME", "yes", "cluster.name", "yes"),
        ("AUTHGATE_CLUSTER__CONTEXT", "null", "cluster.context", None),
        ("AUTHGATE_CACHE__NEGATIVE_TTL", "7s", "cache.negativeTTL", 7.0),
        ("AUTHGATE_CACHE__NEGATIVE_TTL", "7", "cache.negativeTTL", 7.0),
        ("AUTHGATE_CACHE__MAX_ENTRIES", " 7 ", "cache.maxEntries", 7),
        ("AUTHGATE_SERVER__ADMIN", "null", "server.admin", None),
        ("AUTHGATE_SERVER__FAST_LANE", "false", "server.fastLane", False),
        ("AUTHGATE_SERVER__WORKERS", "3", "server.workers", 3),
        ("AUTHGATE_SERVER__WORKERS", "auto", "server.workers", "auto"),
        ("AUTHGATE_SERVER__TLS", "null", "server.tls", None),
        ("AUTHGATE_HEADERS", "{preset: remote}", "headers.preset", "remote"),
        ("AUTHGATE_JWT", f"[{ISSUER}]", "jwt[0].issuer.url", "https://a.example"),
        ("AUTHGATE_JWT", f"- {ISSUER}", "jwt[0].issuer.audiences", ("a",)),
        (
            "AUTHGATE_POLICIES",
            '{"app": {"allow": [{"users": ["me"]}]}}',
            "policies.app.allow[0].users",
            ("me",),
        ),
    ],
)
def test_a_variable_sets_its_field(name: str, text: str, path: str, value: object) -> None:
    """Each form of a variable sets the expected value."""
    loaded = load(None, {**AUDIENCES, name: text})
    values = {key: leaf for key, (_, leaf) in zip(loaded.sources, leaves(loaded.config), strict=True)}
    assert (values[path], loaded.sources[path]) == (value, f"env {name}")


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("AUTHGATE_CLUSTER__NAME_FILE", "there\n", "cluster.name", "there"),
        ("AUTHGATE_CLUSTER__NAME_FILE", "there\r\n", "cluster.name", "there"),
        ("AUTHGATE_CLUSTER__ISSUERS_FILE", "a,b\n", "cluster.issuers", ("a", "b")),
        ("AUTHGATE_JWT_FILE", f"- {ISSUER}\n", "jwt[0].gate.name", None),
        ("AUTHGATE_POLICIES_FILE", "app: {}\n", "policies.app.deny", None),
    ],
)
def test_a_variable_for_a_file_reads_the_value_from_it(
    tmp_path: Path, name: str, text: str, path: str, value: object
) -> None:
    """A variable with the suffix `_FILE` names a file with the value."""
    (tmp_path / "value").write_text(text, newline="")
    loaded = load(None, {**AUDIENCES, name: str(tmp_path / "value")})
    values = {key: leaf for key, (_, leaf) in zip(loaded.sources, leaves(loaded.config), strict=True)}
    assert values[path] == value


def test_a_field_whose_name_ends_in_file_is_set_to_the_path() -> None:
    """`certFile` is a field: its variable has the path, and the file is not read as the value."""
    with pytest.raises(ConfigError, match=r"server\.tls\.certFile: cannot be read"):
        load(None, {**AUDIENCES, "AUTHGATE_SERVER__TLS__CERT_FILE": "/nonexistent"})


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("AUTHGATE_CLUSTR__NAME", "x", "did you mean AUTHGATE_CLUSTER__NAME?"),
        ("AUTHGATE_SERVER__LISTN", "x", "did you mean AUTHGATE_SERVER__LISTEN?"),
        ("AUTHGATE_CONFIG_FILE", "x", "did you mean AUTHGATE_CONFIG?"),
        ("AUTHGATE_", "x", "is not a variable that authgate knows"),
        ("AUTHGATE___", "x", "is not a variable that authgate knows"),
        ("AUTHGATE__FILE", "x", "is not a variable that authgate knows"),
        ("AUTHGATE_SERVER__PORT", "x", "is not a variable that authgate knows"),
        ("AUTHGATE_LOG__LEVEL__X", "x", "AUTHGATE_LOG__LEVEL to the whole value"),
        ("AUTHGATE_JWT__0__ISSUER", "x", "AUTHGATE_JWT to the whole value"),
        ("AUTHGATE_POLICIES__DEFAULT__DENY", "x", "AUTHGATE_POLICIES to the whole value"),
        ("AUTHGATE_JWT", "[", "is not valid YAML"),
        ("AUTHGATE_CLUSTER__ISSUERS", "[a", "is not valid YAML"),
        ("AUTHGATE_HEADERS", "{preset: remote, preset: remote}", "preset: is given twice"),
        ("AUTHGATE_HEADERS", "x" * (1024 * 1024 + 1), "is longer than 1048576 characters"),
        ("AUTHGATE_CLUSTER__NAME_FILE", "/nonexistent", "names a file that cannot be read: No such file"),
        ("AUTHGATE_CLUSTER__NAME_FILE", "a\0", "names a file that cannot be read"),
        ("AUTHGATE_CLUSTER__TOKENREVIEW__MODE", "never", "remove one of them"),
    ],
    ids=lambda value: value[:40].replace("\0", "NUL"),
)
def test_a_bad_variable_is_a_problem_by_its_name(name: str, text: str, words: str) -> None:
    """Unknown, unreadable and duplicate variables are refused, with the nearest name."""
    with pytest.raises(ConfigError) as caught:
        load(None, {**AUDIENCES, "AUTHGATE_CLUSTER__TOKEN_REVIEW__MODE": "never", name: text})
    (problem,) = caught.value.problems
    assert (problem.path.startswith("AUTHGATE_"), words in str(problem)) == (True, True), problem


@pytest.mark.parametrize(
    ("name", "text", "path", "words"),
    [
        ("AUTHGATE_CLUSTER__AUDIENCES", "", "cluster.audiences", "must not be empty"),
        ("AUTHGATE_CLUSTER__AUDIENCES", "a,,b", "cluster.audiences[1]", "must not be empty"),
        ("AUTHGATE_CLUSTER__AUDIENCES", "[1]", "cluster.audiences[0]", "must be a text"),
        ("AUTHGATE_CLUSTER", "home", "cluster", "must be a mapping"),
        ("AUTHGATE_JWT", "{}", "jwt", "must be a list"),
        ("AUTHGATE_CACHE__MAX_ENTRIES", "many", "cache.maxEntries", "must be a whole number"),
        ("AUTHGATE_CACHE__MAX_ENTRIES", "null", "cache.maxEntries", "must be a whole number"),
        ("AUTHGATE_LOG__LEVEL", "INFO", "log.level", "must be"),
        ("AUTHGATE_CLUSTER__CONTEXT", "\udc80", "cluster.context", "lone surrogate"),
    ],
    ids=["no-audience", "empty-entry", "number", "text", "mapping", "word", "null", "choice", "surrogate"],
)
def test_a_variables_bad_value_is_a_problem_of_the_field(name: str, text: str, path: str, words: str) -> None:
    """The value is validated like one of the file, and the message names the variable."""
    with pytest.raises(ConfigError) as caught:
        load(None, {**AUDIENCES, name: text})
    problem = next(problem for problem in caught.value.problems if problem.path == path)
    assert (words in problem.message, problem.message.endswith(f"(set by env {name})")) == (True, True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("AUTHGATE_SERVICE_HOST", "10.0.0.1"),
        ("AUTHGATE_SERVICE_PORT", "80"),
        ("AUTHGATE_SERVICE_PORT_HTTP", "80"),
        ("AUTHGATE_SERVICE_PORT_HTTP_METRICS", "80"),
        ("AUTHGATE_PORT", "tcp://10.0.0.1:80"),
        ("AUTHGATE_PORT_8080_TCP", "tcp://10.0.0.1:80"),
        ("AUTHGATE_PORT_8080_TCP_PROTO", "tcp"),
        ("AUTHGATE_PORT_8080_TCP_PORT", "8080"),
        ("AUTHGATE_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("AUTHGATE_PORT_53_UDP_ADDR", "10.0.0.1"),
        ("AUTHGATE_ADMIN_SERVICE_HOST", "10.0.0.1"),
        ("AUTHGATE_ADMIN_SERVICE_PORT_METRICS", "9090"),
        ("AUTHGATE_ADMIN_PORT", "tcp://10.0.0.1:9090"),
        ("AUTHGATE_ADMIN_PORT_9090_TCP_ADDR", "10.0.0.1"),
        ("AUTHGATE_CONFIG", "/etc/authgate.yaml"),
        ("AUTHGATE_CACHE", "/var/cache"),
        ("AUTHGATE_TEST_STRICT", "1"),
        ("authgate_log__level", "loud"),
        ("OTHER_CLUSTER__NAME", "x"),
    ],
    ids=lambda value: value,
)
def test_other_variables_are_ignored(name: str, text: str) -> None:
    """Variables of Kubernetes for Services named authgate…, and those of the command line, are not errors."""
    assert load(None, {**AUDIENCES, name: text}).warnings == ()


def test_a_port_that_no_service_set_is_a_warning() -> None:
    """AUTHGATE_PORT does not set the port, and the warning names the variable that does."""
    (warning,) = load(None, {**AUDIENCES, "AUTHGATE_PORT": "8080"}).warnings
    assert (warning.path, "AUTHGATE_SERVER__LISTEN" in warning.message) == ("AUTHGATE_PORT", True)


def test_no_field_has_a_variable_that_services_have() -> None:
    """The two sets of names have nothing in common."""
    assert [name for name in _names(shape_of(Config), "AUTHGATE_") if _SERVICE.fullmatch(name)] == []
