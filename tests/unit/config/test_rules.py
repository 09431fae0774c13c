"""`rules`, `shadow` and expressions of policies: what is refused at load, and rules that are never used."""

from __future__ import annotations

import pytest

from tests.unit.config.conftest import Load, Problems

CLUSTER = "cluster: {audiences: [my-app]}\n"
STAFF = "allow: [{groups: [staff]}]"


def policy(members: str, *, proxy: bool = True) -> str:
    """A file with a cluster and one policy."""
    server = "server: {proxy: nginx}\n" if proxy else ""
    return f"{CLUSTER}{server}policies: {{default: {{{members}}}}}\n"


def rules(*members: str) -> str:
    """A file with one policy of these rules."""
    return policy(f"rules: [{', '.join(f'{{{member}}}' for member in members)}]")


ONE_THING = "needs exactly one of allow (and deny), anonymous: true, accessReview or expression"
A_PATH = "must be a path such as"
RULE = "policies.default.rules[0]"
CASES = {
    "nothing": (rules("paths: [/a]"), RULE, ONE_THING),
    "two things": (rules(f"{STAFF}, anonymous: true"), RULE, ONE_THING),
    "list and expression": (rules(f"{STAFF}, expression: 'true'"), RULE, ONE_THING),
    "anonymous false": (rules("anonymous: false"), RULE, ONE_THING),
    "empty allow": (rules("allow: []"), f"{RULE}.allow", "must not be empty"),
    "unknown field": (rules(f"path: [/a], {STAFF}"), f"{RULE}.path", "is not a known field"),
    "no hosts": (rules(f"hosts: [], {STAFF}"), f"{RULE}.hosts", "must not be empty"),
    "port": (rules(f"hosts: ['a.example:80'], {STAFF}"), f"{RULE}.hosts[0]", "without port"),
    "star alone": (rules(f"hosts: ['*'], {STAFF}"), f"{RULE}.hosts[0]", "must be a host"),
    "star inside": (rules(f"hosts: ['a.*.example'], {STAFF}"), f"{RULE}.hosts[0]", "must be a host"),
    "no ASCII": (rules(f"hosts: ['ä.example'], {STAFF}"), f"{RULE}.hosts[0]", "in ASCII (xn--)"),
    "host twice": (rules(f"hosts: [a.example, A.example], {STAFF}"), f"{RULE}.hosts", "twice"),
    "small method": (rules(f"methods: [get], {STAFF}"), f"{RULE}.methods[0]", "in capitals"),
    "any method": (rules(f"methods: ['*'], {STAFF}"), f"{RULE}.methods[0]", "in capitals"),
    "bare path": (rules(f"paths: /a, {STAFF}"), f"{RULE}.paths", "must be a list"),
    "relative": (rules(f"paths: [a], {STAFF}"), f"{RULE}.paths[0]", A_PATH),
    "escape": (rules(f"paths: ['/a%20b'], {STAFF}"), f"{RULE}.paths[0]", "written decoded"),
    "semicolon": (rules(f"paths: ['/a;b'], {STAFF}"), f"{RULE}.paths[0]", A_PATH),
    "query": (rules(f"paths: ['/a?b'], {STAFF}"), f"{RULE}.paths[0]", A_PATH),
    "backslash": (rules(f"paths: ['/a\\b'], {STAFF}"), f"{RULE}.paths[0]", A_PATH),
    "control": (rules(f'paths: ["/a\\n"], {STAFF}'), f"{RULE}.paths[0]", "control"),
    "empty segment": (rules(f"paths: [/a//b], {STAFF}"), f"{RULE}.paths[0]", "empty segment"),
    "dot segment": (rules(f"paths: [/a/../b], {STAFF}"), f"{RULE}.paths[0]", ". or .. segment"),
    "two stars": (rules(f"paths: ['/a*b*'], {STAFF}"), f"{RULE}.paths[0]", "two stars in a segment"),
    "double star": (rules(f"paths: ['/a/**'], {STAFF}"), f"{RULE}.paths[0]", "two stars in a segment"),
    "path twice": (rules(f"paths: [/a, /a], {STAFF}"), f"{RULE}.paths", "twice"),
    "raw path": (rules(f"rawPath: true, {STAFF}"), f"{RULE}.rawPath", 'must be "refuse" or "allow"'),
    "issuer of a rule": (
        rules("allow: [{issuers: [hoem]}]"),
        f"{RULE}.allow[0].issuers[0]",
        "is not a configured name",
    ),
    "star in an issuer": (
        rules("allow: [{issuers: ['home*']}]"),
        f"{RULE}.allow[0].issuers[0]",
        "* is not a pattern here",
    ),
    "star in an audience": (
        policy("audiences: ['my-*']"),
        "policies.default.audiences[0]",
        "* is not a pattern here",
    ),
    "star in a role's audience": (
        policy("role: {boundAudiences: ['*']}"),
        "policies.default.role.boundAudiences[0]",
        "* is not a pattern here",
    ),
    "star in a role's subject": (
        policy("role: {boundSubject: 'repo:*'}"),
        "policies.default.role.boundSubject",
        "* is not a pattern here",
    ),
    "star in a reviewed namespace": (
        policy("accessReview: {resource: {verb: get, resource: pods, namespace: 'prod-*'}}"),
        "policies.default.accessReview.resource.namespace",
        "there are no patterns here",
    ),
    "star in a reviewed verb": (
        policy("accessReview: {resource: {verb: 'g*', resource: pods}}"),
        "policies.default.accessReview.resource.verb",
        "* alone means all",
    ),
    "many stars in a user": (
        policy("deny: [{users: ['a*b*c*d*e*f*g*h*i*j']}]"),
        "policies.default.deny[0].users[0]",
        "more than 8 stars",
    ),
    "many stars in an account": (
        policy("deny: [{serviceAccounts: ['prod/a*b*c*d*e*f*g*h*i*j']}]"),
        "policies.default.deny[0].serviceAccounts[0]",
        "more than 8 stars",
    ),
    "many globs": (
        policy(f"deny: [{{groups: [{', '.join(f'g{number}-*' for number in range(65))}]}}]"),
        "policies.default.deny[0].groups",
        "more than 64 entries with a star",
    ),
    "many stars in a bound claim": (
        policy("role: {boundClaims: {sub: '*********'}, boundClaimsType: glob}"),
        "policies.default.role",
        "more than 8 stars",
    ),
    "without proxy": (
        policy(f"rules: [{{{STAFF}}}]", proxy=False),
        "policies.default.rules",
        "needs server.proxy",
    ),
    "shadow without proxy": (
        policy(f"shadow: {{rules: [{{{STAFF}}}]}}", proxy=False),
        "policies.default.shadow.rules",
        "needs server.proxy",
    ),
    "expression on the request without proxy": (
        policy("allow: [{expression: 'request.method == \"GET\"'}]", proxy=False),
        "policies.default.allow[0].expression",
        "needs server.proxy",
    ),
    "review of the request without proxy": (
        policy("accessReview: {nonResource: request}", proxy=False),
        "policies.default.accessReview.nonResource",
        "needs server.proxy",
    ),
    "review in a shadow": (
        policy("shadow: {accessReview: {nonResource: request}}"),
        "policies.default.shadow.accessReview",
        "only the live policy asks the cluster",
    ),
    "review in a shadow's rule": (
        policy("shadow: {rules: [{accessReview: {nonResource: request}}]}"),
        "policies.default.shadow.rules[0].accessReview",
        "only the live policy asks the cluster",
    ),
    "shadow of a shadow": (
        policy("shadow: {shadow: {}}"),
        "policies.default.shadow.shadow",
        "is not a known field",
    ),
    "audience of a shadow": (
        policy("shadow: {audiences: [other]}"),
        "policies.default.shadow.audiences[0]",
        "is an audience that",
    ),
    "unknown function": (
        policy("allow: [{expression: 'nope(user.username)'}]"),
        "policies.default.allow[0].expression",
        "nope",
    ),
    "unknown field of the user": (
        policy("deny: [{expression: 'user.email == \"a\"'}]"),
        "policies.default.deny[0].expression",
        "email",
    ),
    "no bool": (rules("expression: 'user.username'"), f"{RULE}.expression", "bool"),
    "syntax": (rules("expression: 'user.username =='"), f"{RULE}.expression", "^"),
    "query without queryRules": (
        rules("expression: 'request.query == \"\"'"),
        f"{RULE}.expression",
        "query",
    ),
    "expression of a shadow's rule": (
        policy("shadow: {rules: [{allow: [{expression: '1'}]}]}"),
        "policies.default.shadow.rules[0].allow[0].expression",
        "bool",
    ),
    "too long": (
        rules(f"expression: '{'!' * 10_001}true'"),
        f"{RULE}.expression",
        "longer than 10000 characters",
    ),
}


