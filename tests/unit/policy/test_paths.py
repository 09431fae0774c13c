"""Plain paths, which all servers read the same way, and ambiguous ones."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authgate.policy.paths import MAX_LENGTH, is_plain, plain_host, plain_path, readings

PLAIN = {
    "/": "/",
    "/a/b": "/a/b",
    "/a/": "/a/",
    "/%41": "/A",
    "/%7Euser": "/~user",
    "/a%20b": "/a b",
    "/%c3%a4": "/ä",
    "/%E2%80%A6": "/…",
    "/%22%3Cx%3E": '/"<x>',
    "/a.b/..c/d../...": "/a.b/..c/d../...",
    "/.well-known": "/.well-known",
    "/a|b": "/a|b",
    "/@:!$&'()*+,=-._~": "/@:!$&'()*+,=-._~",
}


@pytest.mark.parametrize(("path", "plain"), PLAIN.items(), ids=PLAIN)
def test_a_path_is_read_without_escapes(path: str, plain: str) -> None:
    """A character and its escape are the same path."""
    assert plain_path(path) == plain


AMBIGUOUS = [
    *("", "a", "*", "http://a/b", "?x"),
    *("//", "/a//b", "//a", "/a//", "/a/%2f", "/a%2Fb", "/a%2f%2e%2e%2fb"),
    *("/.", "/..", "/a/.", "/a/..", "/a/../b", "/a/./b", "/%2e", "/%2E%2e/b", "/a/.%2e/b", "/a/%2e./b"),
    *("/a\\b", "/a%5cb", "/..\\b", "/a%5C..%5Cb"),
    *("/a;b", "/a;", "/a;x=1/b", "/..;/b", "/a%3bb", "/a%3B/b"),
    *("/a%", "/a%2", "/a%zz", "/a%u002f", "/%%41", "/a%25", "/a%252fb", "/a%2541"),
    *("/a%00", "/a%00.png", "/a%0a", "/a%0d%0a", "/a%7f", "/a%1b", "/a\x00", "/a\n", "/a\t", "/a b", "/ "),
    *("/a?b", "/a%3fb", "/a#b", "/a%23b"),
    *("/%c0%af", "/%c0%ae%c0%ae/b", "/%e0%80%af", "/%f0%80%80%af", "/%c1%9c"),
    *("/%ff", "/%c3", "/%c3%28", "/%e2%82", "/%ed%a0%80", "/%f8%88%80%80%80", "/%80"),
    *("/ä", "/\xc3\xa4", "/\u2215", "/a\xa0b"),
    *(
        "/%ef%bc%8f",
        "/%ef%bc%8e%ef%bc%8e/b",
        "/%e2%80%a5/b",
        "/%ef%bc%9b",
        "/%ef%bc%85",
    ),
    *("/%c2%a0", "/%e2%80%ae", "/%e2%80%8b", "/%c2%85", "/%e2%80%a8"),
]


@pytest.mark.parametrize("path", AMBIGUOUS, ids=ascii)
def test_an_ambiguous_path_is_not_plain(path: str) -> None:
    """It is rejected instead of being repaired."""
    assert plain_path(path) is None
    assert not is_plain(path)


RAW = {
    "an escaped slash": ("/a%2fb", "/a%2Fb", "/a/b"),
    "empty segments": ("/a//b/", "/a//b/", "/a/b/"),
    "a backslash": ("/a\\b", "/a\\b", "/a/b"),
    "an escaped backslash": ("/a%5cb", "/a%5Cb", "/a/b"),
    "parameters": ("/a;v=1/b;x", "/a;v=1/b;x", "/a/b"),
    "an escaped semicolon": ("/a%3bx/b", "/a%3Bx/b", "/a/b"),
    "twice escaped": ("/a%252fb", "/a%252fb", "/a/b"),
    "unreserved": ("/%61%2Fb", "/a%2Fb", "/a/b"),
    "not UTF-8": ("/a%ff", "/a%FF", "/a\ufffd"),
    "a stray percent sign": ("/100%", "/100%", "/100%"),
    "a plain one": ("/a/b", "/a/b", "/a/b"),
    "root": ("//", "//", "/"),
}


@pytest.mark.parametrize(("path", "written", "eager"), RAW.values(), ids=RAW.keys())
def test_an_ambiguous_path_has_two_readings(path: str, written: str, eager: str) -> None:
    """As written, and fully decoded, merged and stripped, as at least one server would."""
    assert readings(path) == (written, eager)


UNSAFE = [
    *("/a/..", "/a/../b", "/./a", "/a/%2e%2e/b", "/a/%252e%252e/b", "/a%2f..%2fb", "/a\\..\\b", "/a/..;/b"),
    *("/a/..%3bx/b", "/a/.%5cb", "/%ef%bc%8e%ef%bc%8e/b", "/%c0%ae%c0%ae/b", "/%c0%af", "/%e0%80%ae/b"),
    *("/a%00", "/a%2500", "/a%0a", "/a\n", "/a\x7f", "/a b", "/ä", "", "a", "/%25252525252525252e"),
]


@pytest.mark.parametrize("path", UNSAFE, ids=ascii)
def test_dot_segments_and_control_characters_have_no_reading(path: str) -> None:
    """However they are escaped, no rule can match them."""
    assert readings(path) is None


def test_a_long_path_is_not_read() -> None:
    """Proxies reject it, and reading it would take time."""
    longest = "/" + "a" * (MAX_LENGTH - 1)
    assert plain_path(longest) == longest
    assert plain_path(longest + "a") is None
    assert readings(longest[:-2] + "//") is not None
    assert readings(longest + ";") is None


@given(
    st.text(
        alphabet=st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Cf", "Co", "Cn"]), max_size=30
    )
)
def test_reading_reverses_escaping(text: str) -> None:
    """An escaped plain path is read as that path, and reading it again changes nothing."""
    plain = plain_path("/" + quote(text))
    if plain is not None:
        assert plain == "/" + text
        assert plain_path(quote(plain)) == plain


@given(st.text(alphabet="/.%25eEfFcC0a;\\?#\x00ä|x ", max_size=20))
def test_any_text_can_be_read(text: str) -> None:
    """No path raises an error, and a plain path has no segment that a server would resolve, merge or strip."""
    plain, both = plain_path("/" + text), readings("/" + text)
    for path in (plain, both[1] if both else None):
        if path is not None:
            assert not {".", ".."} & set(path.split("/"))
            assert not {"//", "\\"} & {path[at : at + size] for at in range(len(path)) for size in (1, 2)}
            assert path.isprintable()


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        *(
            ("app.example", "app.example"),
            ("APP.Example:8080", "app.example"),
            ("app.example.", "app.example"),
        ),
        *(("app.example.:80", "app.example"), ("[::1]:80", "[::1]"), ("[2001:DB8::1]", "[2001:db8::1]")),
        *(("192.0.2.1", "192.0.2.1"), ("a_b", "a_b"), ("app:", "app")),
        *(
            (value, None)
            for value in ("", ":80", "a b", "a,b", "user@app", "app/x", "app:80:80", "-a", "ä", "a%2eb")
        ),
    ],
    ids=ascii,
)
def test_a_host_is_read_in_lower_case_without_its_port(host: str, plain: str | None) -> None:
    """An invalid host is None."""
    assert plain_host(host) == plain
