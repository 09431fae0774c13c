from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

EXAMPLE = Path(__file__).parents[3] / "deploy" / "examples" / "rules" / "tests.yaml"
CONFIG = """
cluster: {name: home, audiences: [app, other], issuers: [https://kubernetes.example]}
jwt:
- issuer: {url: https://issuer.example, audiences: [app]}
  claimMappings: {username: {claim: sub, prefix: "corp:"}, groups: {claim: groups, prefix: ""}}
  claimValidationRules: [{claim: hd, requiredValue: corp.example}]
  gate: {name: corp}
server: {proxy: nginx}
policies:
  default:
    audiences: [app]
    allow: [{issuers: [corp], groups: [staff]}, {serviceAccounts: ["prod/*"]}]
    rules:
    - {paths: [/metrics], accessReview: {nonResource: request}}
    - {paths: [/time], expression: 'now > timestamp("2026-01-01T00:00:00Z")'}
"""
CORP = {"iss": "https://issuer.example", "sub": "jane", "hd": "corp.example", "groups": ["staff"]}
ACCOUNT = {
    "iss": "https://kubernetes.example",
    "sub": "system:serviceaccount:prod:web",
    "kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "web", "uid": "u"}},
}


def write(folder: Path, *tests: dict[str, object], config: str = CONFIG, **more: object) -> Path:
    """Write a table of these tests next to a configuration."""
    (folder / "authgate.yaml").write_text(config)
    path = folder / "tests.yaml"
    numbered = [{"name": f"test {number}", **test} for number, test in enumerate(tests)]
    path.write_text(json.dumps({"config": "authgate.yaml", "tests": numbered, **more}))
    return path


def test_the_documented_example_passes(run: Run) -> None:
    """The policies decide as docs/policies.md shows."""
    result = run("policy", "test", EXAMPLE)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "16 of 16 as expected\n"


GLOBS = """
cluster: {name: home, audiences: [app], issuers: [https://kubernetes.example]}
policies:
  default:
    allow: [{users: ["gha:repo:my-org/*"]}, {groups: ["team-*"]}]
    deny: [{groups: ["fork-*"]}, {users: ["gha:*:pull_request"]}]
    shadow: {deny: [{users: ["*"]}]}
  literal:
    allow: [{users: ['gha:\\*']}]
"""


@pytest.mark.parametrize(
    ("policy", "user", "groups", "expect"),
    [
        ("default", "gha:repo:my-org/app", [], "authenticated"),
        ("default", "gha:repo:my-organisation/app", [], "not_allowed"),
        ("default", "jane", ["team-a"], "authenticated"),
        ("default", "jane", ["team-a", "fork-x"], "denied"),
        ("default", "gha:repo:my-org/app:pull_request", [], "denied"),
        ("literal", "gha:*", [], "authenticated"),
        ("literal", "gha:x", [], "not_allowed"),
    ],
)
def test_globs_decide_in_both_lists(
    run: Run, tmp_path: Path, policy: str, user: str, groups: list[str], expect: str
) -> None:
    """A star in users and groups matches any characters, in allow and in deny."""
    identity = {"user": user, "groups": groups}
    path = write(tmp_path, {"policy": policy, "identity": identity, "expect": expect}, config=GLOBS)

    result = run("policy", "test", path)

    assert (result.exit_code, result.stdout) == (0, "1 of 1 as expected\n")