@pytest.mark.parametrize(("text", "path", "words"), CASES.values(), ids=CASES.keys())
def test_a_bad_rule_is_refused_at_its_path(problems: Problems, text: str, path: str, words: str) -> None:
    """The message describes the problem."""
    found = problems(text)
    assert path in found, found
    assert words in found[path].message


@pytest.mark.parametrize(
    "expression",
    ["request.path ==", "request.paht == '/'", "'request' + user.username", "nope(request.path)"],
)
def test_an_expression_that_cannot_be_used_is_one_problem(problems: Problems, expression: str) -> None:
    """It may not read the request, so server.proxy is not reported."""
    found = problems(policy(f'allow: [{{expression: "{expression}"}}]', proxy=False))

    assert list(found) == ["policies.default.allow[0].expression"]
    assert "server.proxy" not in found["policies.default.allow[0].expression"].message


@pytest.mark.parametrize(
    "expression",
    [
        "'g:request-handlers' in user.groups",
        "claims.request == 'x'",
        "user.username == 'a' // as request.path",
    ],
)
def test_request_in_a_string_or_comment_needs_no_proxy(load_text: Load, expression: str) -> None:
    """Only variables that an expression reads count."""
    load_text(policy(f'deny: [{{expression: "{expression}"}}]', proxy=False))


