"""Who may pass: matchers, entries, open paths and policies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authgate.errors import Reason
from authgate.model import Identity, ServiceAccount
from authgate.policy.rules import Entry, GroupIn, IssuerIn, OpenPaths, Policy, ServiceAccountIn, UserIn

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
    assert ServiceAccountIn(globs).matches(account(namespace, name)) is matches


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
    assert not ServiceAccountIn(["*/*", "prod/web"]).matches(identity)


@pytest.mark.parametrize(
    ("names", "matches"),
    [({"alice"}, True), ({"bob", "alice"}, True), ({"Alice"}, False), ({"alice "}, False), ({"al*"}, False)],
    ids=str,
)
def test_a_user_is_compared_exactly(names: set[str], matches: bool) -> None:
    """No globs, no case."""
    assert UserIn(frozenset(names)).matches(ALICE) is matches


@pytest.mark.parametrize(
    ("names", "matches"),
    [({"dev"}, True), ({"x", "ops"}, True), ({"Dev"}, False), ({"de"}, False), (set[str](), False)],
    ids=str,
)
def test_one_of_the_groups_is_enough(names: set[str], matches: bool) -> None:
    """Compared exactly."""
    assert GroupIn(frozenset(names)).matches(ALICE) is matches


def test_an_issuer_is_matched_by_its_configured_name() -> None:
    """A cluster's name counts as well as a `jwt` issuer's."""
    names = IssuerIn(frozenset({"corp", "home"}))

    assert names.matches(ALICE)
    assert names.matches(account())
    assert not names.matches(Identity("alice", issuer="corp", issuer_name="other"))


def test_an_entry_needs_all_of_its_conditions() -> None:
    """An entry is an "and"."""
    entry = Entry([IssuerIn(frozenset({"corp"})), GroupIn(frozenset({"dev"}))])

    assert entry.matches(ALICE)
    assert not entry.matches(Identity("bob", groups=("dev",), issuer_name="other"))
    assert not entry.matches(Identity("bob", groups=("qa",), issuer_name="corp"))


def test_an_entry_without_conditions_cannot_be_made() -> None:
    """It would match everybody."""
    with pytest.raises(ValueError, match="would match everybody"):
        Entry([])


IS_ALICE = Entry([UserIn(frozenset({"alice"}))])
IS_DEV = Entry([GroupIn(frozenset({"dev"}))])
IS_BOB = Entry([UserIn(frozenset({"bob"}))])


@pytest.mark.parametrize(
    ("policy", "refusal"),
    [
        pytest.param(Policy("p"), None, id="nothing configured: any authenticated identity"),
        pytest.param(Policy("p", allow=(IS_ALICE,)), None, id="allowed"),
        pytest.param(Policy("p", allow=(IS_BOB, IS_DEV)), None, id="allowed by the second entry"),
        pytest.param(Policy("p", allow=(IS_BOB,)), Reason.NOT_ALLOWED, id="not allowed"),
        pytest.param(Policy("p", allow=()), Reason.NOT_ALLOWED, id="an empty list allows nobody"),
        pytest.param(Policy("p", deny=(IS_DEV,)), Reason.DENIED, id="denied"),
        pytest.param(Policy("p", deny=(IS_BOB,)), None, id="not denied"),
        pytest.param(Policy("p", allow=(IS_ALICE,), deny=(IS_DEV,)), Reason.DENIED, id="deny wins"),
        pytest.param(Policy("p", frozenset({"app-a", "app-b"})), None, id="an audience of the policy"),
        pytest.param(Policy("p", frozenset({"app-b"})), Reason.AUDIENCE_MISMATCH, id="another audience"),
        pytest.param(Policy("p", frozenset()), Reason.AUDIENCE_MISMATCH, id="no audience opens it"),
        pytest.param(
            Policy("p", frozenset({"app-b"}), deny=(IS_DEV,)),
            Reason.AUDIENCE_MISMATCH,
            id="audience comes first",
        ),
    ],
)
def test_a_policy_refuses_by_audience_deny_and_allow(policy: Policy, refusal: Reason | None) -> None:
    """In this order; empty means deny."""
    assert policy.refuses(ALICE) is refusal


OPEN = OpenPaths(["/", "/healthz", "/public/*", "/a/b/*", "/dir/"])


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/healthz", "/dir/", "/a/b/c", "/public/", "/public/x", "/public/x/y/"),
        *("/public/a.b-c_d~e!$&'()*+,=:@", "/public/...", "/public/.well-known"),
    ],
)
def test_an_open_path_is_exact_or_below_a_prefix(path: str) -> None:
    """`/prefix/*` opens what is below it."""
    assert OPEN.contain(path)


@pytest.mark.parametrize(
    "path",
    [
        *(None, "", "x", "healthz", "*"),
        *(
            "/healthz/",
            "/healthzz",
            "/Healthz",
            "/health",
            "/public",
            "/publicx",
            "/x/public/",
            "/a/b",
            "/dir",
        ),
        *("//", "//healthz", "/public//x", "/public/x//", "/public//"),
        *("/public/../secret", "/public/..", "/public/.", "/public/./x", "/./healthz", "/public/../public/x"),
        *("/public/%2e%2e/secret", "/public/%2E", "/%68ealthz", "/public/%", "/public/a%2fb", "/public/%00"),
        *("/public/..;/secret", "/public/x;jsessionid=1", "/healthz;"),
        *("/public\\..\\secret", "/public/\\", "/public/x\\"),
        *("/public/x y", "/public/\t", "/public/x\n", "/healthz\n", "/healthz\x00", "/public/\x7f"),
        *(
            "/public/ä",
            "/public/\u2024\u2024/x",
            "/healthz#",
            "/healthz?x",
            '/public/"',
            "/public/<x>",
            "/public/x|y",
        ),
    ],
    ids=ascii,
)
def test_a_path_that_servers_may_read_differently_is_not_open(path: str | None) -> None:
    """Escapes, dot segments, empty segments, parameters, backslashes: whoever wants through shows a token."""
    assert not OPEN.contain(path)


def test_everything_can_be_open() -> None:
    """`/*` opens every path that all servers read alike, and no other."""
    everything = OpenPaths(["/*"])

    assert everything.contain("/")
    assert everything.contain("/any/thing")
    assert not everything.contain("/any/../thing")


def test_no_paths_are_open_by_default() -> None:
    """And whether any are, can be told."""
    assert not OpenPaths([])
    assert OPEN
    assert OpenPaths(["/*"])
    assert not OpenPaths([]).contain("/")
    assert not Policy("p").open_paths


@given(st.text(alphabet="/.%2eEfF;\\ax*?#\x00ä ", max_size=20))
def test_an_open_path_is_the_one_that_every_server_serves(text: str) -> None:
    """Nothing that is normalised away or decoded stands in a path that is open."""
    path = "/public/" + text

    if OPEN.contain(path):
        assert not set(path) & set("%;\\?#\x00ä ")
        assert not {"", ".", ".."} & set(path.removesuffix("/").split("/")[1:])