JANE = {"user": "corp:jane", "groups": ["staff"], "issuer": "corp"}
EXPECTED: dict[str, dict[str, object]] = {
    "no token": {"expect": "no_credential"},
    "no token, loosely": {"expect": "deny"},
    "an identity": {"identity": JANE, "expect": "allow"},
    "an identity, closely": {"identity": JANE, "expect": "authenticated"},
    "an identity without groups": {
        "identity": {"user": "corp:jane", "issuer": "corp"},
        "expect": "not_allowed",
    },
    "another audience": {
        "identity": {"serviceAccount": "prod/web", "audiences": ["other"]},
        "expect": "audience_mismatch",
    },
    "an account": {"identity": {"serviceAccount": "prod/web"}, "expect": "allow"},
    "an account's own groups": {"identity": {"user": "corp:x", "groups": ["staff"]}, "expect": "not_allowed"},
    "claims": {"claims": CORP, "expect": "allow"},
    "claims of a ServiceAccount": {"claims": ACCOUNT, "expect": "allow"},
    "claims of a cluster whose issuer is not configured": {
        "claims": {**ACCOUNT, "iss": "https://other.example"},
        "expect": "allow",
    },
    "claims for another audience": {"claims": {**CORP, "aud": ["x"]}, "expect": "audience_mismatch"},
    "claims for an accepted audience": {"claims": {**CORP, "aud": ["x", "app"]}, "expect": "allow"},
    "claims that a rule refuses": {"claims": {**CORP, "hd": "other"}, "expect": "claim_rule_failed"},
    "claims that name nobody": {"claims": {**CORP, "sub": 5}, "expect": "identity_invalid"},
    "the cluster allows": {
        "identity": {"serviceAccount": "a/b"},
        "request": {"path": "/metrics"},
        "accessReview": "allow",
        "expect": "allow",
    },
    "the cluster refuses": {
        "identity": {"serviceAccount": "a/b"},
        "request": {"path": "/metrics"},
        "accessReview": "deny",
        "expect": "access_denied",
    },
    "later": {
        "identity": JANE,
        "request": {"path": "/time"},
        "now": "2026-01-01T00:00:01Z",
        "expect": "allow",
    },
    "earlier, by another clock": {
        "identity": JANE,
        "request": {"path": "/time"},
        "now": "2026-01-01T01:00:00+02:00",
        "expect": "not_allowed",
    },
    "an unknown path": {"identity": JANE, "request": {"path": None}, "expect": "request_unknown"},
}


@pytest.mark.parametrize("test", EXPECTED.values(), ids=EXPECTED.keys())
def test_a_decision_that_is_expected_passes(run: Run, tmp_path: Path, test: dict[str, object]) -> None:
    """The table can have the decision or its reason."""
    result = run("policy", "test", write(tmp_path, test))
    assert (result.exit_code, result.stdout) == (0, "1 of 1 as expected\n"), result.stderr


def test_another_decision_is_shown_as_a_difference(run: Run, tmp_path: Path) -> None:
    """The exit status is 1. Each failed test is shown with its name, the expected and the actual decision."""
    path = write(
        tmp_path,
        {"identity": JANE, "expect": "allow"},
        {"identity": JANE, "expect": "denied"},
        {"identity": {"user": "corp:joe"}, "expect": "allow"},
    )
    result = run("policy", "test", path)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "test 1",
        "  - denied",
        "  + authenticated",
        "test 2",
        "  - allow",
        "  + not_allowed (policy 'default')",
    ]
    assert result.stdout == "1 of 3 as expected\n"


UNDECIDED: dict[str, tuple[dict[str, object], str]] = {
    "policy": (
        {"policy": "other", "expect": "allow"},
        "no policy 'other' is configured; choose one of default",
    ),
    "issuer of the claims": (
        {"claims": {"sub": "x"}, "expect": "allow"},
        "claims.iss must be a configured issuer",
    ),
    "issuer's name": (
        {"identity": {"user": "x", "issuer": "y"}, "expect": "allow"},
        "no issuer or cluster named 'y'",
    ),
    "a path without a slash": (
        {"identity": {"user": "x"}, "request": {"path": "metrics"}, "expect": "deny"},
        "request.path must begin with a slash, but is 'metrics'",
    ),
    "what the cluster says, where a refusal is expected": (
        {"identity": {"serviceAccount": "a/b"}, "request": {"path": "/metrics"}, "expect": "deny"},
        "access_review_unavailable",
    ),
    "what the cluster says": (
        {"identity": {"serviceAccount": "a/b"}, "request": {"path": "/metrics"}, "expect": "allow"},
        "needs a SubjectAccessReview: add accessReview",
    ),
}


@pytest.mark.parametrize(("test", "words"), UNDECIDED.values(), ids=UNDECIDED.keys())
def test_a_test_that_cannot_be_decided_fails(
    run: Run, tmp_path: Path, test: dict[str, object], words: str
) -> None:
    """The message names the fields that the test needs."""
    result = run("policy", "test", write(tmp_path, test))
    assert result.exit_code == 1
    assert words in result.stderr