def test_an_expression_on_the_identity_needs_no_proxy(load_text: Load) -> None:
    """This holds even if a string contains the word `request`."""
    text = policy("allow: [{expression: 'user.username == \"request.method\"'}]", proxy=False)
    assert load_text(text).config.policies["default"].allow


def test_expressions_can_use_the_query_with_query_rules(load_text: Load) -> None:
    """`queryRules` applies to one version of a policy."""
    text = policy("queryRules: true, rules: [{expression: 'request.query == \"\"'}]")
    assert load_text(text).config.policies["default"].query_rules


def test_hosts_are_kept_in_lower_case(load_text: Load) -> None:
    """Hosts do not depend on case."""
    [rule] = load_text(rules(f"hosts: ['*.App.Example'], {STAFF}")).config.policies["default"].rules
    assert rule.hosts == ("*.app.example",)


COVERED = {
    "the same": ("paths: [/a]", "paths: [/a]"),
    "anything first": ("", "paths: [/a]"),
    "a prefix": ("paths: ['/a/*']", "paths: ['/a/b/c']"),
    "a longer prefix": ("paths: ['/a/*']", "paths: ['/a/b/*', '/a/']"),
    "a star": ("paths: ['/a/*/c']", "paths: ['/a/b/c']"),
    "a star in a segment": ("paths: ['/a/b*.png']", "paths: ['/a/b1.png']"),
    "stars": ("paths: ['/*/b/*']", "paths: ['/a/b/c', '/*/b/x*']"),
    "several paths": ("paths: [/x, '/a/*']", "paths: ['/a/b', /x]"),
    "methods": ("methods: [GET, POST]", "methods: [POST], paths: [/a]"),
    "hosts": ("hosts: ['*.example']", "hosts: [a.b.example, '*.b.example']"),
    "raw": ("rawPath: allow", "rawPath: allow, paths: [/a]"),
}
NOT_COVERED = {
    "another path": ("paths: [/a]", "paths: [/b]"),
    "the prefix itself": ("paths: ['/a/*']", "paths: [/a]"),
    "a path less": ("paths: [/a]", "paths: [/a, /b]"),
    "any path": ("paths: ['/*']", ""),
    "an empty segment": ("paths: ['/a/*/c']", "paths: ['/a/c']"),
    "a star for a word": ("paths: ['/a/b/c']", "paths: ['/a/*/c']"),
    "all below a star": ("paths: ['/a/b*']", "paths: ['/a/*']"),
    "longer": ("paths: ['/a/*/c']", "paths: ['/a/b/c/d']"),
    "a method more": ("methods: [GET]", "methods: [GET, POST]"),
    "any method": ("methods: [GET]", ""),
    "a host above": ("hosts: ['*.b.example']", "hosts: ['*.example']"),
    "the host itself": ("hosts: ['*.example']", "hosts: [example]"),
    "raw": ("paths: ['/*']", "rawPath: allow, paths: ['/a/*']"),
}


def joined(*parts: str) -> str:
    """The members of a mapping, without empty ones."""
    return ", ".join(filter(None, parts))


@pytest.mark.parametrize(("first", "second"), COVERED.values(), ids=COVERED.keys())
def test_a_rule_that_is_never_used_is_a_warning(load_text: Load, first: str, second: str) -> None:
    """An earlier rule matches all of its requests."""
    [warning] = load_text(rules(joined(first, STAFF), joined(second, STAFF))).warnings
    assert warning.path == "policies.default.rules[1]"
    assert "rules[0] is before it" in warning.message


@pytest.mark.parametrize(("first", "second"), NOT_COVERED.values(), ids=NOT_COVERED.keys())
def test_a_rule_that_can_be_used_is_not_a_warning(load_text: Load, first: str, second: str) -> None:
    """Earlier rules do not match all of its requests."""
    assert load_text(rules(joined(first, STAFF), joined(second, STAFF))).warnings == ()
