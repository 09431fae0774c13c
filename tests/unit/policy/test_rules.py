"""Open paths and policies. Rules are tested in tests/unit/test_gate_rules.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authgate.errors import Reason
from authgate.model import Identity
from authgate.policy.conditions import Entry, GroupIn, PolicyInput, UserIn
from authgate.policy.rules import OpenPaths, Policy

ALICE = Identity("alice", groups=("dev", "ops"), issuer_name="corp", audiences=("app-a",))
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
        pytest.param(Policy("p", allow=()), Reason.NOT_ALLOWED, id="an empty list denies everyone"),
        pytest.param(Policy("p", deny=(IS_DEV,)), Reason.DENIED, id="denied"),
        pytest.param(Policy("p", deny=(IS_BOB,)), None, id="not denied"),
        pytest.param(Policy("p", allow=(IS_ALICE,), deny=(IS_DEV,)), Reason.DENIED, id="deny wins"),
        pytest.param(
            Policy("p", audiences=frozenset({"app-a", "app-b"})), None, id="an audience of the policy"
        ),
        pytest.param(
            Policy("p", audiences=frozenset({"app-b"})), Reason.AUDIENCE_MISMATCH, id="another audience"
        ),
        pytest.param(
            Policy("p", audiences=frozenset()), Reason.AUDIENCE_MISMATCH, id="no audience is accepted"
        ),
        pytest.param(
            Policy("p", audiences=frozenset({"app-b"}), deny=(IS_DEV,)),
            Reason.AUDIENCE_MISMATCH,
            id="the audience comes first",
        ),
    ],
)
def test_a_policy_checks_audience_deny_and_allow(policy: Policy, refusal: Reason | None) -> None:
    """They are checked in this order. Only a missing list allows everyone."""
    found = policy.own.check(PolicyInput(ALICE))
    assert (None if found is None else found.reason) is refusal


OPEN = OpenPaths(["/", "/healthz", "/public/*", "/a/b/*", "/dir/"])


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/healthz", "/dir/", "/a/b/c", "/public/", "/public/x", "/public/x/y/"),
        *("/public/a.b-c_d~e!$&'()*+,=:@", "/public/...", "/public/.well-known"),
    ],
)
def test_an_open_path_is_exact_or_below_a_prefix(path: str) -> None:
    """`/prefix/*` matches everything below it."""
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
    """Paths with escapes, dot segments, empty segments, parameters or backslashes need a token."""
    assert not OPEN.contain(path)


def test_everything_can_be_open() -> None:
    """`/*` matches every path that all servers read the same way, and no other."""
    everything = OpenPaths(["/*"])

    assert everything.contain("/")
    assert everything.contain("/any/thing")
    assert not everything.contain("/any/../thing")


def test_no_paths_are_open_by_default() -> None:
    """The object is then false."""
    assert not OpenPaths([])
    assert OPEN
    assert OpenPaths(["/*"])
    assert not OpenPaths([]).contain("/")
    assert not Policy("p").open_paths


@given(st.text(alphabet="/.%2eEfF;\\ax*?#\x00ä ", max_size=20))
def test_an_open_path_is_always_plain(text: str) -> None:
    """It has nothing that a server would decode or normalize."""
    path = "/public/" + text

    if OPEN.contain(path):
        assert not set(path) & set("%;\\?#\x00ä ")
        assert not {"", ".", ".."} & set(path.removesuffix("/").split("/")[1:])
