"""Identities of `jwt` issuers: claim mappings and validation rules, as in kube-apiserver."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from authgate.dev.compact import OMIT
from authgate.errors import Reason
from authgate.model import Identity, JSONValue, Rejected, VerifiedClaims
from authgate.verify.mapped import ClaimRules, PrefixedClaim, RequiredClaim, mapped_identity
from tests.support.tokens import ISSUER, claims

if TYPE_CHECKING:
    from collections.abc import Mapping

SUB = ClaimRules(PrefixedClaim("sub", "corp:"))
EMAIL = ClaimRules(PrefixedClaim("email"))
GROUPS = ClaimRules(PrefixedClaim("sub"), groups=PrefixedClaim("groups"))
PREFIXED_GROUPS = ClaimRules(PrefixedClaim("sub"), groups=PrefixedClaim("groups", "corp:"))
UID = ClaimRules(PrefixedClaim("sub"), uid="oid")
NO_PREFIX = ClaimRules(PrefixedClaim("sub"))
AUTHENTICATED = "system:authenticated"


def mapped(rules: ClaimRules, **changes: object) -> Identity | Rejected:
    """Return the result of the rules for a token with these claims."""
    members = cast("Mapping[str, JSONValue]", claims(**changes))
    return mapped_identity(VerifiedClaims(members), ISSUER, ("my-audience",), rules=rules, issuer_name="corp")


def identity(rules: ClaimRules, **changes: object) -> Identity:
    """Return the identity that the rules give."""
    found = mapped(rules, **changes)
    assert isinstance(found, Identity), found
    return found


def refusal(rules: ClaimRules, **changes: object) -> Rejected:
    """Return the rejection that the rules give."""
    found = mapped(rules, **changes)
    assert isinstance(found, Rejected), found
    return found


def test_claims_become_an_identity() -> None:
    """Username, uid and groups are mapped. The token's id, email and preferred name are added."""
    rules = ClaimRules(PrefixedClaim("sub", "corp:"), groups=PrefixedClaim("groups", "corp:"), uid="oid")

    assert identity(
        rules, groups=["dev"], oid="u-1", jti="t-1", email="a@corp.example", preferred_username="alice"
    ) == Identity(
        username="corp:user-1",
        uid="u-1",
        groups=("corp:dev", AUTHENTICATED),
        extra=(("authentication.kubernetes.io/credential-id", ("JTI=t-1",)),),
        issuer=ISSUER,
        issuer_name="corp",
        audiences=("my-audience",),
        email="a@corp.example",
        preferred_username="alice",
    )


def test_unmapped_claims_are_not_read() -> None:
    """Groups and uid come from the configured claims only, not from claims with the usual names."""
    found = identity(NO_PREFIX, groups=["admin"], uid="0", oid="0")

    assert (found.groups, found.uid) == ((AUTHENTICATED,), "")


def test_no_jwt_issuer_names_a_service_account() -> None:
    """Its users belong to no cluster, whatever their names are."""
    found = identity(
        NO_PREFIX, sub="system:serviceaccount:prod:web", **{"kubernetes.io": {"namespace": "prod"}}
    )

    assert found.username == "system:serviceaccount:prod:web"
    assert found.cluster is None
    assert found.service_account is None


@pytest.mark.parametrize(
    ("rules", "value", "username"),
    [
        pytest.param(SUB, "user-1", "corp:user-1", id="prefix"),
        pytest.param(NO_PREFIX, "user-1", "user-1", id="no prefix"),
        pytest.param(ClaimRules(PrefixedClaim("sub", "-")), "user-1", "-user-1", id="a literal dash"),
        pytest.param(SUB, None, "corp:", id="null with a prefix: the bare prefix"),
        pytest.param(SUB, "", "corp:", id="empty with a prefix"),
        pytest.param(NO_PREFIX, "Jürgen 😀", "Jürgen 😀", id="any language"),
    ],
)
def test_a_username_is_prefix_and_claim(rules: ClaimRules, value: object, username: str) -> None:
    """The prefix is literal. Null counts as empty."""
    assert identity(rules, sub=value).username == username


