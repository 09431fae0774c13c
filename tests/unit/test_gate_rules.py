"""Decisions by host, method, path, expression and time; their cached results; and the reports of a shadow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from authgate.cluster.api import AccessAnswer, AccessAttributes, ApiError, ApiErrorKind
from authgate.compose.policies import policy_of, reads_claims
from authgate.config import load
from authgate.errors import Reason
from authgate.gate import Gate
from authgate.model import (
    Allow,
    Decision,
    Deny,
    Identity,
    OriginalRequest,
    Unavailable,
    VerifiedClaims,
)
from authgate.policy.headers import HeaderMapper
from authgate.verify.access_review import AccessReviewer, AccessReviewers
from tests.support.clock import START, FakeClock
from tests.support.verifiers import GOOD, Cached, Rendered, ScriptedVerifier, lookup_cached

if TYPE_CHECKING:
    from pathlib import Path

    from authgate.policy.rules import Difference

FILE = """
cluster: {name: home, audiences: [app, other]}
server: {proxy: nginx}
policies:
"""
JANE = Identity("jane", groups=("staff",), issuer_name="home", cluster="home", audiences=("app",))
MALLORY = Identity("mallory", groups=("staff",), issuer_name="home", cluster="home", audiences=("app",))
CLAIMS = VerifiedClaims({"department": "sales", "level": 3})


class Authorizer:
    """An API server that denies reviews with "secret" in their attributes, and fails for those with "broken"."""

    async def review_access(self, identity: Identity, attributes: AccessAttributes) -> AccessAnswer:
        """Return the answer."""
        if "broken" in str(attributes):
            raise ApiError(ApiErrorKind.SERVER_ERROR, "status 500")
        return AccessAnswer("secret" not in str(attributes))


class Scene:
    """A gate with these policies. Its verifier accepts the tokens "jane" and "mallory"."""

    def __init__(self, folder: Path, policies: str) -> None:
        path = folder / "authgate.yaml"
        path.write_text(FILE + policies)
        config = load(path, {}).config
        self.policies = {name: policy_of(name, item) for name, item in config.policies.items()}
        self.clock = FakeClock()
        self.differences: list[Difference] = []
        self.scripted = ScriptedVerifier(replace(GOOD, identity=JANE, claims=CLAIMS))
        self.scripted.answers["mallory"] = replace(GOOD, identity=MALLORY)
        cached = Cached(self.scripted, self.clock)
        reviewer = AccessReviewer(Authorizer(), self.clock, qps=100, burst=100)
        self.gate = Gate(
            cached.verifier,
            self.policies,
            HeaderMapper("remote", 1000),
            4096,
            AccessReviewers({"home": reviewer}),
            cache=cached.cache,
            now=self.clock.now,
        )

    async def decide(
        self,
        path: str | None = "/",
        method: str | None = "GET",
        host: str | None = "app.example",
        *,
        who: str | None = "jane",
        query: str = "",
        policy: str = "default",
    ) -> Decision:
        """Return the decision on a request."""
        values = [] if who is None else [f"Bearer {who}".encode()]
        request = OriginalRequest(method, path, host, query)
        return await self.gate.decide(values, policy, request, on_difference=self.differences.append)

    def lookup_cached(self, path: str) -> Rendered | None:
        """Return the cached answer to a GET by Jane."""
        request = OriginalRequest("GET", path, "app.example")
        return lookup_cached(self.gate, "jane", "default", request, self.differences.append)

    async def reason(self, *request: str | None, who: str | None = "jane", query: str = "") -> Reason:
        """Return the reason of a decision. `AUTHENTICATED` and `ANONYMOUS` are allowed."""
        return (await self.decide(*request, who=who, query=query)).reason


RULES = """
  default:
    audiences: [app]
    deny: [{users: [mallory]}]
    allow: [{groups: [nobody]}]
    rules:
    - {paths: [/healthz, "/public/*"], anonymous: true}
    - {hosts: ["*.admin.example"], allow: [{groups: [admins]}]}
    - {methods: [GET], paths: ["/reports/*"], allow: [{groups: [staff]}]}
    - {paths: ["/reports/*"], allow: [{groups: [auditors]}]}
    - {paths: ["/open-to-mallory/*"], deny: [{groups: [other]}]}
    - {paths: ["/all/*"], expression: "true"}
    - {paths: ["/reviewed/*"], accessReview: {nonResource: request}}
    - {paths: ["/raw/*"], rawPath: allow, allow: [{groups: [staff]}]}
