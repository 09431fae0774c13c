"""The gate loads the same expressions as a kube-apiserver, except for the listed ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import yaml

from tests.support.oracle import MAX_ENTRIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.oracle import Oracle

pytestmark = pytest.mark.asyncio(loop_scope="session")

RULES: Any = yaml.safe_load((Path(__file__).parent / "rules.yaml").read_text())
ABOUT_CLAIMS: list[str] = [rule for rules in RULES["claims"].values() for rule in rules]
ABOUT_USERS: list[str] = RULES["user"]
ONLY_THE_SERVER: dict[str, list[str]] = RULES["onlyTheServer"]

Taken = dict[tuple[str, str], tuple[bool, bool]]
"""Whether the server and the gate accept a rule, by the rule and its subject."""


async def _taken(oracle: Oracle, about: str, rules: Sequence[str]) -> Taken:
    field = "userValidationRules" if about == "user" else "claimValidationRules"
    results: Taken = {}
    for start in range(0, len(rules), MAX_ENTRIES):
        batch = rules[start : start + MAX_ENTRIES]
        by_sub = {"claimMappings": {"username": {"claim": "sub", "prefix": ""}}}
        entries = oracle.complete([{**by_sub, field: [{"expression": rule}]} for rule in batch])
        server, gate = await oracle.server_refuses(entries), await oracle.gate_refuses(entries)
        results |= {
            (about, rule): (place not in server, place not in gate) for place, rule in enumerate(batch)
        }
    return results


def _about(rule: str) -> str:
    return "user" if "user" in rule else "claims"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def taken(oracle: Oracle) -> Taken:
    """Whether the server and the gate accept each rule."""
    rules: dict[str, list[str]] = {"claims": [*ABOUT_CLAIMS], "user": [*ABOUT_USERS]}
    for known in ONLY_THE_SERVER.values():
        for rule in known:
            rules[_about(rule)].append(rule)
    return await _taken(oracle, "claims", rules["claims"]) | await _taken(oracle, "user", rules["user"])


@pytest.mark.parametrize("rule", ABOUT_CLAIMS)
async def test_server_and_gate_accept_the_same_claim_rules(taken: Taken, rule: str) -> None:
    """Types, names, literals and functions have the same meaning as for the server."""
    server, gate = taken["claims", rule]
    assert server == gate


@pytest.mark.parametrize("rule", ABOUT_USERS)
async def test_server_and_gate_accept_the_same_user_rules(taken: Taken, rule: str) -> None:
    """`user` has the same fields of the same types."""
    server, gate = taken["user", rule]
    assert server == gate


@pytest.mark.parametrize("words", ONLY_THE_SERVER)
async def test_only_the_server_accepts_it(taken: Taken, words: str) -> None:
    """This is a known difference: the gate rejects the expression when it loads it, with a message."""
    rules = ONLY_THE_SERVER[words]
    assert {rule: taken[_about(rule), rule] for rule in rules} == dict.fromkeys(rules, (True, False))