@pytest.mark.parametrize(
    ("rules", "changes"),
    [
        pytest.param(SUB, {"sub": OMIT}, id="missing"),
        pytest.param(NO_PREFIX, {"sub": None}, id="null without a prefix"),
        pytest.param(NO_PREFIX, {"sub": ""}, id="empty without a prefix"),
        pytest.param(SUB, {"sub": 1}, id="number"),
        pytest.param(SUB, {"sub": True}, id="boolean"),
        pytest.param(SUB, {"sub": ["user-1"]}, id="list"),
        pytest.param(SUB, {"sub": {"name": "user-1"}}, id="object"),
        pytest.param(SUB, {"sub": "a\nb"}, id="newline"),
        pytest.param(SUB, {"sub": "a\x00"}, id="NUL"),
        pytest.param(SUB, {"sub": "a\x9f"}, id="C1 control"),
        pytest.param(SUB, {"sub": "a\udfff"}, id="lone surrogate"),
        pytest.param(EMAIL, {}, id="no email"),
        *(
            pytest.param(EMAIL, {"email": "a@b", "email_verified": value}, id=f"email_verified {value!r}")
            for value in cast("tuple[object, ...]", (False, None, "true", "false", 1, 0, [], {}))
        ),
    ],
)
def test_a_token_without_a_username_is_rejected(rules: ClaimRules, changes: dict[str, object]) -> None:
    """An email that is not verified is not a username."""
    found = refusal(rules, **changes)

    assert found.reason is Reason.IDENTITY_INVALID
    assert isinstance(rules.username, PrefixedClaim)
    assert f"'{rules.username.claim}'" in found.detail


@pytest.mark.parametrize("changes", [{}, {"email_verified": True}], ids=["absent", "true"])
def test_a_verified_email_can_be_the_username(changes: dict[str, object]) -> None:
    """`email_verified` must be missing or exactly true."""
    assert identity(EMAIL, email="a@corp.example", **changes).username == "a@corp.example"


@pytest.mark.parametrize(
    ("rules", "value", "groups"),
    [
        pytest.param(GROUPS, ["a", "b"], ("a", "b"), id="list"),
        pytest.param(GROUPS, "a", ("a",), id="string"),
        pytest.param(GROUPS, "a,b", ("a,b",), id="string with a comma"),
        pytest.param(GROUPS, None, (), id="null"),
        pytest.param(GROUPS, OMIT, (), id="missing"),
        pytest.param(GROUPS, [], (), id="empty list"),
        pytest.param(GROUPS, ["a", None], ("a", ""), id="null in a list"),
        pytest.param(GROUPS, ["b", "a", "b"], ("b", "a", "b"), id="order and repetition"),
        pytest.param(PREFIXED_GROUPS, ["a", "b"], ("corp:a", "corp:b"), id="list with a prefix"),
        pytest.param(PREFIXED_GROUPS, "a", ("corp:a",), id="string with a prefix"),
        pytest.param(PREFIXED_GROUPS, None, (), id="null with a prefix"),
        pytest.param(PREFIXED_GROUPS, [None], ("corp:",), id="null in a list with a prefix"),
        pytest.param(
            PREFIXED_GROUPS, [AUTHENTICATED], (f"corp:{AUTHENTICATED}",), id="a prefixed system group"
        ),
    ],
)
def test_groups_are_a_string_a_list_or_null(
    rules: ClaimRules, value: object, groups: tuple[str, ...]
) -> None:
    """Every user except the anonymous one is also in system:authenticated."""
    assert identity(rules, groups=value).groups == (*groups, AUTHENTICATED)


@pytest.mark.parametrize(
    "value",
    [1, True, {}, {"a": "b"}, ["a", 1], ["a", ["b"]], [{"name": "a"}], ["a\n"], "a\x7f", ["\ud800"]],
    ids=repr,
)
def test_groups_of_other_types_reject_the_token(value: object) -> None:
    """authgate does not guess the groups from a list that it understands only in part."""
    assert refusal(GROUPS, groups=value).reason is Reason.IDENTITY_INVALID


def test_the_group_system_authenticated_is_listed_once() -> None:
    """This holds if the issuer itself names it."""
    assert identity(GROUPS, groups=[AUTHENTICATED, "a"]).groups == (AUTHENTICATED, "a")


