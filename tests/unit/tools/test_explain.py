from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from authgate.dev.compact import segment
from authgate.errors import REASONS, Reason, Step
from authgate.model import (
    NO_EVIDENCE,
    Allow,
    Deny,
    Evidence,
    Identity,
    KeyInfo,
    ServiceAccount,
    Unavailable,
)
from authgate.policy.headers import HeaderMapper
from authgate.tools.explain import Explanation, KnownIssuer, KnownPolicy, Outcome, explain
from authgate.verify.claims import GROUPS_OMITTED
from authgate.vocabulary import PRESETS
from tests.support.clock import START
from tests.support.tokens import AUDIENCE, ISSUER, OMIT, claims, unsigned

if TYPE_CHECKING:
    from authgate.model import Decision

KEY = KeyInfo("key-1", "RSA", "https://issuer.example/jwks")
BY_KEY = Evidence("jwks", "corp", KEY)
BY_REVIEW = Evidence("tokenreview", "home")
ROUTED = Evidence("none", "corp")
JANE = Identity("corp:jane", groups=("corp:staff",), issuer_name="corp", audiences=(AUDIENCE,))
WEB = Identity(
    "system:serviceaccount:prod:web",
    cluster="home",
    issuer_name="home",
    service_account=ServiceAccount("prod", "web"),
    audiences=(AUDIENCE,),
)
EXPRESSIONS = (
    ("claimValidationRules[1].expression", "claims.n > 1"),
    ("claimMappings.username.expression", "claims.name"),
    ("userValidationRules[0].expression", "user.uid != ''"),
)
CORP = KnownIssuer(
    name="corp",
    urls=(ISSUER,),
    audiences=(AUDIENCE,),
    algorithms=("RS256",),
    types=("JWT",),
    claim_rules=("hd = 'example.com'",),
    expressions=EXPRESSIONS,
)
HOME = KnownIssuer(
    name="home", urls=("https://kubernetes.default.svc",), audiences=(AUDIENCE,), is_cluster=True
)
POLICY = KnownPolicy(
    name="default",
    audiences=("shop",),
    allow=('{"users":["corp:joe"]}',),
    deny=('{"groups":["corp:staff"]}',),
)
TOKEN = unsigned({"alg": "RS256", "kid": "key-1", "typ": "JWT"}, claims())

P, F, U, S, N = Outcome.PASS, Outcome.FAIL, Outcome.UNAVAILABLE, Outcome.SKIPPED, Outcome.NOT_REACHED


def explained(decision: Decision, token: str = TOKEN) -> Explanation:
    """Return the explanation of a decision about a token."""
    return explain(decision, token, START, (CORP, HOME), POLICY)


def facts(decision: Decision, token: str = TOKEN) -> dict[str, tuple[str, ...]]:
    """Return the facts by name."""
    return {fact.name: fact.values for fact in explained(decision, token).facts}


def deny(reason: Reason, evidence: Evidence = NO_EVIDENCE, identity: Identity | None = None) -> Deny:
    """Return a denial."""
    return Deny(reason, "why", evidence, identity)


