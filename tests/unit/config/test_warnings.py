from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.config.conftest import Load


def issuer(host: str, prefix: str, *, groups: str | None = None, gate: str = "") -> str:
    """An issuer whose users have a prefix."""
    mapping = "" if groups is None else f", groups: {{claim: groups, prefix: '{groups}'}}"
    return (
        f"{{issuer: {{url: 'https://{host}', audiences: [a]}}, "
        f"claimMappings: {{username: {{claim: sub, prefix: '{prefix}'}}{mapping}}}{gate}}}"
    )


def test_ignoring_a_confirmation_is_a_warning(load_text: Load) -> None:
    """`unsafeIgnoreConfirmation` is a warning at startup, in `check` and in `doctor`."""
    unsafe = issuer("a", "a:", gate=", gate: {unsafeIgnoreConfirmation: true}")
    (warning,) = load_text(f"jwt: [{unsafe}]").warnings
    assert (warning.path, "stolen token can be used" in warning.message) == (
        "jwt[0].gate.unsafeIgnoreConfirmation",
        True,
    )


@pytest.mark.parametrize("prefix", ["", "s", "system:", "system", "system:serviceaccount:"])
def test_an_issuer_that_could_name_a_system_user_is_a_warning(load_text: Load, prefix: str) -> None:
    """Its prefix allows users with the name `system:…`."""
    (warning,) = load_text(f"jwt: [{issuer('a', prefix)}]").warnings
    assert (warning.path, warning.line, "name a user" in warning.message) == (
        "jwt[0].claimMappings.username.prefix",
        1,
        True,
    )


def test_a_spiffe_id_never_names_a_system_user(load_text: Load) -> None:
    """Without a prefix, a username is still the whole SPIFFE ID."""
    text = """
jwt:
- issuer: {url: spiffe://example.org, audiences: [a]}
  claimMappings: {username: {claim: sub, prefix: ""}}
  gate: {spiffe: {trustDomain: example.org}, jwksURL: https://spire.example.org/bundle}
"""
    assert load_text(text).warnings == ()


def test_an_issuer_that_could_name_a_system_group_is_a_warning(load_text: Load) -> None:
    """`system:masters` is a group."""
    (warning,) = load_text(f"jwt: [{issuer('a', 'a:', groups='')}]").warnings
    assert (warning.path, "name a group" in warning.message) == ("jwt[0].claimMappings.groups.prefix", True)


@pytest.mark.parametrize(
    ("one", "other"), [("a:", "a:"), ("a", "a:"), ("a:b", "a:")], ids=["same", "longer", "shorter"]
)
def test_issuers_that_could_name_the_same_user_are_a_warning(load_text: Load, one: str, other: str) -> None:
    """One prefix is the beginning of the other."""
    (warning,) = load_text(f"jwt: [{issuer('a', one)}, {issuer('b', other)}]").warnings
    assert (warning.path, "the prefix of jwt[0] is" in warning.message) == (
        "jwt[1].claimMappings.username.prefix",
        True,
    )


def test_an_issuer_is_a_warning_once_however_many_have_its_prefix(load_text: Load) -> None:
    """Pairs of 64 issuers would be 2,016 warnings."""
    entries = ", ".join(issuer(name, "a:") for name in "abcd")
    warnings = load_text(f"jwt: [{entries}]").warnings
    assert [warning.path for warning in warnings] == [
        f"jwt[{index}].claimMappings.username.prefix" for index in (1, 2, 3)
    ]


def test_issuers_with_different_prefixes_are_not_a_warning(load_text: Load) -> None:
    """Their users have different names."""
    one, other = issuer("a", "a:", groups="a:"), issuer("b", "b:", groups="b:")
    assert load_text(f"jwt: [{one}, {other}]").warnings == ()


def test_service_accounts_without_a_cluster_are_a_warning(load_text: Load) -> None:
    """The rule can never match, whatever names other users have."""
    text = f"jwt: [{issuer('a', 'a:')}]\npolicies: {{default: {{deny: [{{serviceAccounts: ['a/b']}}]}}}}"
    (warning,) = load_text(text).warnings
    assert (warning.path, warning.line) == ("policies.default.deny[0].serviceAccounts", 2)


def test_service_accounts_of_a_cluster_are_not_a_warning(load_text: Load) -> None:
    """With a cluster such rules can match."""
    text = "cluster: {audiences: [a]}\npolicies: {default: {allow: [{serviceAccounts: ['a/b']}]}}"
    assert load_text(text).warnings == ()


@pytest.mark.parametrize(
    ("entry", "kind", "doubted"),
    [
        ("{serviceAccounts: ['a/b']}", "allow", True),
        ("{serviceAccounts: ['a/b']}", "deny", False),
        ("{issuers: [away], serviceAccounts: ['a/b']}", "allow", False),
        ("{issuers: [home, away], serviceAccounts: ['a/b']}", "allow", False),
    ],
)
def test_service_accounts_of_any_of_several_clusters_are_a_warning(
    load_text: Load, entry: str, kind: str, doubted: bool
) -> None:
    """Adding a cluster would allow its accounts, too; naming the clusters removes the warning."""
    clusters = "cluster: [{audiences: [a]}, {name: away, audiences: [a], context: away}]"
    warnings = load_text(f"{clusters}\npolicies: {{default: {{{kind}: [{entry}]}}}}").warnings
    assert ["accounts of every cluster" in warning.message for warning in warnings] == [True] * doubted


def test_a_missing_token_file_is_a_warning(load_text: Load) -> None:
    """It is read for every fetch and may be written later, so authgate starts."""
    gate = ", gate: {keys: {tokenFile: /nonexistent}}"
    (warning,) = load_text(f"jwt: [{issuer('a', 'a:', gate=gate)}]").warnings
    assert (warning.path, "cannot be read" in warning.message) == ("jwt[0].gate.keys.tokenFile", True)