def test_system_authenticated_is_not_added_to_system_unauthenticated() -> None:
    """kube-apiserver does not add it either."""
    assert identity(GROUPS, groups=["system:unauthenticated"]).groups == ("system:unauthenticated",)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {"_claim_names": {"groups": "s"}, "_claim_sources": {"s": {}}}, id="with another server"
        ),
        pytest.param({"_claim_names": {}}, id="sources are missing"),
        pytest.param({"_claim_names": None}, id="names are null"),
    ],
)
def test_groups_in_a_distributed_claim_reject_the_token(changes: dict[str, object]) -> None:
    """OpenID Connect Core 1.0, section 5.6.2. authgate sends no request to a server that a token names."""
    assert "distributed claim" in refusal(GROUPS, **changes).detail


TOO_MANY: dict[str, object] = {"_claim_names": {"groups": "s"}, "_claim_sources": {"s": {}}}
ROLES = ClaimRules(PrefixedClaim("sub"), groups=PrefixedClaim("roles"))


@pytest.mark.parametrize(
    ("rules", "changes", "omits"),
    [
        pytest.param(GROUPS, {"hasgroups": True}, True, id="hasgroups"),
        pytest.param(GROUPS, {"hasgroups": "true"}, True, id="hasgroups as text"),
        pytest.param(GROUPS, {"hasgroups": False}, False, id="hasgroups is false"),
        pytest.param(GROUPS, {"hasgroups": True, "groups": []}, False, id="groups are there"),
        pytest.param(GROUPS, {}, False, id="no groups"),
        pytest.param(
            GROUPS, {"_claim_names": {"mail": "s"}, "_claim_sources": {"s": {}}}, False, id="others"
        ),
        pytest.param(ROLES, TOO_MANY, True, id="no roles"),
        pytest.param(ROLES, {**TOO_MANY, "roles": ["a"]}, False, id="roles"),
        pytest.param(ClaimRules(PrefixedClaim("sub")), TOO_MANY, False, id="nothing mapped"),
    ],
)
def test_an_identity_shows_that_groups_were_omitted(
    rules: ClaimRules, changes: dict[str, object], omits: bool
) -> None:
    """If the mapping finds no group in a token of Entra ID with too many groups."""
    assert identity(rules, **changes).omits_groups is omits


def test_a_rejection_for_distributed_groups_says_that_there_are_too_many() -> None:
    """The usual reason for `_claim_names` with groups."""
    assert refusal(GROUPS, **TOO_MANY).detail == (
        "claim 'groups' is a distributed claim ('_claim_names'), which authgate does not fetch: the user is in too many"
        " groups, so the issuer left them out of the token"
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"_claim_names": {"groups": "s"}, "groups": ["a"]}, id="they are here, too"),
        pytest.param(
            {"_claim_names": {"mail": "s"}, "_claim_sources": {"s": {}}, "groups": ["a"]}, id="others"
        ),
    ],
)
def test_groups_in_the_token_are_used_if_other_claims_are_distributed(changes: dict[str, object]) -> None:
    """Only a distributed groups claim rejects the token."""
    assert identity(GROUPS, **changes).groups == ("a", AUTHENTICATED)


def test_the_anonymous_user_is_not_authenticated() -> None:
    """TokenReview does not add the group to system:anonymous, either."""
    assert identity(GROUPS, sub="system:anonymous", groups=["a"]).groups == ("a",)


@pytest.mark.parametrize(
    ("value", "uid"), [("u-1", "u-1"), ("", ""), (None, "")], ids=["text", "empty", "null"]
)
def test_a_uid_is_a_string_or_null(value: object, uid: str) -> None:
    """Null counts as empty."""
    assert identity(UID, oid=value).uid == uid


@pytest.mark.parametrize("value", [OMIT, 1, True, [], ["u"], {}, "u\n"], ids=repr)
def test_a_uid_that_is_missing_or_mistyped_rejects_the_token(value: object) -> None:
    """A configured claim is required."""
    found = refusal(UID, oid=value)

    assert found.reason is Reason.IDENTITY_INVALID
    assert "'oid'" in found.detail