# The steps:                                         cred str iss key sig tim aud ide pol
CASES: dict[str, tuple[Decision, str, list[Outcome]]] = {
    "allowed by a key": (Allow(JANE, Reason.AUTHENTICATED, BY_KEY, ()), TOKEN, [P, P, P, P, P, P, P, P, P]),
    "allowed by review": (
        Allow(WEB, Reason.AUTHENTICATED, BY_REVIEW, ()),
        TOKEN,
        [P, P, P, S, P, P, P, P, P],
    ),
    "opaque, allowed by review": (
        Allow(WEB, Reason.AUTHENTICATED, BY_REVIEW, ()),
        "opaque",
        [P, S, S, S, P, P, P, P, P],
    ),
    "anonymous": (Allow(None, Reason.ANONYMOUS, NO_EVIDENCE, ()), "", [S, S, S, S, S, S, S, S, P]),
    "no bearer token": (deny(Reason.CREDENTIAL_MALFORMED), "a b", [F, N, N, N, N, N, N, N, N]),
    "malformed": (deny(Reason.TOKEN_MALFORMED), "a.b.c", [P, F, N, N, N, N, N, N, N]),
    "opaque": (deny(Reason.TOKEN_OPAQUE, Evidence("none", "home")), "opaque", [P, F, N, N, N, N, N, N, N]),
    "a type its issuer does not accept": (
        deny(Reason.TYPE_NOT_ACCEPTED, ROUTED),
        TOKEN,
        [P, F, P, N, N, N, N, N, N],
    ),
    "a token that is bound to its sender": (
        deny(Reason.TOKEN_SENDER_CONSTRAINED, ROUTED),
        TOKEN,
        [P, F, P, N, N, N, N, N, N],
    ),
    "unknown issuer": (deny(Reason.ISSUER_UNKNOWN), TOKEN, [P, P, F, N, N, N, N, N, N]),
    "bad algorithm": (deny(Reason.ALGORITHM_NOT_ALLOWED, ROUTED), TOKEN, [P, P, P, F, N, N, N, N, N]),
    "unknown key": (deny(Reason.KEY_UNKNOWN, ROUTED), TOKEN, [P, P, P, F, N, N, N, N, N]),
    "keys unavailable": (
        Unavailable(Reason.KEYS_UNAVAILABLE, "down", 1, ROUTED),
        TOKEN,
        [P, P, P, U, N, N, N, N, N],
    ),
    "a cluster with an unknown issuer": (
        Unavailable(Reason.KEYS_UNAVAILABLE, "not known yet", 1, NO_EVIDENCE),
        TOKEN,
        [P, P, U, N, N, N, N, N, N],
    ),
    "forged": (deny(Reason.SIGNATURE_INVALID, BY_KEY), TOKEN, [P, P, P, P, F, N, N, N, N]),
    "refused by review": (deny(Reason.REVIEW_REJECTED, BY_REVIEW), TOKEN, [P, P, P, S, F, N, N, N, N]),
    "review unavailable": (
        Unavailable(Reason.REVIEW_UNAVAILABLE, "down", 1, BY_REVIEW),
        "opaque",
        [P, S, S, S, U, N, N, N, N],
    ),
    "expired": (deny(Reason.TOKEN_EXPIRED, BY_KEY), TOKEN, [P, P, P, P, P, F, N, N, N]),
    "expired, no key": (deny(Reason.TOKEN_EXPIRED, ROUTED), TOKEN, [P, P, P, S, S, F, N, N, N]),
    "wrong audience": (deny(Reason.AUDIENCE_MISMATCH, BY_KEY), TOKEN, [P, P, P, P, P, P, F, N, N]),
    "wrong audience, no key": (
        deny(Reason.AUDIENCE_MISMATCH, ROUTED),
        TOKEN,
        [P, P, P, S, S, P, F, N, N],
    ),
    "a cluster's token without audience": (
        deny(Reason.AUDIENCE_MISMATCH, Evidence("none", "home")),
        unsigned({"alg": "RS256"}, {"iss": "https://kubernetes.default.svc", "exp": START}),
        [P, P, P, S, S, S, F, N, N],
    ),
    "wrong audience by review": (
        deny(Reason.AUDIENCE_MISMATCH, BY_REVIEW),
        TOKEN,
        [P, P, P, S, P, P, F, N, N],
    ),
    "the policy's audiences": (
        deny(Reason.AUDIENCE_MISMATCH, BY_KEY, JANE),
        TOKEN,
        [P, P, P, P, P, P, F, P, N],
    ),
    "a claim rule": (deny(Reason.CLAIM_RULE_FAILED, BY_KEY), TOKEN, [P, P, P, P, P, P, P, F, N]),
    "not allowed": (deny(Reason.NOT_ALLOWED, BY_KEY, JANE), TOKEN, [P, P, P, P, P, P, P, P, F]),
    "no such policy": (deny(Reason.NO_SUCH_ENDPOINT), TOKEN, [N, N, N, N, N, N, N, N, N]),
}