def _policy(members: str) -> str:
    return f"cluster: {{audiences: [a]}}\npolicies: {{default: {{{members}}}}}"


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("cluster: {audiences: ['my-*']}", "cluster.audiences[0]", "* is not a pattern here"),
        (
            f"jwt: [{issuer('a', 'a:').replace('[a]', '[a*]')}]",
            "jwt[0].issuer.audiences[0]",
            "* is not a pattern here",
        ),
        (
            _policy("role: {boundClaims: {sub: 'repo:*'}}"),
            "policies.default.role.boundClaims.sub[0]",
            "without boundClaimsType: glob",
        ),
        (
            _policy(r"deny: [{users: ['CORP\*']}]"),
            "policies.default.deny[0].users[0]",
            r"write \\*",
        ),
    ],
    ids=["a cluster's audience", "an issuer's audience", "a bound claim", "a backslash before the last star"],
)
def test_a_literal_star_is_a_warning(load_text: Load, text: str, path: str, words: str) -> None:
    """It may be meant as a pattern."""
    (warning,) = load_text(text).warnings

    assert warning.path == path
    assert words in warning.message


@pytest.mark.parametrize(
    "members",
    [
        "deny: [{users: ['gha:*'], groups: ['fork-*']}]",
        r"deny: [{users: ['\*', 'CORP\\*', 'a\*b']}]",
        "role: {boundClaims: {sub: 'repo:*'}, boundClaimsType: glob}",
    ],
)
def test_globs_are_not_a_warning(load_text: Load, members: str) -> None:
    """Their stars are patterns."""
    assert load_text(_policy(members)).warnings == ()


def _mapped(claim: str) -> str:
    return f"jwt: [{issuer('a', 'a:').replace('sub', claim)}]"


@pytest.mark.parametrize(
    ("text", "path", "pointer"),
    [
        (_mapped("realm_access.roles"), "jwt[0].claimMappings.username.claim", "/realm_access/roles"),
        (
            _policy("role: {userClaim: profile.name.first}"),
            "policies.default.role.userClaim",
            "/profile/name/first",
        ),
        (_policy("role: {boundClaims: {a.b: c}}"), 'policies.default.role.boundClaims["a.b"]', "/a/b"),
        (_policy("role: {claimMappings: {a.b: X-B}}"), 'policies.default.role.claimMappings["a.b"]', "/a/b"),
    ],
)
def test_a_claim_name_that_looks_like_a_path_is_a_warning(
    load_text: Load, text: str, path: str, pointer: str
) -> None:
    """The warning has the pointer to the member."""
    (warning,) = load_text(text).warnings

    assert (warning.path, warning.message.endswith(f"write {pointer}")) == (path.replace('["', '["'), True)


@pytest.mark.parametrize(
    "claim",
    [
        "sub",
        "/realm_access/roles",
        "'https://example.com/roles'",
        "kubernetes.io",
        "'example.com/team'",
        "'a..b'",
        "'a.1'",
    ],
)
def test_other_claim_names_are_not_a_warning(load_text: Load, claim: str) -> None:
    """URLs, domains and pointers are correct names."""
    assert load_text(_mapped(claim)).warnings == ()


SIGNING = "signing: {issuer: https://gate.example}\nidentityToken: {audience: app}\n"


@pytest.mark.parametrize("members", ["", ", keyFiles: []"])
def test_a_generated_key_is_a_warning(load_text: Load, members: str) -> None:
    """It names when tokens cannot be verified any more."""
    text = f"cluster: {{audiences: [a]}}\nsigning: {{issuer: https://gate.example{members}}}\n"
    (warning,) = load_text(f"{text}identityToken: {{audience: app}}\n").warnings
    assert (warning.path, "until the process ends" in warning.message) == ("signing.keyFiles", True)


@pytest.mark.parametrize(
    ("policy", "more", "words"),
    [
        ("{}", "", "lets every valid token read the admin port"),
        ("{allow: [{users: [a]}]}", SIGNING, "also protects /jwks"),
    ],
    ids=["nobody is restricted", "keys of identity tokens"],
)
def test_a_policy_that_does_not_fit_the_admin_port_is_a_warning(
    load_text: Load, policy: str, more: str, words: str
) -> None:
    """The warning names the field to change."""
    text = (
        f"cluster: {{audiences: [a]}}\npolicies: {{default: {{}}, p: {policy}}}\nadmin: {{policy: p}}\n{more}"
    )
    (warning,) = [one for one in load_text(text).warnings if one.path != "signing.keyFiles"]
    assert (warning.path, words in warning.message, "policies.p." in warning.message) == (
        "admin.policy",
        True,
        True,
    )


@pytest.mark.parametrize(
    ("policy", "more"),
    [
        ("{allow: [{users: [a]}]}", ""),
        ("{allow: [{users: [a]}], anonymous: [/jwks]}", SIGNING),
        ("{rules: [{paths: [/jwks], anonymous: true}, {paths: [/*], allow: [{users: [a]}]}]}", SIGNING),
    ],
)
def test_a_policy_that_fits_the_admin_port_is_no_warning(load_text: Load, policy: str, more: str) -> None:
    """It restricts users, and the keys of identity tokens are open."""
    text = (
        f"cluster: {{audiences: [a]}}\npolicies: {{default: {{}}, p: {policy}}}\nadmin: {{policy: p}}\n{more}"
    )
    assert [one.path for one in load_text(text).warnings if one.path != "signing.keyFiles"] == []
