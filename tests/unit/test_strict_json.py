"""JSON objects that issuers may send, and texts that are rejected."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authgate.model import JSONValue
from authgate.strict_json import StrictJSONError, parse_object, string_member

DEEPEST = b'{"a":' + b"[" * 31 + b"]" * 31 + b"}"
TOO_DEEP = b'{"a":' + b"[" * 32 + b"]" * 32 + b"}"

MEMBERS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param(b"{}", {}, id="empty object"),
        pytest.param(b' \t\r\n{"a": 1}\n', {"a": 1}, id="white space around"),
        pytest.param(b'{"a":true,"b":null}', {"a": True, "b": None}, id="constants"),
        pytest.param(b'{"a":-1.5e3}', {"a": -1500.0}, id="a double"),
        pytest.param(b'{"a":9223372036854775807}', {"a": 2**63 - 1}, id="the greatest 64-bit integer"),
        pytest.param(b'{"a":-9223372036854775808}', {"a": -(2**63)}, id="the least 64-bit integer"),
        pytest.param(b'{"a":' + b"9" * 300 + b"}", {"a": 1e300}, id="a huge integer as a double"),
        pytest.param(b'{"":1}', {"": 1}, id="empty member name"),
        pytest.param('{"ä":"☃"}'.encode(), {"ä": "☃"}, id="UTF-8"),
        pytest.param(rb'{"a":"\ud83d\ude00"}', {"a": "😀"}, id="surrogate pair"),
        pytest.param(rb'{"a":"\ud800"}', {"a": "\ud800"}, id="lone surrogate, left to the claims"),
        pytest.param(b'{"a":{"a":{"a":1}},"A":2}', {"a": {"a": {"a": 1}}, "A": 2}, id="equal names apart"),
        pytest.param(DEEPEST, json.loads(DEEPEST), id="as deep as allowed"),
        pytest.param(b'{"a":"' + b"[{" * 100 + b'"}', {"a": "[{" * 100}, id="brackets in a string"),
        pytest.param(b'{"a":"\\"' + b"[" * 99 + b'"}', {"a": '"' + "[" * 99}, id="brackets after a quote"),
        pytest.param(b'{"a":"\\\\","b":"' + b"[" * 99 + b'"}', {"a": "\\", "b": "[" * 99}, id="backslash"),
        pytest.param(b'{"a":[' + b"[]," * 99 + b"[]]}", {"a": [[]] * 100}, id="many, not deep"),
    ],
)
def test_an_object_is_parsed(text: bytes, value: JSONValue) -> None:
    """Valid RFC 8259 syntax gives the same value as in other parsers."""
    assert parse_object(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"", "not JSON", id="nothing"),
        pytest.param(b"{", "not JSON", id="cut off"),
        pytest.param(b"{}{}", "not JSON", id="two objects"),
        pytest.param(b"{} x", "not JSON", id="text behind"),
        pytest.param(b'{"a":1}}', "not JSON", id="one brace too many"),
        pytest.param(b'{"a":1} {"b":2}', "not JSON", id="two objects apart"),
        pytest.param(b'{"a":1,}', "not JSON", id="trailing comma"),
        pytest.param(b"{'a':1}", "not JSON", id="single quotes"),
        pytest.param(b"{a:1}", "not JSON", id="bare name"),
        pytest.param(b'{"a":01}', "not JSON", id="leading zero"),
        pytest.param(b'{"a":+1}', "not JSON", id="plus sign"),
        pytest.param(b'{"a":0x1}', "not JSON", id="hexadecimal"),
        pytest.param(b'{"a":"\n"}', "not JSON", id="newline in a string"),
        pytest.param(b'{"a":"\x00"}', "not JSON", id="NUL in a string"),
        pytest.param(rb'{"a":"\x41"}', "not JSON", id="unknown escape"),
        pytest.param(b'{"a":1}/**/', "not JSON", id="comment"),
        pytest.param(b"\x00{}", "not JSON", id="NUL before"),
        pytest.param("\u00a0{}".encode(), "not JSON", id="no-break space before"),
        pytest.param(b"\xef\xbb\xbf{}", "not JSON", id="byte order mark"),
        pytest.param('{"a":1}'.encode("utf-16"), "not UTF-8", id="UTF-16"),
        pytest.param(b'{"a":"\xff"}', "not UTF-8", id="broken UTF-8"),
        pytest.param(b'{"a":"\xc0\xaf"}', "not UTF-8", id="overlong UTF-8"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', "not UTF-8", id="surrogate in UTF-8"),
        pytest.param(b"[]", "not a JSON object", id="array"),
        pytest.param(b'"a"', "not a JSON object", id="string"),
        pytest.param(b"1", "not a JSON object", id="number"),
        pytest.param(b"null", "not a JSON object", id="null"),
        pytest.param(b'{"a":NaN}', "not finite", id="NaN"),
        pytest.param(b'{"a":Infinity}', "not finite", id="Infinity"),
        pytest.param(b'{"a":-Infinity}', "not finite", id="minus Infinity"),
        pytest.param(b'{"a":1e999}', "out of range", id="a double that overflows"),
        pytest.param(b'{"a":-1e999}', "out of range", id="one that overflows downwards"),
        pytest.param(b'{"a":' + b"9" * 400 + b"}", "out of range", id="an integer that overflows"),
        pytest.param(b'{"a":' + b"9" * 16_000 + b"}", "out of range", id="an integer of 16,000 digits"),
    ],
)
def test_anything_else_is_rejected(text: bytes, message: str) -> None:
    """This covers bad syntax, bad encodings, invalid numbers, and values that are not objects."""
    with pytest.raises(StrictJSONError, match=message) as caught:
        parse_object(text)
    assert not caught.value.duplicate


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'{"a":1,"a":1}', id="top level, equal values"),
        pytest.param(b'{"a":{"b":1,"b":2}}', id="in an object"),
        pytest.param(b'{"a":[[{"b":1,"c":0,"b":2}]]}', id="in an array"),
        pytest.param(rb'{"a":1,"\u0061":2}', id="one of them escaped"),
        pytest.param(b'{"":1,"":2}', id="empty names"),
        pytest.param(rb'{"a\/b":1,"a/b":2}', id="one with an escaped slash"),
    ],
)
def test_a_repeated_member_is_rejected_with_its_own_reason(text: bytes) -> None:
    """RFC 7519, section 4. Otherwise readers could choose different members."""
    with pytest.raises(StrictJSONError, match="twice") as caught:
        parse_object(text)
    assert caught.value.duplicate


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TOO_DEEP, id="one too deep"),
        pytest.param(b"[" * 100_000, id="100,000 arrays, none closed"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="100,000 arrays"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="100,000 objects"),
        pytest.param(b'{"a":"\\"","b":' + b"[" * 40 + b"]" * 40 + b"}", id="behind an escaped quote"),
        pytest.param(b'{"a":"\\\\","b":' + b"[" * 40 + b"]" * 40 + b"}", id="behind an escaped backslash"),
        pytest.param(b"[]" * 10 + b"[" * 33, id="behind closed ones"),
    ],
)
def test_nesting_is_limited_before_parsing(text: bytes) -> None:
    """The depth is counted without recursion, so no text exhausts the stack."""
    with pytest.raises(StrictJSONError, match="nested deeper than 32"):
        parse_object(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"[" * 33 + b'"' + b'\\"' * 300_000, id="escaped quotes"),
        pytest.param(b"[" * 33 + b'"' + b"a" * 600_000, id="letters"),
        pytest.param(b"[" * 33 + b'"' + b"\\\n" * 300_000, id="escaped newlines"),
        pytest.param(b"[" * 33 + b'"' + b"\\" * 599_999, id="backslashes"),
    ],
)
def test_an_unterminated_string_is_read_once(text: bytes) -> None:
    """The scan for brackets is linear. A quadratic scan would take minutes for these texts."""
    with pytest.raises(StrictJSONError):
        parse_object(text)


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,\\1eE+-.ntu ', max_size=60).map(str.encode))
def test_any_bytes_give_an_object_or_a_strict_error(data: bytes) -> None:
    """Only `StrictJSONError` is raised, and numbers are finite."""
    try:
        value = parse_object(data)
    except StrictJSONError:
        return
    assert all(math.isfinite(number) for number in value.values() if isinstance(number, float))


@given(st.dictionaries(st.text(), MEMBERS, max_size=5))
def test_objects_written_by_json_are_read_back(value: dict[str, JSONValue]) -> None:
    """Every shallow object is equal afterwards, in ASCII and in UTF-8."""
    assert parse_object(json.dumps(value).encode()) == value
    assert parse_object(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(("members", "text"), [({"a": "b"}, "b"), ({"a": None}, ""), ({}, "")])
def test_a_string_member_may_be_missing(members: dict[str, JSONValue], text: str) -> None:
    """Null and missing are the same, as in Go."""
    assert string_member(members, "a") == text


def test_a_string_member_of_another_type_is_an_error() -> None:
    """The message names the member."""
    with pytest.raises(StrictJSONError, match=r"^a is not a string$"):
        string_member({"a": 1}, "a")