@pytest.mark.parametrize(("decision", "token", "outcomes"), CASES.values(), ids=CASES.keys())
def test_each_step_has_an_outcome(decision: Decision, token: str, outcomes: list[Outcome]) -> None:
    """A step passed, failed, was not needed, or was not reached."""
    steps = explained(decision, token).steps
    assert [step.step for step in steps] == list(Step)
    assert [step.outcome for step in steps] == outcomes


@pytest.mark.parametrize("reason", [reason for reason in Reason if REASONS[reason].status != 200], ids=str)
def test_every_denial_has_a_remedy(reason: Reason) -> None:
    """The status belongs to the reason, and at most one step has failed."""
    cannot = REASONS[reason].status == 503
    decision = Unavailable(reason, "", 1, BY_KEY) if cannot else deny(reason, BY_KEY)
    explanation = explained(decision)
    info = REASONS[reason]
    assert (explanation.reason, explanation.status) == (reason, info.status)
    assert explanation.remedy
    if reason is not Reason.INTERNAL_ERROR:  # its traceback is in this command's own log, on standard error
        assert not any(
            word in explanation.remedy for word in ("the log", "audit log", "/readyz", "Retry-After")
        )
    failed = [step.step for step in explanation.steps if step.outcome in (F, U)]
    assert failed == ([] if info.step is None else [info.step])


@pytest.mark.parametrize(
    ("decision", "policy", "remedy"),
    [
        (deny(Reason.NOT_ALLOWED, BY_KEY, JANE), POLICY, "add the identity to the policy's allow list"),
        (
            deny(Reason.NOT_ALLOWED, BY_KEY, JANE),
            replace(POLICY, rule="rules[0]: {}"),
            "add the identity to the allow list that applies to this request",
        ),
        (
            deny(Reason.NOT_ALLOWED, BY_KEY, JANE),
            replace(POLICY, allow=None),
            "request a token that meets the policy's conditions, or change them",
        ),
    ],
    ids=["policy", "rule", "role"],
)
def test_the_remedy_names_a_list_that_exists(decision: Decision, policy: KnownPolicy, remedy: str) -> None:
    """A policy with a role has no allow list to extend, and a rule has its own."""
    assert explain(decision, TOKEN, START, (CORP,), policy).remedy == remedy


def test_an_opaque_token_without_a_cluster_gets_no_advice_about_reviews() -> None:
    """There is no cluster whose legacyAudiences could be set."""
    explanation = explain(deny(Reason.TOKEN_OPAQUE), "opaque", START, (CORP,), POLICY)
    assert "legacyAudiences" not in explanation.remedy
    assert "legacyAudiences" in explained(deny(Reason.TOKEN_OPAQUE), "opaque").remedy


@pytest.mark.parametrize(
    "reason", [Reason.SIGNATURE_INVALID, Reason.ISSUER_UNKNOWN, Reason.AUDIENCE_MISMATCH]
)
def test_a_token_for_microsoft_graph_gets_its_own_remedy(reason: Reason) -> None:
    """A new token of the same kind would be rejected, too."""
    decision = Deny(reason, "this token is for Microsoft Graph; request a token for your own API", BY_KEY)
    assert explained(decision).remedy.startswith("request a token for your own API")


@pytest.mark.parametrize("reason", [Reason.NOT_ALLOWED, Reason.IDENTITY_INVALID])
def test_omitted_groups_get_their_own_remedy(reason: Reason) -> None:
    """The policy is right, but the token lacks the groups."""
    decision = Deny(reason, "why", BY_KEY, private=f"rules[0]; {GROUPS_OMITTED}")
    assert explained(decision).remedy.startswith("map app roles instead (claimMappings.groups.claim: roles)")


