"""Claim rules and mappings: what is refused, at the field where kube-apiserver refuses it, and what is accepted."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from authgate.config import JWTIssuerConfig
    from tests.unit.config.conftest import Load, Problems


def jwt(username: str = "{claim: sub, prefix: ''}", mappings: str = "", entry: str = "") -> str:
    """Return a file with one issuer, in block style, so that it can contain expressions."""
    return (
        "jwt:\n"
        "- issuer: {url: 'https://corp.example.com', audiences: [my-app]}\n"
        f"  claimMappings:\n    username: {username}\n{mappings}\n{entry}\n"
    )


def rules(entries: str) -> str:
    """A file with claim validation rules."""
    return jwt(entry=f"  claimValidationRules: {entries}")


def user_rules(entries: str) -> str:
    """A file with user validation rules."""
    return jwt(entry=f"  userValidationRules: {entries}")


def extra(entries: str) -> str:
    """A file with mappings of extra keys."""
    return jwt(mappings=f"    extra: {entries}")


def key(name: str) -> str:
    """A file with one extra key."""
    return extra(f"[{{key: '{name}', valueExpression: claims.a}}]")


RULES = "jwt[0].claimValidationRules"
MAPPINGS = "jwt[0].claimMappings"
USER_RULES = "jwt[0].userValidationRules"

REFUSED = {
    "rule-both": (rules("[{claim: a, expression: 'true'}]"), f"{RULES}[0]", "must not have both"),
    "rule-neither": (rules("[{}]"), f"{RULES}[0]", "needs a claim or an expression"),
    "rule-empty": (rules("[{claim: '', expression: ''}]"), f"{RULES}[0]", "needs a claim or an expression"),
    "rule-claim-message": (rules("[{claim: a, message: b}]"), f"{RULES}[0].message", "with a claim"),
    "rule-expression-value": (
        rules("[{expression: 'true', requiredValue: b}]"),
        f"{RULES}[0].requiredValue",
        "with an expression",
    ),
    "rule-claim-twice": (
        rules("[{claim: a}, {claim: a, requiredValue: b}]"),
        f"{RULES}[1].claim",
        "is given twice",
    ),
    "rule-expression-twice": (
        rules("[{expression: 'true'}, {expression: 'true', message: b}]"),
        f"{RULES}[1].expression",
        "is given twice",
    ),
    "rule-not-bool": (rules("[{expression: claims.a}]"), f"{RULES}[0].expression", "must return a bool"),
    "rule-of-user": (
        rules("[{expression: user.username == 'a'}]"),
        f"{RULES}[0].expression",
        "'user.username' is no",
    ),
    "rule-syntax": (rules("[{expression: claims.a ==}]"), f"{RULES}[0].expression", "Syntax error"),
    "rule-null": (rules("[null]"), f"{RULES}[0]", "must be a mapping"),
    "username-both": (
        jwt("{claim: sub, prefix: '', expression: claims.sub}"),
        f"{MAPPINGS}.username",
        "must not have both",
    ),
    "username-neither": (jwt("{prefix: ''}"), f"{MAPPINGS}.username", "needs a claim"),
    "username-no-prefix": (jwt("{claim: sub}"), f"{MAPPINGS}.username.prefix", "is required"),
    "username-expression-prefix": (
        jwt("{expression: claims.sub, prefix: ''}"),
        f"{MAPPINGS}.username.prefix",
        "must not be given with an expression",
    ),
    "username-expression": (
        jwt("{expression: claims.sub +}"),
        f"{MAPPINGS}.username.expression",
        "Syntax error",
    ),
    "groups-no-prefix": (
        jwt(mappings="    groups: {claim: groups}"),
        f"{MAPPINGS}.groups.prefix",
        "is required",
    ),
    "groups-both": (
        jwt(mappings="    groups: {claim: a, prefix: '', expression: claims.b}"),
        f"{MAPPINGS}.groups",
        "must not have both",
    ),
    "groups-expression": (
        jwt(mappings="    groups: {expression: nothing}"),
        f"{MAPPINGS}.groups.expression",
        "'nothing' is not a known function or variable",
    ),
    "uid-both": (
        jwt(mappings="    uid: {claim: a, expression: claims.b}"),
        f"{MAPPINGS}.uid",
        "must not have both",
    ),
    "uid-expression": (jwt(mappings="    uid: {expression: '1 +'}"), f"{MAPPINGS}.uid.expression", "Syntax"),
    "extra-no-key": (extra("[{valueExpression: claims.a}]"), f"{MAPPINGS}.extra[0].key", "is required"),
    "extra-no-expression": (
        extra("[{key: example.com/a}]"),
        f"{MAPPINGS}.extra[0].valueExpression",
        "is required",
    ),
    "extra-expression": (
        extra("[{key: example.com/a, valueExpression: '('}]"),
        f"{MAPPINGS}.extra[0].valueExpression",
        "Syntax error",
    ),
    "extra-twice": (
        extra(
            "[{key: example.com/a, valueExpression: claims.a}, {key: example.com/a, valueExpression: claims.b}]"
        ),
        f"{MAPPINGS}.extra[1].key",
        "is given twice",
    ),
    "extra-no-domain": (key("department"), f"{MAPPINGS}.extra[0].key", "a path below a domain"),
    "extra-no-path": (key("example.com/"), f"{MAPPINGS}.extra[0].key", "a path below a domain"),
    "extra-odd-domain": (key("-a.com/b"), f"{MAPPINGS}.extra[0].key", "a path below a domain"),
    "extra-odd-path": (key("example.com/a b"), f"{MAPPINGS}.extra[0].key", "a URL's path"),
    "extra-capitals": (key("example.com/A"), f"{MAPPINGS}.extra[0].key", "in lower case"),
    "extra-capital-domain": (key("Example.com/a"), f"{MAPPINGS}.extra[0].key", "in lower case"),
    "extra-reserved": (key("kubernetes.io/a"), f"{MAPPINGS}.extra[0].key", "reserved for Kubernetes"),
    "extra-reserved-below": (key("a.b.k8s.io/a"), f"{MAPPINGS}.extra[0].key", "reserved for Kubernetes"),
    "user-rule-claims": (
        user_rules("[{expression: claims.a == 'b'}]"),
        f"{USER_RULES}[0].expression",
        "'claims.a' is no",
    ),
    "user-rule-field": (
        user_rules("[{expression: user.name == 'b'}]"),
        f"{USER_RULES}[0].expression",
        "'user.name' is no",
    ),
    "user-rule-missing": (user_rules("[{message: b}]"), f"{USER_RULES}[0].expression", "is required"),
    "user-rule-twice": (
        user_rules("[{expression: 'true'}, {expression: 'true'}]"),
        f"{USER_RULES}[1].expression",
        "is given twice",
    ),
    "unverified-address": (
        jwt("{expression: claims.email}"),
        f"{MAPPINGS}.username.expression",
        "without claims.email_verified",
    ),
    "unverified-optional-address": (
        jwt("{expression: 'claims.?email.orValue(claims.sub)'}"),
        f"{MAPPINGS}.username.expression",
        "without claims.email_verified",
    ),
}


@pytest.mark.parametrize(("text", "path", "words"), REFUSED.values(), ids=REFUSED)
def test_a_rule_or_mapping_is_refused_at_its_field(
    problems: Problems, text: str, path: str, words: str
) -> None:
    """Each error is at the field that kube-apiserver names."""
    found = problems(text)

    assert list(found) == [path]
    assert words in found[path].message


TAKEN = {
    "nothing": jwt(),
    "nothing-in-null": jwt(entry="  claimValidationRules: null\n  userValidationRules: null"),
    "nothing-in-empty-texts": jwt(
        "{claim: sub, prefix: '', expression: ''}", mappings="    groups: {}\n    uid: {claim: ''}"
    ),
    "a-prefix-of-no-groups": jwt(mappings="    groups: {prefix: 'g:'}"),
    "a-claim-without-a-value": rules("[{claim: a}]"),
    "an-address-asked-for-in-the-username": jwt(
        "{expression: 'claims.?email_verified.orValue(true) == true ? claims.email : claims.sub'}"
    ),
    "an-address-asked-for-in-a-rule": jwt(
        "{expression: claims.email}",
        entry="  claimValidationRules: [{expression: claims.email_verified == true}]",
    ),
    "an-address-asked-for-in-extra": jwt(
        "{expression: claims.email}",
        mappings="    extra: [{key: example.com/a, valueExpression: string(claims.email_verified)}]",
    ),
    "an-address-by-its-index": jwt("{expression: \"claims['email']\"}"),
    "an-expression-of-several-lines": jwt("{expression: \"claims.sub\\n + '@corp'\"}"),
    "a-key-below-another-io": key("notkubernetes.io/a"),
}


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN)
def test_what_the_api_server_accepts_is_accepted(load_text: Load, text: str) -> None:
    """An empty field counts as not given. An email address can be used if its verification is checked."""
    assert len(load_text(text).config.jwt) == 1


def test_an_expression_is_shown_with_a_caret(problems: Problems) -> None:
    """The caret is under the wrong place of the line."""
    text = jwt('{expression: "claims.sub +\\n  nothing"}')

    assert problems(text)[f"{MAPPINGS}.username.expression"].message == (
        "'nothing' is not a known function or variable; the variables here are: claims\n    nothing\n    ^"
    )


def test_every_wrong_expression_is_reported_at_once(problems: Problems) -> None:
    """One run lists all of them."""
    found = problems(
        jwt("{expression: a}", entry="  userValidationRules: [{expression: b}, {expression: 'c == 1'}]")
    )

    assert list(found) == [
        f"{MAPPINGS}.username.expression",
        f"{USER_RULES}[0].expression",
        f"{USER_RULES}[1].expression",
    ]


def test_an_overlong_expression_is_refused(problems: Problems) -> None:
    """An expression's cost is bounded by its length."""
    text = jwt(f"{{expression: \"'{'a' * 10_000}'\"}}")

    assert "longer than 10000 characters" in problems(text)[f"{MAPPINGS}.username.expression"].message