"""
OK, DENIED, NOT = Reason.AUTHENTICATED, Reason.DENIED, Reason.NOT_ALLOWED
DECISIONS = {
    "a rule lets pass": (("/reports/1",), "jane", OK),
    "the next rule, for another method": (("/reports/1", "POST"), "jane", NOT),
    "a host": (("/reports/1", "GET", "x.admin.example"), "jane", NOT),
    "no rule: the policy's own": (("/elsewhere",), "jane", NOT),
    "the policy's deny holds in rules": (("/reports/1",), "mallory", DENIED),
    "the policy's deny holds where all may pass": (("/all/x",), "mallory", DENIED),
    "a rule's deny replaces the policy's": (("/open-to-mallory/x",), "mallory", NOT),
    "all may pass": (("/all/x",), "jane", OK),
    "anonymous": (("/healthz",), None, Reason.ANONYMOUS),
    "anonymous below": (("/public/x",), None, Reason.ANONYMOUS),
    "with a token where none is needed": (("/public/x",), "jane", OK),
    "no token": (("/all/x",), None, Reason.NO_CREDENTIAL),
    "no token, no rule": (("/elsewhere",), None, Reason.NO_CREDENTIAL),
    "no token, ambiguous path": (("/public/../x",), None, Reason.NO_CREDENTIAL),
    "no token, unknown path": ((None,), None, Reason.NO_CREDENTIAL),
    "the cluster allows": (("/reviewed/x",), "jane", OK),
    "the cluster does not": (("/reviewed/secret",), "jane", Reason.ACCESS_DENIED),
    "the cluster is not asked for whom the lists refuse": (("/reviewed/x",), "mallory", DENIED),
    "ambiguous path": (("/all/../x",), "jane", Reason.PATH_AMBIGUOUS),
    "unknown path": ((None,), "jane", Reason.REQUEST_UNKNOWN),
    "unknown method": (("/all/x", None), "jane", Reason.REQUEST_UNKNOWN),
    "unknown host": (("/all/x", "GET", None), "jane", Reason.REQUEST_UNKNOWN),
    "an escaped path": (("/r%65ports/1",), "jane", OK),
    "an ambiguous path that a rule takes": (("/raw/a%2Fb",), "jane", OK),
}


@pytest.mark.parametrize(("request_", "who", "reason"), DECISIONS.values(), ids=DECISIONS.keys())
async def test_the_first_matching_rule_decides(
    tmp_path: Path, request_: tuple[str | None, ...], who: str | None, reason: Reason
) -> None:
    """It replaces the policy's `allow`. `audiences` apply, and `deny` too, unless the rule has its own."""
    scene = Scene(tmp_path, RULES)
    assert await scene.reason(*request_, who=who) is reason
    assert await scene.reason(*request_, who=who) is reason


@pytest.mark.parametrize("path", ["/raw/secret/x", "/raw/secret%2Fx", "/raw//secret/x", "/raw/secret;v=1/x"])
async def test_a_denied_path_is_denied_in_every_spelling(tmp_path: Path, path: str) -> None:
    """This also holds if a rule allows ambiguous paths."""
    rules = """
  default:
    deny: [{expression: 'request.path.startsWith("/raw/secret/")'}]
    rules: [{paths: ["/raw/*"], rawPath: allow, allow: [{groups: [staff]}]}]
"""
    scene = Scene(tmp_path, rules)
    assert await scene.reason(path) is DENIED
    assert await scene.reason("/raw/other%2Fx") is OK


async def test_another_audience_is_reported_first(tmp_path: Path) -> None:
    """The client needs another token for every request."""
    scene = Scene(tmp_path, RULES)
    scene.scripted.verdict = replace(GOOD, identity=replace(JANE, audiences=("other",)))
    for path in ("/all/x", "/elsewhere", "/a//b", None):
        assert await scene.reason(path) is Reason.AUDIENCE_MISMATCH


async def test_a_denial_names_its_rule_only_in_the_audit_log(tmp_path: Path) -> None:
    """The client gets the name of the policy."""
    decision = await Scene(tmp_path, RULES).decide("/reports/1", "POST")
    assert isinstance(decision, Deny)
    assert (decision.detail, decision.private) == ("policy 'default'", "rules[3]")


RULE_OF = {
    "a rule allows": (("/reports/1",), "jane", 2),
    "another rule allows": (("/all/x",), "jane", 5),
    "a rule denies": (("/reports/1", "POST"), "jane", 3),
    "the policy's deny list, in a rule": (("/all/x",), "mallory", 5),
    "the policy itself": (("/elsewhere",), "jane", None),
    "anonymous": (("/public/x",), None, 0),
    "the cluster allows": (("/reviewed/x",), "jane", 6),
    "the cluster denies": (("/reviewed/secret",), "jane", 6),
    "ambiguous path": (("/all/../x",), "jane", None),
    "no token": (("/all/x",), None, None),
}