def test_an_access_review_that_is_not_configured_is_not_shown() -> None:
    """It is not shown as missing, either."""
    assert "access review of 'default'" not in facts(deny(Reason.PATH_AMBIGUOUS, BY_KEY, JANE))


def test_the_key_and_its_origin_are_shown() -> None:
    """The id, type and origin of the key are shown."""
    step = explained(Allow(JANE, Reason.AUTHENTICATED, BY_KEY, ())).steps[3]
    assert step.detail == "kid key-1 (RSA) from https://issuer.example/jwks"


def test_a_key_without_an_id_is_described() -> None:
    """PEM keys have no id."""
    evidence = Evidence("jwks", "corp", KeyInfo("", "EC", "keys.pem"))
    step = explained(Allow(JANE, Reason.AUTHENTICATED, evidence, ())).steps[3]
    assert step.detail == "a key without kid (EC) from keys.pem"


@pytest.mark.parametrize("step", [3, 4, 5], ids=["key", "signature", "time"])
def test_a_review_is_named_as_the_source(step: int) -> None:
    """The cluster is named, too."""
    details = [step.detail for step in explained(Allow(WEB, Reason.AUTHENTICATED, BY_REVIEW, ())).steps]
    assert details[step] == "decided by TokenReview of cluster 'home'"


def test_a_failed_step_has_the_reason_and_the_detail() -> None:
    """The reason's meaning is followed by the detail of the decision."""
    step = explained(Deny(Reason.TOKEN_EXPIRED, "at noon", BY_KEY)).steps[5]
    assert step.detail == "the token has expired: at noon"


def test_an_unknown_issuer_is_compared_with_the_configured_ones() -> None:
    """The nearest one is shown. An additional slash is the usual mistake."""
    token = unsigned({"alg": "RS256"}, claims(iss=ISSUER + "/"))
    assert facts(deny(Reason.ISSUER_UNKNOWN), token) == {
        "the token's iss": (ISSUER + "/",),
        "configured issuers": (ISSUER, "https://kubernetes.default.svc", "the issuer of cluster 'home'"),
        "the most similar": (ISSUER,),
    }


def test_an_issuer_without_a_similar_one_gets_no_suggestion() -> None:
    """A suggestion that is not similar would mislead."""
    token = unsigned({"alg": "RS256"}, claims(iss="x" * 10_000))
    assert "the most similar" not in facts(deny(Reason.ISSUER_UNKNOWN), token)


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (
            deny(Reason.AUDIENCE_MISMATCH, BY_KEY),
            {"the token's aud": (AUDIENCE,), "accepted": (AUDIENCE,)},
        ),
        (
            deny(Reason.AUDIENCE_MISMATCH, BY_KEY, JANE),
            {"the token's aud": (AUDIENCE,), "accepted by policy 'default'": ("shop",)},
        ),
        (
            deny(Reason.TYPE_NOT_ACCEPTED, ROUTED),
            {"the token's typ": ("JWT",), "accepted types": ("JWT",)},
        ),
        (
            deny(Reason.ALGORITHM_NOT_ALLOWED, ROUTED),
            {"the token's alg": ("RS256",), "allowed algorithms": ("RS256",)},
        ),
        (deny(Reason.KEY_UNKNOWN, ROUTED), {"the token's kid": ("key-1",)}),
        (
            deny(Reason.SIGNATURE_INVALID, BY_KEY),
            {"tried": ("kid key-1 (RSA) from https://issuer.example/jwks",)},
        ),
        (
            deny(Reason.TOKEN_EXPIRED, BY_KEY),
            {
                "the token's exp": ("2027-01-15T09:00:00Z, expires in 60 min",),
                "the token's nbf": ("2027-01-15T08:00:00Z, became valid 0 s ago",),
                "the token's iat": ("2027-01-15T08:00:00Z, issued 0 s ago",),
                "now": ("2027-01-15T08:00:00Z",),
            },
        ),
        (deny(Reason.CLAIM_RULE_FAILED, BY_KEY), {"required claims": ("hd = 'example.com'",)}),
        (
            deny(Reason.DENIED, BY_KEY, JANE),
            {
                "issuer": ("corp",),
                "user": ("corp:jane",),
                "groups": ("corp:staff",),
                "deny of 'default'": ('{"groups":["corp:staff"]}',),
            },
        ),
        (
            deny(Reason.NOT_ALLOWED, BY_REVIEW, WEB),
            {
                "issuer": ("home",),
                "user": ("system:serviceaccount:prod:web",),
                "groups": (),
                "service account": ("prod/web",),
                "allow of 'default'": ('{"users":["corp:joe"]}',),
            },
        ),
        (deny(Reason.TOKEN_MALFORMED), {}),
    ],
    ids=[
        "audience", "policy-audience", "type", "algorithm", "kid", "signature", "time", "claim-rule", "denied",
        "not-allowed", "malformed",
    ],
)  # fmt: skip
def test_the_tokens_values_are_shown_with_the_expected_ones(
    decision: Decision, expected: dict[str, tuple[str, ...]]
) -> None:
    """The user can compare them."""
    assert facts(decision) == expected