def test_a_program_can_read_the_result(run: Run, tmp_path: Path) -> None:
    """It has the failed tests with their reasons."""
    path = write(tmp_path, {"expect": "allow"}, {"expect": "deny"})
    result = run("policy", "test", path, "--output", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "passed": 1,
        "failed": [{"name": "test 0", "expected": "allow", "reason": "no_credential", "detail": ""}],
    }


def test_the_configuration_may_be_named(run: Run, tmp_path: Path) -> None:
    """--config takes precedence over the configuration in the table."""
    path = write(tmp_path, {"identity": {"user": "x"}, "expect": "allow"}, config="jwt: []\n")
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG.partition("policies:")[0])
    assert run("policy", "test", path).exit_code == 1
    assert run("policy", "test", path, "--config", other).exit_code == 0


BAD: dict[str, tuple[str, str]] = {
    "no tests": ("tests: []", ":1: tests: must not be empty"),
    "nothing": ("", "must be a mapping"),
    "unknown field": ("tests: [{name: a, expct: allow}]", ":1: tests[0].expct: is not a known field"),
    "expectation": ("tests: [{name: a, expect: maybe}]", "must be allow, deny or a reason code"),
    "identity and claims": (
        "tests: [{name: a, expect: allow, claims: {iss: a}, identity: {user: b}}]",
        "needs either identity or claims",
    ),
    "nobody": ("tests: [{name: a, expect: allow, identity: {}}]", "needs either user or serviceAccount"),
    "account": ("tests: [{name: a, expect: deny, identity: {serviceAccount: a}}]", "namespace/name"),
    "time": ("tests: [{name: a, expect: deny, now: tomorrow}]", "must be a date and time"),
    "no YAML": ("tests: [", "is not valid YAML"),
    "twice": ("tests: [{name: a, name: b, expect: deny}]", "is given twice"),
}


@pytest.mark.parametrize(("text", "words"), BAD.values(), ids=BAD.keys())
def test_an_invalid_table_is_rejected(run: Run, tmp_path: Path, text: str, words: str) -> None:
    """The message has the place and a remedy, and no test is run."""
    path = tmp_path / "tests.yaml"
    path.write_text(text)
    result = run("policy", "test", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr


def test_a_missing_table_is_an_error(run: Run, tmp_path: Path) -> None:
    """The message has its name."""
    result = run("policy", "test", tmp_path / "none.yaml")
    assert result.exit_code == 1
    assert "none.yaml: cannot be read" in result.stderr


def test_a_table_may_be_standard_input(run: Run, tmp_path: Path) -> None:
    """The configuration is then in a file."""
    config = tmp_path / "authgate.yaml"
    config.write_text("cluster: {audiences: [a]}\n")
    table = "tests: [{name: anybody, identity: {user: alice}, expect: allow}]"
    result = run("policy", "test", "-", "--config", config, stdin=table)
    assert (result.exit_code, result.stdout) == (0, "1 of 1 as expected\n"), result.stderr
    assert run("policy", "test", "-", "--config", "-", stdin=table).exit_code == 2


def test_results_as_junit(run: Run, tmp_path: Path) -> None:
    """A CI system can show each test with the reason of a failure."""
    config = tmp_path / "authgate.yaml"
    config.write_text("cluster: {audiences: [a]}\npolicies: {default: {allow: [{users: [alice]}]}}\n")
    tests = """tests:
    - {name: "<alice> é &", identity: {user: alice}, expect: allow}
    - {name: bob, identity: {user: bob}, expect: allow}
    """
    result = run("policy", "test", "-", "--config", config, "--output", "junit", stdin=tests)
    assert (result.exit_code, result.stderr) == (1, "")
    suites = ElementTree.fromstring(result.stdout)
    assert (suites.get("tests"), suites.get("failures")) == ("2", "1")
    alice, bob = suites.iter("testcase")
    assert (alice.get("name"), list(alice)) == ("<alice> é &", [])
    failure = bob.find("failure")
    assert failure is not None
    assert str(failure.get("message")).startswith("expected allow, but got not_allowed")
