"""Conversions of strings accept what Go accepts, as observed with a kube-apiserver."""

from __future__ import annotations

import pytest

from authgate.expressions import Expects, Failed, Sees, Variables, compile_expression

WHITE_SPACE = (" {}", "{} ", "\t{}", "\n{}", "{}\n", "\v{}", "\f{}", "\r{}", "\u00a0{}", "\u2003{}")


def converted(expression: str, value: object) -> object:
    """The value of an expression over the claim `x`."""
    variables = Variables(claims={"x": value})  # type: ignore[dict-item] # every value here is one of JSON
    return compile_expression(expression, Sees.CLAIMS, Expects.ANY).evaluate(variables)


SAMPLES = {
    "int(claims.x)": "42",
    "uint(claims.x)": "42",
    "double(claims.x)": "1.5",
    "bool(claims.x)": "true",
    "duration(claims.x).getSeconds()": "1s",
    "int(timestamp(claims.x))": "2020-01-01T00:00:00Z",
    "int(string(claims.x))": "42",
}


@pytest.mark.parametrize("white", WHITE_SPACE, ids=ascii)
@pytest.mark.parametrize(("expression", "sample"), SAMPLES.items(), ids=SAMPLES)
def test_white_space_is_rejected(expression: str, sample: str, white: str) -> None:
    """A value is converted, but not with white space of any kind around it."""
    assert not isinstance(converted(expression, sample), Failed)
    assert isinstance(converted(expression, white.format(sample)), Failed)


TAKEN: dict[tuple[str, str], object] = {
    ("int", "+42"): 42,
    ("int", "-0"): 0,
    ("int", "007"): 7,
    ("int", "0" * 5000 + "1"): 1,
    ("int", "-9223372036854775808"): -(2**63),
    ("uint", "18446744073709551615"): 2**64 - 1,
    ("double", "1e3"): 1000.0,
    ("double", ".5"): 0.5,
    ("double", "1_000.5"): 1000.5,
    ("double", "0x1.8p1"): 3.0,
    ("double", "1e-400"): 0.0,
    ("bool", "T"): True,
    ("bool", "TRUE"): True,
    ("bool", "0"): False,
}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [(kind, text, value) for (kind, text), value in TAKEN.items()],
    ids=[f"{kind} {text[:30]}" for kind, text in TAKEN],
)
def test_what_go_accepts_is_accepted(kind: str, text: str, value: object) -> None:
    """Even if the CEL library would reject it."""
    assert converted(f"{kind}(claims.x)", text) == value


REFUSED = (
    *(("int", text) for text in ("", "-", "+", "--1", "0x10", "1e3", "1.0", "1_0", "٤٢", "9223372036854775808")),
    *(("uint", text) for text in ("+42", "-0", "-1", "18446744073709551616", "1_0")),
    *(("double", text) for text in ("", ".", "1e", "0x10", "inf", "-Infinity", "nan", "nan(1)", "1e400", "1__0", "_1")),
    *(("bool", text) for text in ("tRUE", "yes", "on", "", "2", "y")),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), REFUSED)
def test_what_go_rejects_is_rejected(kind: str, text: str) -> None:
    """The evaluation fails."""
    assert isinstance(converted(f"{kind}(claims.x)", text), Failed)


@pytest.mark.parametrize("kind", ["int", "uint", "double", "bool", "duration", "timestamp"])
def test_a_long_string_is_rejected_without_converting_it(kind: str) -> None:
    """The time of a conversion is bounded by the length of the string."""
    found = converted(f"type({kind}(claims.x)) == string", "9" * 100_000 + "x")

    assert isinstance(found, Failed)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1s", 1000),
        ("1.5h", 5_400_000),
        ("-1.5s", -1500),
        ("1m1ms", 60_001),
        ("0", 0),
        ("1h1h", 7_200_000),
        ("1000\u00b5s", 1),
        ("1999us", 1),
        ("-9223372036854775808ns", -9_223_372_036_854),
    ],
)
def test_durations_are_parsed_like_in_go(text: str, milliseconds: int) -> None:
    """`getMilliseconds` returns the whole duration, not only the part within a second."""
    assert converted("duration(claims.x).getMilliseconds()", text) == milliseconds
    assert converted("dyn(duration(claims.x)).getMilliseconds()", text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "s",
        ".s",
        "1d",
        "1H",
        "1e3s",
        "1 s",
        "--1s",
        "1h-1m",
        "9223372037s",
        "2562047h48m",
        "٣s",
        "1s1",
    ],
)
def test_other_durations_are_rejected(text: str) -> None:
    """Including those of more than 2^63 nanoseconds."""
    assert isinstance(converted("duration(claims.x).getSeconds()", text), Failed)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:30:00+01:30", 0),
        ("1970-01-01T1:00:00,5Z", 3600),
        ("2000-02-29T00:00:00.123456789123Z", 951_782_400),
        ("0000-12-31T23:59:59-00:01", -62_135_596_741),
        ("9999-12-31T23:59:59.999999999Z", 253_402_300_799),
    ],
)
def test_timestamps_are_parsed_like_in_go(text: str, seconds: int) -> None:
    """RFC 3339 and a little more, in the years 1 to 9999."""
    assert converted("int(timestamp(claims.x))", text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "2020-1-1T00:00:00Z",
        "2020-01-01t00:00:00Z",
        "2020-01-01T00:00:00z",
        "2020-01-01 00:00:00Z",
        "2020-01-01T00:00:00",
        "2020-01-01T00:00:00+0100",
        "2020-01-01T23:59:60Z",
        "1900-02-29T00:00:00Z",
        "2020-01-01T00:00:00+25:00",
        "10000-01-01T00:00:00+00:01",
        "0001-01-01T00:00:00+00:01",
        "\u0662020-01-01T00:00:00Z",
    ],
)
def test_other_timestamps_are_rejected(text: str) -> None:
    """Such as a leap second, an invalid day or lower-case letters."""
    assert isinstance(converted("int(timestamp(claims.x))", text), Failed)


NULS: dict[str, object] = {
    "claims.x == 'admin'": "admin\0x",
    "claims.x.a == 1": {"a\0b": 1},
    "has(claims.x.a)": {"a\0b": 1},
    "claims.x.startsWith('admin')": "admin\0",
    "claims.x.find('.*') == 'admin'": "admin\0x",
    "'a' in claims.x": ["a\0"],
    "int(claims.x) == 42": "42\0",
    "claims.iss == 'a' || true": "\0",
}


@pytest.mark.parametrize(("expression", "value"), NULS.items(), ids=NULS)
def test_a_string_with_a_nul_character_fails(expression: str, value: object) -> None:
    """The library would truncate it there, and confuse one user with another."""
    found = converted(expression, value)

    assert found == Failed("a string that it could read has a NUL character")


def test_a_nul_character_in_an_unused_variable_does_not_matter() -> None:
    """An expression that uses other variables is evaluated."""
    found = compile_expression("now == now", Sees.CLAIMS | Sees.NOW, Expects.BOOL)

    assert found.holds(Variables(claims={"x": "a\0"}, now=1_700_000_000.0)) is True