@pytest.mark.parametrize(("request_", "who", "rule"), RULE_OF.values(), ids=RULE_OF.keys())
async def test_a_decision_has_the_rule_that_decided(
    tmp_path: Path, request_: tuple[str | None, ...], who: str | None, rule: int | None
) -> None:
    """The rule is also known if the verdict is cached or another rule has already allowed the identity."""
    scene = Scene(tmp_path, RULES)
    decisions = [await scene.decide(*request_, who=who)]
    for path in ("/reports/2", "/raw/x"):
        await scene.decide(path, who=who)
        decisions.append(await scene.decide(*request_, who=who))
    assert [decision.rule for decision in decisions] == [rule] * 3


async def test_an_access_review_that_fails_has_the_rule(tmp_path: Path) -> None:
    """The decision is unavailable, but the rule has matched."""
    decision = await Scene(tmp_path, RULES).decide("/reviewed/broken")
    assert isinstance(decision, Unavailable)
    assert decision.rule == 6


async def test_a_policy_without_rules_does_not_read_the_request(tmp_path: Path) -> None:
    """Its proxy does not need to send the original request."""
    scene = Scene(tmp_path, "  default: {allow: [{groups: [staff]}]}\n")
    assert await scene.reason(None, None, None) is OK
    assert not scene.gate.looks_at_request("default")


EXPRESSIONS = """
  default:
    allow:
    - {users: [bob], expression: 'request.path == "/bob"'}
    - {expression: 'request.method == "GET" && request.host == "app.example" && request.segments[0] == user.username'}
    - {expression: 'claims.department == "sales" && request.path.startsWith("/sales/")'}
    deny: [{expression: '"forbidden" in request.segments'}]
"""
SEEN = {
    "segments": (("/jane/x",), "jane", OK),
    "an escape": (("/%6aane/x",), "jane", OK),
    "another host": (("/jane/x", "GET", "other.example"), "jane", NOT),
    "a host in capitals, with a port": (("/jane/x", "GET", "APP.example:443"), "jane", OK),
    "a claim": (("/sales/x",), "jane", OK),
    "a deny entry": (("/jane/forbidden",), "jane", DENIED),
    "nothing fits, and one fails": (("/",), "jane", Reason.EXPRESSION_FAILED),
    "no claims are known": (("/sales/x",), "mallory", Reason.EXPRESSION_FAILED),
    "unknown method": (("/jane/x", None), "jane", Reason.REQUEST_UNKNOWN),
    "a method that some servers take for another": (("/jane/x", "Get"), "jane", Reason.REQUEST_UNKNOWN),
    "unknown path": ((None,), "jane", Reason.REQUEST_UNKNOWN),
    "unknown host": (("/jane/x", "GET", None), "jane", Reason.REQUEST_UNKNOWN),
    "ambiguous path": (("/jane//x",), "jane", Reason.PATH_AMBIGUOUS),
}


@pytest.mark.parametrize(("request_", "who", "reason"), SEEN.values(), ids=SEEN.keys())
async def test_expressions_see_the_normalised_request(
    tmp_path: Path, request_: tuple[str | None, ...], who: str, reason: Reason
) -> None:
    """Every attribute must be known. An error counts as false, so it does not allow."""
    assert await Scene(tmp_path, EXPRESSIONS).reason(*request_, who=who) is reason


async def test_an_error_in_a_deny_entry_denies(tmp_path: Path) -> None:
    """The audit log names the expression."""
    scene = Scene(tmp_path, "  default: {deny: [{expression: 'claims.banned == true'}]}\n")
    decision = await scene.decide()
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.EXPRESSION_FAILED
    assert decision.private.startswith("policies.default.deny[0].expression: ")
    assert "sales" not in decision.private


async def test_an_error_in_one_allow_entry_does_not_affect_others(tmp_path: Path) -> None:
    """One true entry is enough."""
    text = "  default: {allow: [{expression: 'claims.none == true'}, {groups: [staff]}]}\n"
    assert await Scene(tmp_path, text).reason() is OK


async def test_the_query_is_readable_if_queryrules_is_set(tmp_path: Path) -> None:
    """It is not decoded."""
    text = "  default: {queryRules: true, rules: [{expression: 'request.query == \"a=%20b\"'}]}\n"
    scene = Scene(tmp_path, text)
    assert await scene.reason(query="a=%20b") is OK
    assert await scene.reason(query="a=b") is NOT


async def test_the_time_is_evaluated_for_each_request(tmp_path: Path) -> None:
    """This also holds for cached verdicts."""
    scene = Scene(tmp_path, f"  default: {{allow: [{{expression: 'now < timestamp({START + 30:.0f})'}}]}}\n")
    assert await scene.reason() is OK
    scene.clock.advance(31)
    assert await scene.reason() is NOT
    assert scene.scripted.asked == ["jane"]


