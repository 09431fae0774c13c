"""Conditions on identity and request, and entries, which combine them."""

from __future__ import annotations

import pytest

from authgate.expressions import Expects, Failed, Sees, compile_expression
from authgate.model import Identity, OriginalRequest, ServiceAccount, VerifiedClaims
from authgate.policy.conditions import (
    Condition,
    Entry,
    ExpressionHolds,
    GroupIn,
    IssuerIn,
    PolicyInput,
    ServiceAccountIn,
    UserIn,
)

ALICE = Identity("alice", groups=("dev", "ops"), issuer_name="corp", audiences=("app-a",))


def account(namespace: str = "prod", name: str = "web", *, cluster: str | None = "home") -> Identity:
    """A ServiceAccount of a cluster."""
    return Identity(
        f"system:serviceaccount:{namespace}:{name}",
        issuer_name=cluster or "corp",
        cluster=cluster,
        service_account=ServiceAccount(namespace, name),
        audiences=("app-a",),
    )


@pytest.mark.parametrize(
    ("globs", "namespace", "name", "matches"),
    [
        pytest.param(["prod/web"], "prod", "web", True, id="exact"),
        pytest.param(["prod/*"], "prod", "web", True, id="any name"),
        pytest.param(["*/web"], "prod", "web", True, id="any namespace"),
        pytest.param(["*/*"], "prod", "web", True, id="any account"),
        pytest.param(["prod-*/web-*"], "prod-eu", "web-1", True, id="stars inside"),
        pytest.param(["prod-*/web"], "prod-", "web", True, id="a star for nothing"),
        pytest.param(["a/b", "prod/web", "c/d"], "prod", "web", True, id="one of several"),
        pytest.param(["pr.d/web"], "prod", "web", False, id="a dot is a dot"),
        pytest.param(["prod/w[e]b"], "prod", "web", False, id="no character classes"),
        pytest.param(["prod/we?"], "prod", "web", False, id="no question marks"),
        pytest.param(["prod/web|x"], "prod", "web", False, id="no alternatives"),
        pytest.param(["prod/we"], "prod", "web", False, id="a prefix"),
        pytest.param(["rod/web"], "prod", "web", False, id="a suffix"),
        pytest.param(["prod/web"], "prod", "web2", False, id="a longer name"),
        pytest.param(["PROD/web"], "prod", "web", False, id="another case"),
        pytest.param(["*"], "prod", "web", False, id="a star is no slash"),
        pytest.param(["prod*web"], "prod", "web", False, id="nor inside"),
        pytest.param(["prod/*"], "prod2", "web", False, id="another namespace"),
        pytest.param(["prod/*"], "prod\n", "web", False, id="newline behind"),
        pytest.param([], "prod", "web", False, id="no globs"),
        pytest.param([], "", "", False, id="no globs and no names"),
    ],
)
def test_a_glob_names_accounts_by_namespace_and_name(
    globs: list[str], namespace: str, name: str, matches: bool
) -> None:
    """`*` matches any characters except the slash; everything else matches itself."""
    assert ServiceAccountIn(globs).matches(PolicyInput(account(namespace, name))) is matches


@pytest.mark.parametrize(
    "identity",
    [
        pytest.param(
            Identity("system:serviceaccount:prod:web", issuer_name="corp"), id="a jwt user of that name"
        ),
        pytest.param(account(cluster=None), id="an account of no cluster"),
        pytest.param(Identity("prod/web", cluster="home"), id="a cluster's user of that name"),
    ],
)
def test_only_clusters_have_service_accounts(identity: Identity) -> None:
    """`serviceAccounts` never matches users of other issuers, whatever their names are."""
    assert not ServiceAccountIn(["*/*", "prod/web"]).matches(PolicyInput(identity))


@pytest.mark.parametrize(
    ("names", "matches"),
    [
        ({"alice"}, True),
        ({"bob", "alice"}, True),
        ({"al*"}, True),
        ({"bob", "*"}, True),
        ({"Alice"}, False),
        ({"alice "}, False),
        ({"Al*"}, False),
        ({r"alice\*"}, False),
        ({"al"}, False),
    ],
    ids=str,
)
def test_a_user_matches_one_of_the_globs(names: set[str], matches: bool) -> None:
    """Globs match the whole name and are case-sensitive."""
    assert UserIn(frozenset(names)).matches(PolicyInput(ALICE)) is matches


@pytest.mark.parametrize(
    ("names", "matches"),
    [
        ({"dev"}, True),
        ({"x", "ops"}, True),
        ({"x-*", "d*"}, True),
        ({"*s"}, True),
        ({"Dev"}, False),
        ({"de"}, False),
        ({"*x"}, False),
        (set[str](), False),
    ],
    ids=str,
)
def test_one_matching_group_is_enough(names: set[str], matches: bool) -> None:
    """Any of the groups may match any of the globs."""
    assert GroupIn(frozenset(names)).matches(PolicyInput(ALICE)) is matches