def test_rules_and_mappings_arrive_as_values(load_text: Load) -> None:
    """The models have the texts of the file."""
    item: JWTIssuerConfig = load_text(
        jwt(
            "{expression: claims.sub}",
            mappings="    extra: [{key: example.com/a, valueExpression: claims.a}]",
            entry="  claimValidationRules: [{expression: claims.b == 'c', message: d}, {claim: e}]\n"
            "  userValidationRules: [{expression: user.uid == ''}]",
        )
    ).config.jwt[0]

    assert item.claim_mappings.username.expression == "claims.sub"
    assert [(entry.key, entry.value_expression) for entry in item.claim_mappings.extra] == [
        ("example.com/a", "claims.a")
    ]
    assert [(rule.claim, rule.expression, rule.message) for rule in item.claim_validation_rules] == [
        (None, "claims.b == 'c'", "d"),
        ("e", None, None),
    ]
    assert [rule.expression for rule in item.user_validation_rules] == ["user.uid == ''"]


def test_without_the_extra_an_expression_is_refused_with_the_command_to_type(tmp_path: Path) -> None:
    """Missing packages are reported at load, at the expression."""
    file = tmp_path / "authgate.yaml"
    file.write_text(jwt("{expression: claims.sub}"))
    program = (
        "import sys\nsys.modules['cel_expr_python'] = None\n"
        "from pathlib import Path\nfrom authgate.config import ConfigError, load\n"
        "try:\n    load(Path(sys.argv[1]), {})\nexcept ConfigError as error:\n    print(error)\n"
    )

    printed = subprocess.run(
        [sys.executable, "-c", program, file], capture_output=True, text=True, check=True, timeout=60
    ).stdout

    assert printed.startswith(f"{MAPPINGS}.username.expression (line 4): expressions need the extra 'cel'")
    assert "pip install '.[cel]'" in printed