def test_missing_members_are_shown_as_none() -> None:
    """An empty place could be overlooked."""
    bare = unsigned({"alg": "RS256"}, {"iss": ISSUER})
    assert facts(deny(Reason.KEY_UNKNOWN, ROUTED), bare)["the token's kid"] == ("(none)",)
    assert facts(deny(Reason.AUDIENCE_MISMATCH, BY_KEY), bare)["the token's aud"] == ("(none)",)


def test_an_allowed_identity_is_shown() -> None:
    """An allowed token has facts, too."""
    assert facts(Allow(JANE, Reason.AUTHENTICATED, BY_KEY, ()))["user"] == ("corp:jane",)


@pytest.mark.parametrize(
    ("reason", "place", "text"),
    [
        (Reason.CLAIM_RULE_FAILED, "claimValidationRules[1].expression", "claims.n > 1"),
        (Reason.IDENTITY_INVALID, "claimMappings.username.expression", "claims.name"),
        (Reason.USER_RULE_FAILED, "userValidationRules[0].expression", "user.uid != ''"),
    ],
)
def test_the_expression_that_denied_is_shown(reason: Reason, place: str, text: str) -> None:
    """Its path and its text are shown."""
    decision = Deny(reason, f"{place}: is not true", BY_KEY)

    assert facts(decision) == {place: (text,)}


@pytest.mark.parametrize("reason", [Reason.NOT_ALLOWED, Reason.DENIED, Reason.IDENTITY_INVALID])
def test_a_mapped_claim_that_is_missing_is_named(reason: Reason) -> None:
    """Otherwise a user without groups looks like one whose groups are in another claim."""
    mapped = (
        ("claimMappings.username.claim", "sub"),
        ("claimMappings.groups.claim", "realm_access.roles"),
        ("claimMappings.uid.claim", "/realm_access/id"),
    )
    token = unsigned({"alg": "RS256"}, claims(realm_access={"roles": ["a"]}))
    identity = None if reason is Reason.IDENTITY_INVALID else JANE

    found = explain(deny(reason, BY_KEY, identity), token, START, (replace(CORP, claims=mapped),), POLICY)

    shown = {fact.name: fact.values[0] for fact in found.facts if fact.name.endswith(".claim")}
    assert shown == {
        "claimMappings.groups.claim": "claim 'realm_access.roles' is missing: 'realm_access' is an object; "
        "for its member 'roles' write /realm_access/roles",
        "claimMappings.uid.claim": "claim '/realm_access/id' is missing: 'realm_access' has no member 'id'",
    }


def test_a_client_instead_of_an_audience_is_shown_with_the_setting_for_it() -> None:
    """The token has no `aud`; the fact and the remedy name the claim that it has."""
    bare = unsigned({"alg": "RS256"}, claims(aud=OMIT, client_id="app-1"))
    decision = deny(Reason.AUDIENCE_MISMATCH, BY_KEY)
    assert facts(decision, bare)["the token's client_id"] == ("app-1",)
    assert "gate.audienceClaims: [client_id]" in explained(decision, bare).remedy


