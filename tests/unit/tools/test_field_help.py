from __future__ import annotations

from pathlib import Path

import pytest

from authgate.config import load
from authgate.tools.field_help import (
    EXAMPLES,
    UnknownFieldError,
    all_fields,
    current_values,
    explain_field,
)

FIELDS = tuple(all_fields())
REFERENCE = Path(__file__).parents[3] / "deploy" / "examples" / "reference.yaml"


def test_every_field_has_a_meaning_a_type_and_an_example() -> None:
    """A field without an example has fields of its own."""
    assert len(FIELDS) > 150
    for path in FIELDS:
        field = explain_field(path)
        assert field.path == path
        assert field.meaning
        assert field.type
        assert (field.example is None) == bool(field.members), path


def test_no_example_is_for_a_field_that_does_not_exist() -> None:
    """The table has only fields of the format."""
    assert [end for end in EXAMPLES if not any(f".{path}".endswith(f".{end}") for path in FIELDS)] == []


@pytest.mark.parametrize(
    ("path", "type_", "default", "variable"),
    [
        (
            "server.reloadInterval",
            "duration, such as 500ms, 30s, 5m or 1h, 0s to 1h",
            "5s",
            "AUTHGATE_SERVER__RELOAD_INTERVAL",
        ),
        ("cluster.tokenReview.mode", "one of never, fallback, always", '"fallback"', None),
        ("server.workers", "auto or integer, 1 to 64", "1", "AUTHGATE_SERVER__WORKERS"),
        ("jwt[].issuer.audiences", "list of texts", None, None),
        ("jwt[0].issuer.url", "text", None, None),
        ("jwt.issuer.url", "text", None, None),
        ("policies.web.allow", "list of mappings", "null", None),
    ],
)
def test_a_field_is_explained(path: str, type_: str, default: str | None, variable: str | None) -> None:
    """Types, defaults and variables are written as in a configuration."""
    field = explain_field(path)
    assert (field.type, field.default) == (type_, default)
    assert variable is None or field.variable == variable


def test_the_named_variable_sets_its_field() -> None:
    """The configuration reads the variables that are shown."""
    for path in ("server.reloadInterval", "cluster.tokenReview.qps", "limits.maxHeaders", "log.level"):
        field = explain_field(path)
        sources = load(REFERENCE, {str(field.variable): str(field.example)}).sources
        assert sources[path] == f"env {field.variable}"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("server.lisen", "did you mean server.listen?"),
        ("listen", "did you mean server.listen?"),
        ("jwt[0].isuer.url", "did you mean jwt[].issuer.url?"),
        ("server..listen", "is not the path of a field"),
        ("qqqqqq", "see the list"),
    ],
)
def test_an_unknown_field_gets_a_suggestion(path: str, hint: str) -> None:
    """A typo and a name without its section are recognised."""
    with pytest.raises(UnknownFieldError, match="field") as error:
        explain_field(path)
    assert hint in str(error.value)


def test_the_current_values_have_their_source(tmp_path: Path) -> None:
    """The source is a line of the file, a variable, or the default."""
    file = tmp_path / "authgate.yaml"
    file.write_text("cluster:\n  audiences: [a]\nserver:\n  admin: null\n")
    loaded = load(file, {"AUTHGATE_SERVER__LISTEN": ":80"})
    assert list(current_values(loaded, "server.admin")) == [("server.admin", None, f"file {file}", 4)]
    assert list(current_values(loaded, "server.listen")) == [
        ("server.listen", [":80"], "env AUTHGATE_SERVER__LISTEN", None)
    ]
    assert [each[2:] for each in current_values(loaded, "server.reloadInterval")] == [("default", None)]


def test_a_path_through_a_list_needs_no_index(tmp_path: Path) -> None:
    """Every entry is shown."""
    file = tmp_path / "authgate.yaml"
    issuer = "{issuer: {url: https://%s.test, audiences: [x]}, claimMappings: {username: {expression: claims.sub}}}"
    file.write_text(f"jwt: [{issuer % 'a'}, {issuer % 'b'}]\npolicies: {{web: {{}}, default: {{}}}}\n")
    loaded = load(file, {})
    for path in ("jwt.issuer.url", "jwt[].issuer.url"):
        assert [each[0] for each in current_values(loaded, path)] == [
            "jwt[0].issuer.url",
            "jwt[1].issuer.url",
        ]
    assert [each[1] for each in current_values(loaded, "jwt[1].issuer.url")] == ["https://b.test"]
    assert [each[0] for each in current_values(loaded, "policies.<name>.allow")] == [
        "policies.web.allow",
        "policies.default.allow",
    ]
