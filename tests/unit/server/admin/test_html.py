"""Elements of HTML and their texts."""

from __future__ import annotations

from authgate.server.admin.html import element, text


def test_texts_and_attributes_are_escaped() -> None:
    """A text can neither begin an element nor end an attribute."""
    made = element("p", '<b> & "quoted"', title="'>\"<script>")
    assert made == ('<p title="&#x27;&gt;&quot;&lt;script&gt;">&lt;b&gt; &amp; &quot;quoted&quot;</p>')


def test_elements_contain_elements() -> None:
    """Only texts are escaped."""
    assert element("ul", element("li", "a"), element("li", "b")) == "<ul><li>a</li><li>b</li></ul>"


def test_void_elements_have_no_end() -> None:
    """A parser would read the end of one as an error."""
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'


def test_names_of_attributes_may_be_words_of_python() -> None:
    """A trailing underscore is removed; others are hyphens."""
    assert element("a", "x", class_="quiet", aria_label="y") == '<a class="quiet" aria-label="y">x</a>'


def test_invisible_characters_are_shown() -> None:
    """Controls could end a line, others turn the direction of the text, and half a surrogate pair has no encoding."""
    assert text("a\x00\u202eb\ud800\n") == r"a\x00\u202eb\ud800\n"
    text("\ud800").encode()


def test_long_texts_are_cut() -> None:
    """500 characters remain."""
    assert text("a" * 500) == "a" * 500
    assert text("a" * 501) == "a" * 499 + "…"