async def test_decisions_that_depend_only_on_the_identity_are_cached(tmp_path: Path) -> None:
    """The decision and its bytes are the same for all rules that allow the identity."""
    scene = Scene(tmp_path, RULES)
    first = await scene.decide("/reports/1")
    answers = [scene.lookup_cached(path) for path in ("/reports/1", "/reports/2", "/all/x")]
    assert isinstance(first, Allow)
    assert answers[0] is not None
    assert answers[0] is answers[1] is answers[2]
    refused = [scene.lookup_cached(path) for path in ("/elsewhere", "/also-elsewhere")]
    assert refused[0] is not None
    assert refused[0] is refused[1] is not answers[0]


async def test_decisions_of_the_cluster_are_not_cached(tmp_path: Path) -> None:
    """Only the rules with an access review are not cached."""
    scene = Scene(tmp_path, RULES)
    await scene.decide("/all/x")
    assert scene.lookup_cached("/reviewed/x") is None
    assert scene.lookup_cached("/all/x") is not None
    assert scene.gate.reviews_access("default")


def test_claims_are_kept_if_an_expression_reads_them(tmp_path: Path) -> None:
    """The expression can be in a rule or in a shadow."""
    texts = {
        "  default: {allow: [{expression: 'user.username == \"a\"'}]}\n": False,
        "  default: {allow: [{expression: 'claims.a == \"a\"'}]}\n": True,
        "  default: {rules: [{expression: 'claims.a == \"a\"'}]}\n": True,
        "  default: {shadow: {deny: [{expression: 'claims.a == \"a\"'}]}}\n": True,
    }
    assert {text: reads_claims(Scene(tmp_path, text).policies.values()) for text in texts} == texts


SHADOW = """
  default:
    allow: [{groups: [staff]}]
    rules: [{paths: ["/public/*"], anonymous: true}]
    shadow:
      allow: [{users: [mallory]}]
      rules:
      - {paths: ["/new/*"], anonymous: true}
      - {paths: ["/late/*"], expression: 'now > timestamp(1800000030)'}
"""
DIFFERENCES = {
    "refused by the shadow": (("/x",), "jane", OK, [(OK, NOT)]),
    "the same": (("/x",), "mallory", OK, []),
    "open in the shadow": (
        ("/new/x",),
        None,
        Reason.NO_CREDENTIAL,
        [(Reason.NO_CREDENTIAL, Reason.ANONYMOUS)],
    ),
    "open in the live one": (
        ("/public/x",),
        None,
        Reason.ANONYMOUS,
        [(Reason.ANONYMOUS, Reason.NO_CREDENTIAL)],
    ),
    "closed in both": (("/x",), None, Reason.NO_CREDENTIAL, []),
    "ambiguous in both": (("/a//b",), "jane", Reason.PATH_AMBIGUOUS, []),
    "by the time": (("/late/x",), "mallory", OK, [(OK, NOT)]),
}


@pytest.mark.parametrize(
    ("request_", "who", "reason", "differences"), DIFFERENCES.values(), ids=DIFFERENCES.keys()
)
async def test_a_shadow_reports_differences_and_decides_nothing(
    tmp_path: Path,
    request_: tuple[str | None, ...],
    who: str | None,
    reason: Reason,
    differences: list[tuple[Reason, Reason]],
) -> None:
    """It reports once for each request, also for cached verdicts."""
    scene = Scene(tmp_path, SHADOW)
    for count in (1, 2, 3):
        assert await scene.reason(*request_, who=who) is reason
        assert [(found.live, found.shadow) for found in scene.differences] == differences * count


async def test_a_shadow_reports_differences_of_cached_decisions(tmp_path: Path) -> None:
    """The report names the user and the shadow's rule."""
    scene = Scene(tmp_path, SHADOW)
    await scene.decide("/late/x")
    answer = scene.lookup_cached("/late/x")
    assert answer is not None
    assert answer.decision.reason is OK
    assert [(found.policy, found.private, found.identity) for found in scene.differences] == [
        ("default", "rules[1]", JANE)
    ] * 2
    scene.clock.advance(31)
    scene.lookup_cached("/late/x")
    assert len(scene.differences) == 2


async def test_an_undecided_request_is_not_compared(tmp_path: Path) -> None:
    """A request with an invalid token is not compared, either: it is denied under both policies."""
    scene = Scene(tmp_path, SHADOW)
    scene.scripted.held = True
    request = OriginalRequest("GET", "/x", "app.example")
    decision = scene.gate.try_decide(
        [b"Bearer jane"], "default", request, on_difference=scene.differences.append
    )
    assert not isinstance(decision, Allow | Deny | Unavailable)
    assert scene.differences == []