LOAD_BALANCER = replace(CORP, by_load_balancer=True)
WITH_ROLES = replace(CORP, claims=(("claimMappings.groups.claim", "/realm_access/roles"),))
STAFF = replace(POLICY, allow=('{"groups":["corp:staff"]}',))
TENANTS = replace(CORP, urls=("https://login.example.com/aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb/v2.0",))


@pytest.mark.parametrize(
    ("reason", "issuer", "changes", "expected"),
    [
        pytest.param(
            Reason.AUDIENCE_MISMATCH,
            CORP,
            {"aud": "web", "typ": "ID"},
            "send the access token",
            id="ID token",
        ),
        pytest.param(
            Reason.CLAIM_RULE_FAILED,
            CORP,
            {"token_use": "id"},
            "send the access token",
            id="Cognito's ID token",
        ),
        pytest.param(
            Reason.AUDIENCE_MISMATCH, CORP, {"typ": "Refresh"}, "this is a refresh token", id="refresh token"
        ),
        pytest.param(
            Reason.AUDIENCE_MISMATCH, CORP, {"aud": "x"}, "request a token for one of", id="another"
        ),
        pytest.param(
            Reason.AUDIENCE_MISMATCH, LOAD_BALANCER, {}, "send X-Amzn-Oidc-Data", id="not the load balancer's"
        ),
        pytest.param(Reason.ALGORITHM_NOT_ALLOWED, CORP, {}, "sign with a key pair", id="HMAC"),
        pytest.param(
            Reason.ISSUER_UNKNOWN,
            TENANTS,
            {"iss": "https://login.example.com/cccccccc-4444-4555-8666-dddddddddddd/v2.0"},
            "add its id to gate.tenants",
            id="another tenant",
        ),
        pytest.param(
            Reason.ISSUER_UNKNOWN,
            TENANTS,
            {"iss": "https://sts.windows.net/aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb/"},
            "requestedAccessTokenVersion",
            id="version 1 of Entra ID",
        ),
        pytest.param(
            Reason.ISSUER_UNKNOWN,
            replace(CORP, urls=("https://id.example.com/realms/shop",)),
            {"iss": "http://keycloak.auth.svc:8080/realms/shop"},
            "KC_HOSTNAME",
            id="internal address",
        ),
        pytest.param(
            Reason.ISSUER_UNKNOWN,
            replace(CORP, urls=("http://adfs.example.com/adfs/services/trust",)),
            {"iss": "https://adfs.example.com/adfs/services/trust"},
            "they must be identical",
            id="another scheme",
        ),
        pytest.param(
            Reason.ISSUER_UNKNOWN, CORP, {"iss": "https://[x"}, "add an entry for it under jwt", id="no URL"
        ),
        pytest.param(
            Reason.ISSUER_UNKNOWN, CORP, {"iss": "kubernetes/serviceaccount"}, "projected volume", id="legacy"
        ),
        pytest.param(
            Reason.ISSUER_UNKNOWN,
            CORP,
            {"iss": "https://x.test"},
            "add an entry for it under jwt",
            id="unlike",
        ),
        pytest.param(
            Reason.CLAIM_MALFORMED, CORP, {"iss": OMIT, "sub": "spiffe://a.org/b"}, "gate.spiffe", id="SPIFFE"
        ),
        pytest.param(
            Reason.CLAIM_MALFORMED, CORP, {"iss": OMIT, "sub": "spiffe://a.org"}, "fix the issuer", id="no ID"
        ),
        pytest.param(Reason.CLAIM_MALFORMED, CORP, {"exp": OMIT}, "fix the issuer", id="another claim"),
        pytest.param(
            Reason.NOT_ALLOWED,
            WITH_ROLES,
            {},
            "write the claim '/realm_access/roles'",
            id="no claim with groups",
        ),
        pytest.param(
            Reason.NOT_ALLOWED,
            WITH_ROLES,
            {"realm_access": {"roles": ["a"]}},
            "give the user a group",
            id="another group",
        ),
    ],
)
def test_the_remedy_follows_the_token(
    reason: Reason, issuer: KnownIssuer, changes: dict[str, object], expected: str
) -> None:
    """The usual remedy would not help these users."""
    token = unsigned({"alg": "HS256", "kid": "key-1"}, claims(changes))
    identity = JANE if reason is Reason.NOT_ALLOWED else None
    found = explain(deny(reason, BY_KEY, identity), token, START, (issuer,), STAFF)
    assert expected in found.remedy
    assert found.remedy in found.summary


