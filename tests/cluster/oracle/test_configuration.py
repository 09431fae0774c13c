"""The gate rejects the configurations that a kube-apiserver rejects, and names the same field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from tests.support.oracle import Entry, Oracle

pytestmark = pytest.mark.asyncio(loop_scope="session")

SUB = {"claim": "sub", "prefix": ""}


def issuer(**changes: Any) -> dict[str, Any]:
    """A valid entry with another issuer."""
    return {"issuer": changes, "claimMappings": {"username": SUB}}


def mappings(**changes: Any) -> dict[str, Any]:
    """A valid entry with other mappings."""
    return {"claimMappings": {"username": SUB, **changes}}


def rules(*entries: dict[str, Any]) -> dict[str, Any]:
    """A valid entry with other rules over claims."""
    return {**mappings(), "claimValidationRules": list(entries)}


def user_rules(*entries: dict[str, Any]) -> dict[str, Any]:
    """A valid entry with other rules over the user."""
    return {**mappings(), "userValidationRules": list(entries)}


def extra(*entries: tuple[str, str]) -> dict[str, Any]:
    """A valid entry with other mappings to extra."""
    return mappings(extra=[{"key": key, "valueExpression": value} for key, value in entries])


REFUSED: dict[str, Entry] = {
    "url empty": issuer(url=""),
    "url of http": issuer(url="http://issuer.example"),
    "url of ftp": issuer(url="ftp://issuer.example"),
    "url without a scheme": issuer(url="issuer.example"),
    "url with a user": issuer(url="https://jane@issuer.example"),
    "url with a query": issuer(url="https://issuer.example/?a=b"),
    "url with a fragment": issuer(url="https://issuer.example/#a"),
    "url with an open bracket": issuer(url="https://[::1"),
    "url with a line break": issuer(url="https://issuer.example/\n"),
    "discoveryURL of http": issuer(discoveryURL="http://issuer.example"),
    "discoveryURL with a query": issuer(discoveryURL="https://issuer.example/?a"),
    "discoveryURL with a user": issuer(discoveryURL="https://a:b@issuer.example/"),
    "discoveryURL is the url": issuer(url="https://a.example/b", discoveryURL="https://a.example/b/"),
    "no audience": issuer(audiences=[]),
    "an empty audience": issuer(audiences=[""]),
    "an audience twice": issuer(audiences=["a", "a"], audienceMatchPolicy="MatchAny"),
    "two audiences and no policy": issuer(audiences=["a", "b"]),
    "another policy": issuer(audiences=["a"], audienceMatchPolicy="MatchAll"),
    "another policy for two": issuer(audiences=["a", "b"], audienceMatchPolicy="MatchAll"),
    "no certificates": issuer(certificateAuthority="certificates"),
    "an unknown selector": issuer(egressSelectorType="nowhere"),
    "rule: claim and expression": rules({"claim": "a", "requiredValue": "b", "expression": "true"}),
    "rule: neither": rules({"message": "m"}),
    "rule: a message beside a claim": rules({"claim": "a", "requiredValue": "b", "message": "m"}),
    "rule: a value beside an expression": rules({"expression": "has(claims.a)", "requiredValue": "b"}),
    "rule: a claim twice": rules({"claim": "a", "requiredValue": "b"}, {"claim": "a", "requiredValue": "c"}),
    "rule: an expression twice": rules({"expression": "has(claims.a)"}, {"expression": "has(claims.a)"}),
    "rule: bad syntax": rules({"expression": "claims.a =="}),
    "rule: no bool": rules({"expression": "claims.a"}),
    "username: empty": {"claimMappings": {"username": {}}},
    "username: claim and expression": mappings(
        username={"claim": "a", "prefix": "", "expression": "claims.a"}
    ),
    "username: no prefix": mappings(username={"claim": "a"}),
    "username: a prefix beside an expression": mappings(username={"expression": "claims.a", "prefix": ""}),
    "username: an email that nobody verified": mappings(username={"expression": "claims.email"}),
    "username: an optional email": mappings(username={"expression": "claims.?email.orValue('')"}),
    "groups: claim and expression": mappings(groups={"claim": "a", "prefix": "", "expression": "claims.a"}),
    "groups: no prefix": mappings(groups={"claim": "a"}),
    "groups: a prefix beside an expression": mappings(groups={"expression": "claims.a", "prefix": "x"}),
    "uid: claim and expression": mappings(uid={"claim": "a", "expression": "claims.a"}),
    "extra: no domain": extra(("role", "claims.a")),
    "extra: no path": extra(("example.com/", "claims.a")),
    "extra: no key": extra(("", "claims.a")),
    "extra: capital letters": extra(("example.com/Role", "claims.a")),
    "extra: a bad domain": extra(("example_com/role", "claims.a")),
    "extra: a character that no path has": extra(("example.com/a b", "claims.a")),
    "extra: of kubernetes.io": extra(("kubernetes.io/role", "claims.a")),
    "extra: below kubernetes.io": extra(("sub.kubernetes.io/role", "claims.a")),
    "extra: of k8s.io": extra(("k8s.io/role", "claims.a")),
    "extra: below k8s.io": extra(("x.k8s.io/role", "claims.a")),
    "extra: a key twice": extra(("example.com/a", "claims.a"), ("example.com/a", "claims.b")),
    "extra: no expression": extra(("example.com/a", "")),
    "user rule: empty": user_rules({"message": "m"}),
    "user rule: twice": user_rules({"expression": "user.uid != ''"}, {"expression": "user.uid != ''"}),
    "user rule: no bool": user_rules({"expression": "user.username"}),
    "user rule: over claims": user_rules({"expression": "claims.a == 'b'"}),
    "user rule: an unknown field": user_rules({"expression": "user.name == 'jane'"}),
}
"""Entries that both reject, at most as many as one file may have."""

TAKEN: dict[str, Entry] = {
    "issuer: a match policy for one audience": issuer(audienceMatchPolicy="MatchAny"),
    "issuer: null for what is not given": issuer(
        discoveryURL=None, audienceMatchPolicy=None, egressSelectorType=None
    ),
    "issuer: texts that are empty": issuer(discoveryURL="", audienceMatchPolicy="", egressSelectorType=""),
    "issuer: no authority": issuer(certificateAuthority=""),
    "issuer: a slash at the end": issuer(url="https://issuer.example/"),
    "issuer: capital letters": issuer(url="https://Issuer.Example/Path"),
    "issuer: a port": issuer(url="https://issuer.example:8443"),
    "username: no text": mappings(username={"expression": "claims.a == 'b'"}),
    "groups: numbers": mappings(groups={"expression": "[1]"}),
    "uid: no text": mappings(uid={"expression": "1"}),
    "extra: no text": extra(("example.com/a", "1.5")),
    "issuer: documents elsewhere": issuer(
        discoveryURL="https://elsewhere.example/.well-known/openid-configuration"
    ),
    "rules: none": {**mappings(), "claimValidationRules": [], "userValidationRules": []},
    "rules: null": {**mappings(), "claimValidationRules": None, "userValidationRules": None},
    "rule: no value": rules({"claim": "a"}),
    "rule: an empty value": rules({"claim": "a", "requiredValue": ""}),
    "rule: texts that are empty": rules(
        {"claim": "a", "requiredValue": "b", "message": "", "expression": ""}
    ),
    "rule: no message": rules({"expression": "has(claims.a)"}),
    "groups: empty": mappings(groups={}),
    "groups: null": mappings(groups=None),
    "groups: a prefix for nothing": mappings(groups={"prefix": "g:"}),
    "groups: one text": mappings(groups={"expression": "claims.a"}),
    "uid: empty": mappings(uid={}),
    "uid: texts that are empty": mappings(uid={"claim": "", "expression": ""}),
    "extra: none": mappings(extra=[]),
    "extra: two": extra(("example.com/a", "claims.a"), ("example.com/b", "claims.a")),
    "extra: a long path": extra(("example.com/a/b/c", "claims.a")),
    "extra: not quite of kubernetes.io": extra(("notkubernetes.io/a", "claims.a")),
    "username: a verified email": mappings(
        username={"expression": "claims.email_verified ? claims.email : claims.sub"}
    ),
    "username: an email in brackets": mappings(username={"expression": "claims['email']"}),
    "username: an email that a rule holds": {
        **mappings(username={"expression": "claims.email"}),
        "claimValidationRules": [{"expression": "claims.?email_verified.orValue(true) == true"}],
    },
    "username: an email in extra": mappings(
        username={"expression": "claims.email"},
        extra=[{"key": "example.com/v", "valueExpression": "string(claims.email_verified)"}],
    ),
}
"""Entries that both accept."""

STRICTER: dict[str, Entry] = {
    "`egressSelectorType`": issuer(egressSelectorType="cluster"),
    "a `claim` that begins with `/` and is not a JSON pointer": mappings(
        username={"claim": "/a~b", "prefix": ""}
    ),
    "a URL that ends in `?`": issuer(url="https://empty.example?"),
    "an expression over 10,000 characters": rules({"expression": f"claims.a == '{'x' * 10_000}'"}),
}
"""Entries that only the gate rejects, in the words of docs/kubernetes-parity.md."""

WIDER: dict[str, Entry] = {"rejects `http://` issuers": issuer(url="http://127.0.0.1:8000")}
"""Entries that only the server rejects, in the words of docs/kubernetes-parity.md."""

MALFORMED: dict[str, tuple[Entry, str]] = {
    "an unknown field": ({**mappings(), "colour": "red"}, "colour"),
    "an unknown field of the issuer": (issuer(colour="red"), "issuer.colour"),
    "an unknown field of the mappings": (mappings(colour={"claim": "c"}), "claimMappings.colour"),
    "an unknown field of a rule": (rules({"claim": "a", "colour": "red"}), "claimValidationRules[0].colour"),
    "a field in another case": (issuer(DiscoveryURL="https://a.example"), "issuer.DiscoveryURL"),
    "the gate's own field elsewhere": (mappings(gate={}), "claimMappings.gate"),
    "a number for a URL": (issuer(discoveryURL=1), "issuer.discoveryURL"),
    "one text for audiences": (issuer(audiences="a"), "issuer.audiences"),
    "a number among audiences": (issuer(audiences=[1]), "issuer.audiences[0]"),
    "a list for mappings": ({"claimMappings": []}, "claimMappings"),
    "a text for a mapping": (mappings(username="sub"), "claimMappings.username"),
    "true for a prefix": (mappings(username={"claim": "a", "prefix": True}), "claimMappings.username.prefix"),
    "true for a required value": (
        rules({"claim": "a", "requiredValue": True}),
        "claimValidationRules[0].requiredValue",
    ),
    "a number for an expression": (user_rules({"expression": 1}), "userValidationRules[0].expression"),
    "an entry for a list of rules": ({**mappings(), "userValidationRules": {}}, "userValidationRules"),
}
"""Entries of another format, and the field. The server stops at the first one and rejects the file."""

Found = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
"""The fields with errors for the server and the gate, by the names of the entries."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def found(oracle: Oracle) -> Found:
    """The answers of the server and the gate for each entry."""
    results: Found = {}
    for table in (REFUSED, {**TAKEN, **STRICTER, **WIDER}):
        entries = oracle.complete(list(table.values()))
        server, gate = await oracle.server_refuses(entries), await oracle.gate_refuses(entries)
        results |= {name: (server.get(at, ()), gate.get(at, ())) for at, name in enumerate(table)}
    return results


