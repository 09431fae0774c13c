"""Lookalikes of cookies and parameters, compared with real parsers."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from time import process_time
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authgate.credential.lookalikes import COOKIE_SEPARATORS, URI_SEPARATORS, Lookalikes, lookalike_field

COOKIE = Lookalikes([b"at", b"user.token"], COOKIE_SEPARATORS)
URI = Lookalikes([b"at"], URI_SEPARATORS)

EVERYWHERE = {
    "case": b"AT=E",
    "a space before it": b"x=1 at=E",
    "a tab before it": b"x=1\tat=E",
    "a vertical tab before it": b"x=1\x0bat=E",
    "a comma": b"x=1,at=E",
    "a comma and a space": b"x=1, at=E",
    "a double quote": b'x="1"at=E',
    "a name in quotes": b'"at"=E',
    "an apostrophe": b"x='1'at=E",
    "a backslash": b"x=1\\at=E",
    "a semicolon": b"x=1;at=E",
    "an empty name before it": b"=at=E",
    "a space behind it": b"at =E",
    "a control character behind it": b"at\x01=E",
    "a control character in it": b"a\x01t=E",
    "NUL behind it": b"at\x00x=E",
    "a line break": b"x=1\nat=E",
    "a dollar": b"$at=E",
    "percent-encoded": b"%61t=E",
    "percent-encoded in capitals": b"%41%54=E",
    "percent-encoded twice": b"%2561t=E",
    "percent-encoded three times": b"%252561t=E",
    "percent-encoded too often": b"%25252525252561t=E",
    "an escape of UTF-16": b"%u0061t=E",
    "an escape of another width": b"%uFF41t=E",
    "an escaped space before it": b"%20at=E",
    "an escaped space behind it": b"at%20=E",
    "a plus before it": b"+at=E",
    "an escaped NUL behind it": b"at%00=E",
    "an escaped semicolon": b"x=1%3Bat=E",
    "an escaped comma": b"x=1%2Cat=E",
    "an escaped equals sign": b"at%3D=E",
    "an index": b"at[]=E",
    "an index with a number": b"at[0]=E",
    "an escaped index": b"at%5B%5D=E",
    "an open index": b"at[=E",
    "brackets around it": b"[at]=E",
    "a no-break space": b"x=1\xa0at=E",
    "a no-break space in UTF-8": b"x=1\xc2\xa0at=E",
    "a next-line character": b"\x85at=E",
    "a byte-order mark": b"\xef\xbb\xbfat=E",
    "other widths": "\uff41\uff54=E".encode(),
    "a soft hyphen": "a\u00adt=E".encode(),
}


@pytest.mark.parametrize("pair", EVERYWHERE.values(), ids=EVERYWHERE)
def test_a_lookalike_of_a_name_is_found(pair: bytes) -> None:
    """In a cookie and in a URI."""
    assert COOKIE.found_in([b"a=1", pair])
    assert URI.found_in([b"a=1", pair])


URIS = {
    "an ampersand": b"x=1&at=E",
    "an escaped ampersand": b"x=1%26at=E",
    "a question mark": b"x=1?at=E",
    "an escaped question mark": b"/x%3Fat=E",
    "a fragment": b"x=1#at=E",
    "a path parameter": b"/x;at=E",
    "a member": b"at.x=E",
}


@pytest.mark.parametrize("text", URIS.values(), ids=URIS)
def test_a_lookalike_of_a_parameter_is_found(text: bytes) -> None:
    """A question mark, hash or dot is special in a URI but not in a cookie (Koa sends `at.sig`)."""
    assert URI.found_in([text])
    assert not COOKIE.found_in([text]) or b";" in text


@pytest.mark.parametrize(
    "begin", [b"at[", b"%41t[", b"at.", b"at%5B", b"at%255b", b"x=1;at[", b"x=1,at[", b"at[,"]
)
def test_an_index_may_contain_an_ampersand(begin: bytes) -> None:
    """A parser that ends parameters only at a semicolon or comma reads `at[&x=1` as a value of `at`."""
    assert URI.found_in([begin, b"x=1"])
    assert not URI.found_in([begin])
    assert not URI.found_in([begin.replace(b"at", b"cat").replace(b"%41t", b"c%41t"), b"x=1"])


def test_an_index_may_contain_a_separator() -> None:
    """A parser that ends parameters only at a semicolon reads a value of `at` here."""
    assert URI.found_in([b"x=1;at[,y=2"])


@pytest.mark.parametrize(
    "name", [b"user_token", b"user.token", b"USER%2Etoken", b"user+token", b"user%20token", b"user[token"]
)
def test_names_that_php_treats_as_equal_are_found(name: bytes) -> None:
    """PHP replaces dots, spaces and open brackets with underscores."""
    assert COOKIE.found_in([name + b"=E"])


BENIGN = {
    "no value": b"at",
    "part of a name": b"cat=1",
    "part of a name, with a dash": b"x-at=1",
    "part of a name, with an underscore": b"x_at=1",
    "the beginning of a name": b"attribute=1",
    "a prefix of browsers": b"__Host-at=1",
    "a value that is the name": b"x=at",
    "base64": b"sid=YXQ==",
    "an escaped URL": b"next=%2Fa%3Fb%3D1%26at%3D2",
    "escaped JSON": b"prefs=%7B%22theme%22%3A%22dark%22%7D",
    "a long value": b"x=" + b"a" * 4000,
    "analytics": b"_ga=GA1.2.1234567890.1700000000",
    "a signed session": b"s=eyJhIjoxfQ.ZZ_1fA.abc-def_ghi",
    "a text of two words": b"x=look at this",
}


@pytest.mark.parametrize("pair", BENIGN.values(), ids=BENIGN)
def test_ordinary_names_are_not_found(pair: bytes) -> None:
    """No parser reads these as the name."""
    assert not COOKIE.found_in([pair])
    assert not URI.found_in([pair])


def test_names_are_bounded() -> None:
    """More names than any client needs count as found, because each takes time."""
    assert not COOKIE.found_in([b"x=1"] * 1000)
    assert COOKIE.found_in([b"x=1"] * 1001)
    assert not COOKIE.found_in([b"%%C3%%A4%d=1" % n for n in range(32)])
    assert COOKIE.found_in([b"%%C3%%A4%d=1" % n for n in range(33)])
    assert COOKIE.found_in([b"%" * 60_000 + b" at=1"])


def test_a_table_of_many_columns_passes() -> None:
    """jQuery encodes the brackets of each parameter, and DataTables sends six parameters per column."""
    members = ["data", "name", "searchable", "orderable", "search%5D%5Bvalue", "search%5D%5Bregex"]
    table = [f"columns%5B{column}%5D%5B{member}%5D=x".encode() for column in range(40) for member in members]
    assert not URI.found_in(table)
    assert URI.found_in([*table, b"at%5B0%5D=E"])
    assert URI.found_in([*table, b"%61t=E"])


def test_the_longest_head_takes_little_time() -> None:
    """60 KB of the worst known input take about 10 ms; a quadratic search would take minutes."""
    worst = [
        b"%25" * 20_000 + b"=1",
        b"at" * 30_000,
        b"at=" * 20_000,
        b"\xef\xbd\x81" * 20_000 + b"=",
        b" " * 60_000 + b"=",
    ]
    for text in worst:
        started = process_time()
        COOKIE.found_in([text])
        URI.found_in([b"%41" + text] * 32)
        assert process_time() - started < 30  # of this process alone, whatever else the processor does


_PIECES = st.sampled_from(
    [*'=;,& \t"\\$[]?+1xx==', "at", "at", "AT", "[]", "%61", "%41t", "%20", "%3D", "%3B"]
)
_TEXTS = st.lists(_PIECES, max_size=14).map("".join)


@settings(max_examples=2000, deadline=None)
@given(_TEXTS)
def test_every_cookie_that_python_reads_is_found(text: str) -> None:
    """If http.cookies reads one of our names in a pair, in any case, the pair is found."""
    jar: SimpleCookie = SimpleCookie()
    pair = text.replace(";", "")
    try:
        jar.load(pair)
    except CookieError:
        return
    if any(name.lower() == "at" for name, morsel in jar.items() if morsel.value):
        assert COOKIE.found_in([pair.encode()])


@settings(max_examples=2000, deadline=None)
@given(_TEXTS, st.sampled_from(["&", ";", ","]))
def test_every_parameter_that_python_reads_is_found(text: str, separator: str) -> None:
    """The same for urllib, with any separator and with names that are decoded once more."""
    pairs = [pair.encode() for pair in text.split("&")]
    for name, value in parse_qsl(text, separator=separator):
        for decoded in (name, *(again for again, _ in parse_qsl(f"{name}=1"))):
            if value and decoded.strip().lower().partition("[")[0] == "at":
                assert URI.found_in(pairs)


@pytest.mark.parametrize("field", [b"X_Token", b"x_token", b"X.TOKEN", b"x\xc3token", b"X Token"])
def test_a_header_with_the_same_cgi_variable_is_a_lookalike(field: bytes) -> None:
    """CGI and WSGI have one variable for all of them."""
    assert lookalike_field([b"accept", field], b"x-token")


@pytest.mark.parametrize("field", [b"X-Token", b"x-token", b"XToken", b"X-Tokens", b"", b"X--Token"])
def test_the_header_itself_and_other_headers_are_not_lookalikes(field: bytes) -> None:
    """The header itself is a source; the others are other variables."""
    assert not lookalike_field([field], b"x-token")
