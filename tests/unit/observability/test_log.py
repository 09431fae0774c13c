"""The log: format, levels, limits, and no token."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from authgate.observability.log import LOGGER, Format, Transitions, configure, event, masked, traceback_of
from tests.support.logs import configured, lines

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1c2VyLTEifQ.c2lnbmF0dXJlLW9mLWl0"
PARTS = TOKEN.split(".")

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


def written(**attributes: object) -> dict[str, Any]:
    """The written attributes of one event."""
    stream = configured()
    event(logging.INFO, "it happened", **attributes)
    (line,) = lines(stream)
    found: dict[str, Any] = line["attributes"]
    return found


def test_an_event_is_one_line_of_json() -> None:
    """With OpenTelemetry's names and the time in UTC."""
    stream = configured()
    event(logging.WARNING, "keys could not be fetched", issuer="corp", error_type="x\ny")
    (line,) = lines(stream)

    assert line.pop("timestamp").endswith("+00:00")
    assert line == {
        "severity_text": "WARN",
        "severity_number": 13,
        "scope": "authgate",
        "body": "keys could not be fetched",
        "attributes": {"issuer": "corp", "error.type": "x\ny"},
    }


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (logging.DEBUG, ("DEBUG", 5)),
        (logging.INFO, ("INFO", 9)),
        (logging.WARNING, ("WARN", 13)),
        (logging.ERROR, ("ERROR", 17)),
        (logging.CRITICAL, ("FATAL", 21)),
        (25, ("INFO", 9)),
    ],
)
def test_a_level_has_its_severity(level: int, severity: tuple[str, int]) -> None:
    """With OpenTelemetry's numbers. An unknown level counts as INFO."""
    stream = configured("debug")
    event(level, "x")
    (line,) = lines(stream)

    assert (line["severity_text"], line["severity_number"]) == severity


def test_values_keep_their_type() -> None:
    """Numbers and lists stay as they are. Other types that JSON does not have become text."""
    assert written(a=1, b=1.5, c=True, d=None, e=["x", 2, ("y",)], f={"k"}, g=ValueError("z")) == {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": None,
        "e": ["x", 2, ["y"]],
        "f": "{'k'}",
        "g": "z",
    }


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(TOKEN, id="text"),
        pytest.param(f"Bearer {TOKEN}", id="header"),
        pytest.param([[TOKEN]], id="list in a list"),
        pytest.param((TOKEN,), id="tuple"),
        pytest.param({"token": TOKEN}, id="dict"),
        pytest.param({TOKEN: 1}, id="dict key"),
        pytest.param(TOKEN.encode(), id="bytes"),
        pytest.param(ValueError(TOKEN), id="exception"),
    ],
)
@pytest.mark.parametrize("format_", ["json", "text"])
def test_no_attribute_shows_a_token(format_: Format, value: object) -> None:
    """At any depth and in any field."""
    stream = configured(format_=format_)
    event(logging.INFO, "x", value=value)

    assert not any(part in stream.getvalue() for part in PARTS)


@pytest.mark.parametrize("format_", ["json", "text"])
def test_no_message_shows_a_token(format_: Format) -> None:
    """Neither in arguments nor in tracebacks of libraries."""
    stream = configured(format_=format_)
    logger = logging.getLogger("somebody.else")
    logger.warning("got %s", TOKEN)
    try:
        raise ValueError(TOKEN)
    except ValueError:
        logger.exception("failed")

    assert "ValueError" in stream.getvalue()
    assert not any(part in stream.getvalue() for part in PARTS)


def test_an_exception_is_written_with_its_traceback() -> None:
    """As an attribute with OpenTelemetry's name."""
    stream = configured()
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger(LOGGER).exception("failed")
    (line,) = lines(stream)

    assert "test_an_exception_is_written_with_its_traceback" in line["attributes"]["exception.stacktrace"]
    assert line["attributes"]["exception.stacktrace"].endswith("ValueError: broken\n")


def test_a_record_without_an_exception_has_none() -> None:
    """`exc_info` without an exception adds nothing."""
    stream = configured()
    record = logging.LogRecord(LOGGER, logging.WARNING, "x.py", 1, "x", (), (None, None, None))
    logging.getLogger(LOGGER).handle(record)

    assert lines(stream)[0]["attributes"] == {}


def test_a_value_cannot_start_a_new_line() -> None:
    """Line breaks in values are escaped, so that clients cannot forge log entries."""
    stream = configured(format_="text")
    event(logging.INFO, "decision", user_name="ada\nINFO decision user.name=root\u2028x")
    assert stream.getvalue().count("\n") == 1
    assert "ada\\nINFO decision" in stream.getvalue()