def test_an_issuer_is_matched_by_its_configured_name() -> None:
    """The name of a cluster works like that of a `jwt` issuer."""
    names = IssuerIn(frozenset({"corp", "home"}))

    assert names.matches(PolicyInput(ALICE))
    assert names.matches(PolicyInput(account()))
    assert not names.matches(PolicyInput(Identity("alice", issuer="corp", issuer_name="other")))


def test_an_entry_needs_all_of_its_conditions() -> None:
    """Conditions of an entry are combined with "and"."""
    entry = Entry([IssuerIn(frozenset({"corp"})), GroupIn(frozenset({"dev"}))])

    assert entry.matches(PolicyInput(ALICE))
    assert not entry.matches(PolicyInput(Identity("bob", groups=("dev",), issuer_name="other")))
    assert not entry.matches(PolicyInput(Identity("bob", groups=("qa",), issuer_name="corp")))


def test_an_entry_needs_a_condition() -> None:
    """Without one it would match every identity."""
    with pytest.raises(ValueError, match="would match every identity"):
        Entry([])


def expression(text: str) -> ExpressionHolds:
    """A condition from an expression."""
    sees = Sees.CLAIMS | Sees.USER | Sees.REQUEST | Sees.NOW
    return ExpressionHolds(compile_expression(text, sees, Expects.BOOL), "rules[0].expression")


REQUEST = OriginalRequest("GET", "/a/b c/", "app.example")
CASE = PolicyInput(ALICE, VerifiedClaims({"level": 3}), REQUEST, 1_800_000_000.0)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('user.username == "alice" && "dev" in user.groups', True),
        ("claims.level == 3.0", True),
        ('request.path == "/a/b c/" && request.segments == ["a", "b c"]', True),
        ('request.method == "POST"', False),
        ('now == timestamp("2027-01-15T08:00:00Z")', True),
    ],
)
def test_an_expression_reads_the_policy_input(text: str, holds: bool) -> None:
    """It can read identity, claims, request and time."""
    assert expression(text).matches(CASE) is holds


def test_the_root_has_no_segments() -> None:
    """Neither does a request without a path."""
    root = PolicyInput(ALICE, request=OriginalRequest("GET", "/", "app.example"))
    assert expression("request.segments.size() == 0").matches(root) is True


def test_a_failed_expression_reports_its_place() -> None:
    """It is neither true nor false."""
    failed = expression("claims.missing == 1.0").matches(CASE)
    assert isinstance(failed, Failed)
    assert failed.detail.startswith("rules[0].expression: ")
    assert isinstance(Entry([UserIn(["alice"]), expression("claims.missing == 1.0")]).matches(CASE), Failed)
    assert Entry([UserIn(["bob"]), expression("claims.missing == 1.0")]).matches(CASE) is False


@pytest.mark.parametrize("text", ["!has(claims.sub)", 'claims.?banned.orValue("") == "yes"'])
def test_an_expression_over_unknown_claims_fails(text: str) -> None:
    """TokenReview does not return claims, and a deny entry could match one of them."""
    assert isinstance(expression(text).matches(PolicyInput(ALICE)), Failed)


def test_unknown_claims_do_not_matter_if_the_user_decides() -> None:
    """Only an expression that reads them fails."""
    assert expression('user.username == "alice" || has(claims.sub)').matches(PolicyInput(ALICE)) is True


@pytest.mark.parametrize(
    ("condition", "reads"),
    [
        (UserIn(["alice"]), ""),
        (expression('user.username == "a"'), ""),
        (expression('claims.a == "a"'), "claims"),
        (expression('request.path == "a"'), "request"),
        (expression('now > timestamp("2027-01-15T08:00:00Z")'), "now"),
        (expression('user.username == "request" || "g:request-handlers" in user.groups'), ""),
        (expression('claims.now == "now"'), "claims"),
        (expression('user.username == "known"'), ""),
    ],
)
def test_a_condition_declares_what_it_reads(condition: Condition, reads: str) -> None:
    """A cached answer must be right for the next request. A variable's name inside a string literal does not count."""
    reads_by_name = {
        "claims": condition.reads_claims,
        "request": condition.reads_request,
        "now": condition.reads_now,
    }
    assert [name for name, looks in reads_by_name.items() if looks] == reads.split()


def test_a_glob_with_many_stars_takes_linear_time() -> None:
    """Otherwise anyone who can choose an account's name could block all requests."""
    stars = ServiceAccountIn(["prod/" + "*a" * 20 + "*b"])
    assert not stars.matches(PolicyInput(account("prod", "a" * 253)))
    assert stars.matches(PolicyInput(account("prod", "a" * 252 + "b")))