def _leads_to(path: str, field: str) -> bool:
    """Whether a path is that of a field, of a missing member in it, or of its list."""
    return (
        path == field
        or path.startswith(f"{field}.")
        or re.fullmatch(re.escape(path) + r"\[\d+\]", field) is not None
    )


@pytest.mark.parametrize("name", REFUSED)
async def test_both_reject_the_same_field(found: Found, name: str) -> None:
    """The gate names every field that the server names."""
    server, gate = found[name]
    assert server
    assert [field for field in server if not any(_leads_to(path, field) for path in gate)] == [], gate


@pytest.mark.parametrize("name", TAKEN)
async def test_both_accept_it(found: Found, name: str) -> None:
    """The entry is unusual but valid."""
    assert found[name] == ((), ())


@pytest.mark.parametrize("name", STRICTER)
async def test_only_the_gate_rejects(found: Found, name: str) -> None:
    """A known difference."""
    server, gate = found[name]
    assert server == ()
    assert gate


@pytest.mark.parametrize("name", WIDER)
async def test_only_the_server_rejects(found: Found, name: str) -> None:
    """A known difference."""
    server, gate = found[name]
    assert server
    assert gate == ()


@pytest.mark.parametrize("name", MALFORMED)
async def test_both_reject_an_entry_of_another_format(oracle: Oracle, name: str) -> None:
    """Unknown fields and wrong types are named, or located as by the server's decoder."""
    entry, field = MALFORMED[name]
    entries = oracle.complete([entry])
    error = await oracle.load_error(entries)
    place = re.sub(r"\[\d+\]", "", field)
    assert f'unknown field "jwt[0].{field}"' in error or f".jwt.{place} of type" in error
    assert (await oracle.gate_refuses(entries))[0][0] == field