@pytest.mark.parametrize(
    ("alg", "size", "expected"),
    [
        ("ES256", 47, "its signature has 47 bytes, but one of ES256 has 64"),
        ("RS256", 250, "its signature has 250 bytes, but one of RS256 has at least 256"),
        ("ES256", 64, "request a new token"),
        ("PS512", 512, "request a new token"),
        ("unknown", 3, "request a new token"),
    ],
)
def test_a_signature_that_was_cut_off_is_recognized(alg: str, size: int, expected: str) -> None:
    """A new token would be cut off again."""
    token = unsigned({"alg": alg}, claims()).rpartition(".")[0] + "." + segment(bytes(size))
    assert expected in explained(deny(Reason.SIGNATURE_INVALID, BY_KEY), token).remedy


def test_omitted_groups_are_no_reason_if_another_claim_is_mapped() -> None:
    """App roles are mapped already, but the user has none."""
    decision = Deny(Reason.NOT_ALLOWED, "policy 'default'", BY_KEY, JANE, private=GROUPS_OMITTED)
    roles = replace(CORP, claims=(("claimMappings.groups.claim", "roles"),))
    assert "write the claim 'roles'" in explain(decision, TOKEN, START, (roles,), STAFF).remedy


def test_a_token_without_an_account_gets_no_advice_about_mappings() -> None:
    """A cluster has no claimMappings."""
    decision = Deny(Reason.IDENTITY_INVALID, "claim 'kubernetes.io' is missing or not an object", BY_KEY)
    assert "ServiceAccount token" in explained(decision).remedy


# The summary


def test_the_summary_has_what_must_be_compared() -> None:
    """A reader of the ticket has neither the token nor the configuration."""
    sentence = "401 audience_mismatch, the token is for a different audience"
    found = explained(Deny(Reason.AUDIENCE_MISMATCH, "", BY_KEY)).summary
    assert f"{sentence} (the token's aud: {AUDIENCE}; accepted: {AUDIENCE}); to change this" in found
    assert f"a token with iss {ISSUER} and sub user-1 under" in found
    many = unsigned({"alg": "RS256"}, claims(aud=[f"a{number}" for number in range(9)]))
    found = explained(Deny(Reason.AUDIENCE_MISMATCH, "", BY_KEY), many).summary
    assert "(the token's aud: a0, a1, a2, a3, a4, …; accepted:" in found


def test_the_summary_is_one_sentence_for_a_ticket() -> None:
    """It has the decision, the user, the reason, and what to do."""
    assert explained(deny(Reason.NOT_ALLOWED, BY_KEY, JANE)).summary == (
        "authgate denies corp:jane of issuer 'corp' under policy 'default': 403 not_allowed, no allow entry of the"
        " policy matches the identity; to change this, add the identity to the policy's allow list."
    )
    assert explained(Allow(JANE, Reason.AUTHENTICATED, BY_KEY, ())).summary == (
        "authgate allows corp:jane of issuer 'corp' under policy 'default': 200 authenticated."
    )