@pytest.mark.parametrize("verified", [False, None, "true"], ids=repr)
@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(ClaimRules(PrefixedClaim("sub"), uid="email"), id="uid"),
        pytest.param(ClaimRules(PrefixedClaim("sub"), groups=PrefixedClaim("email")), id="groups"),
    ],
)
def test_an_unverified_email_is_neither_uid_nor_group(rules: ClaimRules, verified: object) -> None:
    """kube-apiserver does not check this."""
    assert refusal(rules, email="a@b", email_verified=verified).reason is Reason.IDENTITY_INVALID


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        pytest.param(RequiredClaim("hd", "corp"), "corp", id="the value"),
        pytest.param(RequiredClaim("hd", ""), "", id="empty"),
        pytest.param(RequiredClaim("hd", ""), None, id="empty, by null"),
    ],
)
def test_a_required_claim_with_its_value_is_accepted(rule: RequiredClaim, value: object) -> None:
    """The comparison is exact. Null counts as empty."""
    assert isinstance(mapped(ClaimRules(PrefixedClaim("sub"), required=(rule,)), hd=value), Identity)


@pytest.mark.parametrize("required", ["corp", ""], ids=["a value", "empty"])
@pytest.mark.parametrize(
    "value", [OMIT, "Corp", "corp ", "other", 0, False, True, 1, ["corp"], [], {}], ids=repr
)
def test_a_required_claim_with_another_value_rejects_the_token(required: str, value: object) -> None:
    """The claim differs in case or type, or is missing. The detail does not contain its value."""
    rules = ClaimRules(PrefixedClaim("sub"), required=(RequiredClaim("hd", required),))

    assert refusal(rules, hd=value) == Rejected(
        Reason.CLAIM_RULE_FAILED, "claim 'hd' does not have the required value"
    )


def test_null_equals_only_an_empty_required_value() -> None:
    """A rule with a non-empty value rejects null."""
    rules = ClaimRules(PrefixedClaim("sub"), required=(RequiredClaim("hd", "corp"),))

    assert refusal(rules, hd=None).reason is Reason.CLAIM_RULE_FAILED


def test_all_rules_are_required() -> None:
    """They are checked before any mapping."""
    rules = ClaimRules(PrefixedClaim("sub"), required=(RequiredClaim("a", "1"), RequiredClaim("b", "2")))

    assert isinstance(mapped(rules, a="1", b="2"), Identity)
    assert "'b'" in refusal(rules, a="1", b="3", sub=OMIT).detail


@pytest.mark.parametrize(
    ("changes", "email"),
    [
        ({"email": "a@b"}, "a@b"),
        ({"email": "a@b", "email_verified": True}, "a@b"),
        ({"email": "a@b", "email_verified": False}, ""),
        ({"email": "a@b", "email_verified": None}, ""),
        ({"email": "a@b", "email_verified": "true"}, ""),
        ({"email": "a@b", "email_verified": 1}, ""),
        ({"email": "a@b\n"}, ""),
        ({"email": "\ud800"}, ""),
        ({"email": 1}, ""),
        ({}, ""),
    ],
    ids=repr,
)
def test_an_informational_email_is_left_out_if_it_is_not_valid(
    changes: dict[str, object], email: str
) -> None:
    """No decision uses it, so it does not reject the token."""
    assert identity(NO_PREFIX, **changes).email == email


@pytest.mark.parametrize(
    ("value", "name"), [("alice", "alice"), (OMIT, ""), (None, ""), (1, ""), ("a\r", "")], ids=repr
)
def test_an_informational_preferred_name_is_left_out_if_it_is_not_valid(value: object, name: str) -> None:
    """No decision uses it, so it does not reject the token."""
    assert identity(NO_PREFIX, preferred_username=value).preferred_username == name


@pytest.mark.parametrize(
    ("jti", "extra"),
    [
        pytest.param("t-1", (("authentication.kubernetes.io/credential-id", ("JTI=t-1",)),), id="text"),
        pytest.param("", (), id="empty"),
        pytest.param(None, (), id="null"),
        pytest.param(OMIT, (), id="missing"),
    ],
)
def test_the_token_id_becomes_the_credential_id(jti: object, extra: tuple[object, ...]) -> None:
    """kube-apiserver does the same since it has credential ids."""
    assert identity(NO_PREFIX, jti=jti).extra == extra


def test_a_token_id_that_no_header_can_contain_rejects_the_token() -> None:
    """It would be part of X-Remote-Extra."""
    assert refusal(NO_PREFIX, jti="a\r\nX-Remote-User: admin").reason is Reason.IDENTITY_INVALID


