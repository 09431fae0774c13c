"""Conditions on who asks and what for, and entries, which join them."""

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
    """`*` stands for any characters but the slash; everything else for itself."""
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
    """Whatever another issuer calls its users, `serviceAccounts` does not match them."""
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
def test_a_user_fits_one_of_the_globs(names: set[str], matches: bool) -> None:
    """The whole name, and its case."""
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
def test_one_of_the_groups_is_enough(names: set[str], matches: bool) -> None:
    """Whichever it is that fits a glob."""
    assert GroupIn(frozenset(names)).matches(PolicyInput(ALICE)) is matches


def test_an_issuer_is_matched_by_its_configured_name() -> None:
    """A cluster's name counts as well as a `jwt` issuer's."""
    names = IssuerIn(frozenset({"corp", "home"}))

    assert names.matches(PolicyInput(ALICE))
    assert names.matches(PolicyInput(account()))
    assert not names.matches(PolicyInput(Identity("alice", issuer="corp", issuer_name="other")))


def test_an_entry_needs_all_of_its_conditions() -> None:
    """An entry is an "and"."""
    entry = Entry([IssuerIn(frozenset({"corp"})), GroupIn(frozenset({"dev"}))])

    assert entry.matches(PolicyInput(ALICE))
    assert not entry.matches(PolicyInput(Identity("bob", groups=("dev",), issuer_name="other")))
    assert not entry.matches(PolicyInput(Identity("bob", groups=("qa",), issuer_name="corp")))


def test_an_entry_without_conditions_cannot_be_made() -> None:
    """It would match everybody."""
    with pytest.raises(ValueError, match="would match everybody"):
        Entry([])


def expression(text: str) -> ExpressionHolds:
    """A condition that an expression writes, which may look at everything but the query."""
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
def test_an_expression_sees_the_case(text: str, holds: bool) -> None:
    """Who asks, what their token claims, what they ask for, and when."""
    assert expression(text).matches(CASE) is holds


def test_the_root_has_no_segments() -> None:
    """Nor has a request that is not looked at."""
    root = PolicyInput(ALICE, request=OriginalRequest("GET", "/", "app.example"))
    assert expression("request.segments.size() == 0").matches(root) is True


def test_an_expression_that_fails_says_where_it_stands() -> None:
    """It is neither true nor false."""
    failed = expression("claims.missing == 1.0").matches(CASE)
    assert isinstance(failed, Failed)
    assert failed.detail.startswith("rules[0].expression: ")
    assert isinstance(Entry([UserIn(["alice"]), expression("claims.missing == 1.0")]).matches(CASE), Failed)
    assert Entry([UserIn(["bob"]), expression("claims.missing == 1.0")]).matches(CASE) is False


@pytest.mark.parametrize("text", ["!has(claims.sub)", 'claims.?banned.orValue("") == "yes"'])
def test_of_claims_that_are_not_known_nothing_holds(text: str) -> None:
    """As after a TokenReview, which does not tell them: what a denial asks for may be there."""
    assert isinstance(expression(text).matches(PolicyInput(ALICE)), Failed)


def test_claims_that_are_not_known_do_not_matter_where_the_user_decides() -> None:
    """Only who needs them fails."""
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
def test_a_condition_tells_what_it_looks_at(condition: Condition, reads: str) -> None:
    """An answer that is remembered must hold for the next request; a text with a variable's name reads nothing."""
    told = {"claims": condition.reads_claims, "request": condition.reads_request, "now": condition.reads_now}
    assert [name for name, looks in told.items() if looks] == reads.split()


def test_a_glob_of_many_stars_costs_no_more_than_its_text_is_long() -> None:
    """Else whoever may choose an account's name could hold up everybody."""
    stars = ServiceAccountIn(["prod/" + "*a" * 20 + "*b"])
    assert not stars.matches(PolicyInput(account("prod", "a" * 253)))
    assert stars.matches(PolicyInput(account("prod", "a" * 252 + "b")))