@pytest.mark.parametrize(
    ("decision", "token", "beginning"),
    [
        (
            deny(Reason.TOKEN_EXPIRED, ROUTED),
            TOKEN,
            f"authgate denies a token with iss {ISSUER} and sub user-1 (not verified) under",
        ),
        (
            Unavailable(Reason.KEYS_UNAVAILABLE, "why", 1, ROUTED),
            unsigned({"alg": "RS256"}, claims(iss=OMIT, sub="s" * 300)),
            f"authgate cannot decide about a token with sub {'s' * 200}… (not verified) under",
        ),
        (
            deny(Reason.TOKEN_MALFORMED),
            "hvs.secret",
            "authgate denies a token without readable claims under",
        ),
        (
            Allow(None, Reason.ANONYMOUS, NO_EVIDENCE, ()),
            "",
            "authgate allows a request without a token under",
        ),
    ],
    ids=["not verified", "long", "unreadable", "anonymous"],
)
def test_the_summary_marks_what_is_not_verified(decision: Decision, token: str, beginning: str) -> None:
    """Claims of a token that was not verified are limited in length, and the token itself is left out."""
    assert explained(decision, token).summary.startswith(beginning)


EMPTY = {
    "the address is verified by text": (
        {"email": "a@b", "email_verified": "true"},
        "claim 'email' is not used: 'email_verified' is text, not the value true",
    ),
    "the address is not verified": (
        {"email": "a@b", "email_verified": False},
        "claim 'email' is not used: 'email_verified' is not true",
    ),
    "there is no address": ({}, "claim 'email' is missing"),
    "the address is empty": ({"email": ""}, "claim 'email' is empty"),
    "the address is a number": ({"email": 1}, "claim 'email' is not text that a header can have"),
}


@pytest.mark.parametrize(("changes", "why"), EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("name", ["X-Auth-Request-Email", "Remote-Email"])
def test_an_empty_header_is_explained(name: str, changes: dict[str, object], why: str) -> None:
    """The claims of a verified token show why; no value of a claim is shown."""
    allowed = Allow(JANE, Reason.AUTHENTICATED, BY_KEY, ((name, ""), ("X-Auth-Request-User", "corp:jane")))
    found = facts(allowed, unsigned({"alg": "RS256"}, claims(changes)))
    assert found[f"{name} is empty"] == (why,)
    assert "X-Auth-Request-User is empty" not in found


def test_every_empty_header_of_every_preset_is_explained() -> None:
    """For a user, for a ServiceAccount, and after a TokenReview, whose claims are not used."""
    own = replace(POLICY, headers=(("X-Team", "/team"), ("X-Level", ""), ("X-Mail", "/email")))
    token = unsigned({"alg": "RS256"}, claims(email="a@b", email_verified="true"))
    for preset in PRESETS:
        for identity in (Identity("corp:jane"), WEB):
            for evidence in (BY_KEY, BY_REVIEW):
                headers = HeaderMapper(preset, 16384).map(identity)
                assert isinstance(headers, tuple)
                headers = (*headers, *((name, "") for name, _ in own.headers))
                allowed = Allow(identity, Reason.AUTHENTICATED, evidence, headers)
                found = explain(allowed, token, START, (CORP, HOME), own).facts
                reasons = {fact.name: fact.values[0] for fact in found if fact.name.endswith(" is empty")}
                assert set(reasons) == {f"{name} is empty" for name, value in headers if not value}
                assert "it has no value" not in reasons.values()
                reviewed = evidence is BY_REVIEW
                assert reasons["X-Team is empty"].startswith(
                    "TokenReview" if reviewed else "claim '/team' is missing"
                )
                assert reasons["X-Mail is empty"].startswith(
                    "TokenReview" if reviewed else "claim '/email' is not used"
                )
                assert reasons["X-Level is empty"] == "its expression has no value"


def test_an_anonymous_request_has_no_empty_headers_to_explain() -> None:
    """All of them are empty, because there is no identity."""
    allowed = Allow(None, Reason.ANONYMOUS, NO_EVIDENCE, (("X-Auth-Request-User", ""),))
    assert facts(allowed) == {}
