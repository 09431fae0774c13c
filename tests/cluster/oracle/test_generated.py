"""Configurations drawn from a grammar, and tokens with claims of any JSON type, in a kube-apiserver and in the gate."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st

from tests.support.oracle import Named
from tests.support.oracle_grammar import CLAIMS, ENTRIES, drawn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.oracle import Both, Entry, Oracle

pytestmark = pytest.mark.asyncio(loop_scope="session")

BATCHES = 3
ENTRIES_A_BATCH = 60
TOKENS_AN_ENTRY = 6


Example = tuple["Entry", "list[Mapping[str, object]]"]
"""An entry and the claims of tokens for it."""


def _known(both: Both) -> bool:
    """Whether the only difference is a listed one: the server accepts an empty username."""
    return both.stricter and isinstance(both.server, Named) and both.server.username == ""


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    """Entries with claims for tokens. In a strict run they are always the same."""
    pairs = st.tuples(ENTRIES, st.lists(CLAIMS, min_size=TOKENS_AN_ENTRY, max_size=TOKENS_AN_ENTRY))
    return drawn(pairs, BATCHES * ENTRIES_A_BATCH, same=os.environ.get("AUTHGATE_TEST_STRICT") == "1")


@pytest.mark.parametrize("batch", range(BATCHES))
async def test_generated_configurations_and_tokens_get_the_same_answers(
    oracle: Oracle, examples: list[Example], batch: int
) -> None:
    """Server and gate reject the same entries when they load them. The other entries give the same identities."""
    drawn_now = examples[batch * ENTRIES_A_BATCH :][:ENTRIES_A_BATCH]
    complete = oracle.complete([entry for entry, _ in drawn_now])
    server, gate = await oracle.server_refuses(complete), await oracle.gate_refuses(complete)
    assert {place: complete[place] for place in server.keys() ^ gate.keys()} == {}
    good = [example for place, example in enumerate(drawn_now) if place not in server]
    assert len(good) > ENTRIES_A_BATCH // 2

    await oracle.configure([entry for entry, _ in good])
    shown = [
        (entry, claims, issuer.mint(claims=claims))
        for (entry, tokens), issuer in zip(good, oracle.issuers, strict=True)
        for claims in tokens
    ]
    answers = await asyncio.gather(*(oracle.judge(token) for _, _, token in shown))
    differing = [
        (entry, claims, both)
        for (entry, claims, _), both in zip(shown, answers, strict=True)
        if not both.alike and not _known(both)
    ]
    assert differing == []
    assert sum(isinstance(both.server, Named) for both in answers) > len(answers) // 10, (
        "nearly all are refused"
    )