REALM = ClaimRules(
    PrefixedClaim("/profile/name", "corp:"), groups=PrefixedClaim("/realm_access/roles", "r:"), uid="/ids/0"
)
NESTED: dict[str, object] = {
    "profile": {"name": "jane"},
    "realm_access": {"roles": ["a", "b"]},
    "ids": ["u-1"],
}


def test_json_pointers_name_nested_claims() -> None:
    """This works for username, groups and uid."""
    found = identity(REALM, **NESTED)

    assert (found.username, found.groups, found.uid) == ("corp:jane", ("r:a", "r:b", AUTHENTICATED), "u-1")


def test_a_name_with_dots_is_a_plain_claim_name() -> None:
    """Only names that start with a slash are pointers."""
    found = identity(
        ClaimRules(PrefixedClaim("https://example.com/user.name")),
        **{"https://example.com/user.name": "jane"},
    )

    assert found.username == "jane"


@pytest.mark.parametrize(
    ("claim", "value", "why"),
    [
        (
            "realm.name",
            {"name": "jane"},
            "'realm' is an object; for its member 'name' write /realm/name",
        ),
        ("/realm/name", {}, "'realm' has no member 'name'"),
        ("/realm/name", {"name": None}, ""),
        ("/realm/name", "jane", "'realm' is a string, and has no member 'name'"),
        ("/realm/name", None, "'realm' is null, and has no member 'name'"),
        ("/realm/name", ["jane"], "'realm' is a list of 1, and has no member 'name'"),
        ("/realm/name", {"name": {}}, "claim '/realm/name' is an object, not a string"),
        ("/realm/name/first", {"name": {}}, "'/realm/name' has no member 'first'"),
        ("/other/name", {}, "claim '/other/name', the username, is missing"),
    ],
)
def test_the_detail_names_the_missing_member_and_the_existing_ones(
    claim: str, value: object, why: str
) -> None:
    """It does not contain the value of a claim."""
    found = refusal(ClaimRules(PrefixedClaim(claim)), realm=value)

    assert found.reason is Reason.IDENTITY_INVALID
    assert why in found.detail
    assert "jane" not in found.detail


def test_a_required_claim_may_be_nested() -> None:
    """The token is accepted with the required value, and rejected without it."""
    rules = ClaimRules(PrefixedClaim("sub"), required=(RequiredClaim("/org/id", "corp"),))

    assert identity(rules, org={"id": "corp"}).username == "user-1"
    for org in ({"id": "other"}, {}, "corp", ["corp"], OMIT):
        assert refusal(rules, org=org).reason is Reason.CLAIM_RULE_FAILED
    assert "'org' has no member 'id'" in refusal(rules, org={}).detail


@pytest.mark.parametrize(
    "value", [OMIT, None, {}, {"roles": None}], ids=["no", "null", "empty", "null below"]
)
def test_nested_groups_may_be_missing(value: object) -> None:
    """A user may have no groups."""
    rules = ClaimRules(PrefixedClaim("sub"), groups=PrefixedClaim("/realm_access/roles"))

    assert identity(rules, realm_access=value).groups == (AUTHENTICATED,)


def test_a_value_instead_of_an_object_rejects_nested_groups() -> None:
    """Otherwise a deny list could miss groups in another structure."""
    rules = ClaimRules(PrefixedClaim("sub"), groups=PrefixedClaim("/realm_access/roles"))

    assert "'realm_access' is a string" in refusal(rules, realm_access="admin").detail


def test_a_pointer_to_an_unverified_email_is_rejected_as_the_claim_is() -> None:
    """The notation of the claim makes no difference."""
    rules = ClaimRules(PrefixedClaim("/email"))

    assert identity(rules, email="a@corp.example", email_verified=True).username == "a@corp.example"
    assert "not verified" in refusal(rules, email="a@corp.example", email_verified=False).detail


def test_nested_groups_in_a_distributed_claim_reject_the_token() -> None:
    """The first member of the pointer is the claim."""
    rules = ClaimRules(PrefixedClaim("sub"), groups=PrefixedClaim("/groups/0"))

    assert "distributed claim" in refusal(rules, _claim_names={"groups": "src"}, _claim_sources={}).detail