def test_text_is_for_a_person_at_a_terminal() -> None:
    """Time, severity, message and attributes in one line."""
    stream = configured(format_="text")
    event(logging.WARNING, "keys fetched", issuer="corp", key_count=2)
    time, _, rest = stream.getvalue().partition(" ")

    assert len(time) == len("12:34:56")
    assert rest == "WARN  keys fetched issuer=corp key.count=2\n"


@pytest.mark.parametrize(
    ("level", "own", "others"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["warning", "error"]),
        ("info", ["info", "warning", "error"], ["warning", "error"]),
        ("warning", ["warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_the_level_applies_to_the_gate_and_libraries_log_warnings(
    level: str, own: list[str], others: list[str]
) -> None:
    """At lower levels, some libraries print whole requests and responses."""
    stream = configured(level)
    for scope in (LOGGER, "somebody.else.deeper", "asyncio"):
        for name in ("debug", "info", "warning", "error"):
            logging.getLogger(scope).log(logging.getLevelNamesMapping()[name.upper()], name)
    seen = lines(stream)

    assert [line["body"] for line in seen if line["scope"] == LOGGER] == own
    assert [line["body"] for line in seen if line["scope"] == "asyncio"] == others
    assert [line["body"] for line in seen if line["scope"].startswith("somebody")] == others


def test_aiohttp_logs_nothing() -> None:
    """Its error lines quote the request, including Authorization. The server package logs errors itself."""
    stream = configured("debug")
    for scope in ("aiohttp.server", "aiohttp.access", "aiohttp.client"):
        logging.getLogger(scope).error("Error handling request %s", TOKEN)

    assert stream.getvalue() == ""


def test_configuring_again_replaces_the_handler() -> None:
    """A line is never written twice."""
    first, second = configured(), configured()
    event(logging.INFO, "x")

    assert first.getvalue() == ""
    assert len(lines(second)) == 1


def test_the_log_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is for what a command prints."""
    configure("info", "json")
    event(logging.INFO, "x")
    captured = capsys.readouterr()

    assert json.loads(captured.err)["body"] == "x"
    assert captured.out == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param(TOKEN, "…", id="a JWT"),
        pytest.param(f"<{TOKEN}>", "<…>", id="a JWT in something"),
        pytest.param(f"{PARTS[0]}.{PARTS[1]}", "…", id="two segments"),
        pytest.param(PARTS[0], "…", id="one segment"),
        pytest.param(TOKEN[:20], "…", id="a JWT cut off"),
        pytest.param("Authorization: Bearer s3cr3t", "Authorization: …", id="an opaque token in a header"),
        pytest.param("bearer\ts3cr3t!", "…", id="scheme in small letters"),
        pytest.param("BEARER  s3cr3t x", "… x", id="scheme in capitals"),
        pytest.param("invalid bearer token; x", "invalid bearer token; x", id="a text of the API server"),
        pytest.param("Bearer token-1", "…", id="a token with that word"),
        pytest.param("token_expired", "token_expired", id="a reason"),
        pytest.param("eyJ", "eyJ", id="too short for a token"),
        pytest.param("the bearer", "the bearer", id="a word"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_what_looks_like_a_token_is_masked(text: str, shown: str) -> None:
    """A whole token or a part of one."""
    assert masked(text) == shown


def test_known_secrets_are_masked_in_any_form() -> None:
    """An empty one masks nothing."""
    assert masked("a s3cr3t, twice s3cr3t, and hunter2", "s3cr3t", "hunter2", "") == "a …, twice …, and …"


def test_a_text_is_shortened_after_it_is_masked() -> None:
    """Else a cut token might no longer look like one."""
    text = masked("x" * 8190 + " " + TOKEN + "y" * 100_000)

    assert len(text) == 8192
    assert text.endswith("x …")


def test_a_traceback_has_locations_and_types_but_no_secret() -> None:
    """Also of the exception that caused it."""
    try:
        try:
            raise KeyError("s3cr3t")
        except KeyError as cause:
            raise ValueError(f"no such thing: {TOKEN}") from cause
    except ValueError as error:
        text = traceback_of(error, "s3cr3t")

    assert "KeyError" in text
    assert "ValueError: no such thing: …" in text
    assert "test_log.py" in text
    assert not any(secret in text for secret in (*PARTS, "'s3cr3t'"))


def test_a_transition_is_reported_once() -> None:
    """For each subject. None is a state, too."""
    transitions = Transitions()
    states = [("a", "down"), ("a", "down"), ("b", "down"), ("a", None), ("a", None), ("a", "down")]

    assert [transitions.changed(*state) for state in states] == [True, False, True, True, False, True]


def test_the_first_state_is_a_transition() -> None:
    """Even None."""
    assert Transitions().changed("a", None)
