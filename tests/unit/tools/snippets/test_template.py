from __future__ import annotations

import pytest

from authgate.tools.snippets.template import Value, render

VALUES: dict[str, Value] = {
    "name": "ada",
    "yes": True,
    "no": False,
    "list": [{"key": "one"}, {"key": "two"}],
    "empty": "",
}


def rendering(*lines: str) -> str:
    """Return the lines rendered with `VALUES`; they can include the file `part`."""
    return render("\n".join(lines), VALUES, {"part": "first\n\n%% if yes\n  <<name>>\n%% end"}.__getitem__)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(["$a {<<name>>} %[b]"], "$a {ada} %[b]\n", id="a value among other languages' marks"),
        pytest.param(["%% if yes", "a", "%% else", "b", "%% end"], "a\n", id="if"),
        pytest.param(["%% if no", "a", "%% else", "b", "%% end"], "b\n", id="else"),
        pytest.param(["%% if not no", "a", "%% end"], "a\n", id="not"),
        pytest.param(["%% if empty", "a", "%% end", "b"], "b\n", id="an empty text is no"),
        pytest.param(["%% for x in list", "<<x.key>>!", "%% end"], "one!\ntwo!\n", id="for"),
        pytest.param(
            ["%% for x in list", "%% if yes", "<<x.key>>", "%% else", "%% end", "%% end"],
            "one\ntwo\n",
            id="nested",
        ),
        pytest.param(["  %% include part"], "  first\n\n    ada\n", id="an indented part"),
        pytest.param(["# %% include part"], "# first\n\n#   ada\n", id="a part as a comment"),
    ],
)
def test_lines_are_selected_and_filled(lines: list[str], expected: str) -> None:
    """Every keyword of the template language works."""
    assert rendering(*lines) == expected


def test_a_name_without_a_value_is_an_error() -> None:
    """No snippet has an empty placeholder."""
    with pytest.raises(KeyError):
        rendering("<<nobody>>")


def test_a_block_without_an_end_is_an_error() -> None:
    """The message names the line."""
    with pytest.raises(ValueError, match="line 2 has no end: %% if yes"):
        rendering("a", "%% if yes")


def test_only_lists_are_repeated() -> None:
    """A text is not used as a list of characters."""
    with pytest.raises(TypeError, match="name is not a list"):
        rendering("%% for x in name", "%% end")
