"""What the page shows about a gate. Texts of strangers cannot change it, and long lists are cut."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from authgate.errors import REASONS
from authgate.server.admin import Check, Readiness
from authgate.server.admin.history import ReasonHour
from authgate.server.admin.page import MAX_ROWS, reasons_page, status_page
from authgate.server.admin.status import (
    CacheRow,
    ConfigurationDetails,
    KeyRow,
    PolicyRow,
    RuleRow,
    VerifierRow,
)
from authgate.server.recent import RecentDecision
from tests.unit.server.admin.statuses import status_with

HOSTILE = "<script>alert(1)</script>\u202e\ud800\"'" + "k" * 1000


class Reader(HTMLParser):
    """Reads a page: its elements in order, its ids, its links and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.styles: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == [], "elements without an end"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        given = dict(attrs)
        self.ids += [value for key, value in attrs if key == "id" and value]
        self.links += [value for key, value in attrs if key in ("href", "src") and value]
        self.styles += [key for key in given if key == "style" or key.startswith("on")]
        if tag not in ("meta", "link", "wbr", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data


def policy(name: str, **changes: object) -> PolicyRow:
    """Return a policy without rules and requests."""
    given: dict[str, object] = {
        "endpoints": (f"/policies/{name}/verify",),
        "decides": "allow: 1 entry",
        "rules": (),
        "more_rules": 0,
        "allowed": 0,
        "denied": 0,
        "unavailable": 0,
    }
    return PolicyRow(name=name, **{**given, **changes})  # type: ignore[arg-type]


def verifier(name: str, **changes: object) -> VerifierRow:
    """Return an issuer with one key in one process."""
    given: dict[str, object] = {
        "usable": 1,
        "processes": 1,
        "detail": "1 key, fetched 12 s ago",
        "has_keys": True,
        "keys": (KeyRow(kid="a", algorithms=("ES256",), age=7200.0, processes=1),),
        "more_keys": 0,
        "fetched_ago": 12.0,
        "next_fetch_in": 288.0,
    }
    return VerifierRow(name=name, **{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(("ready", "word"), [(True, "ready"), (False, "not ready")])
def test_the_title_says_whether_the_gate_is_ready(ready: bool, word: str) -> None:
    """So does the heading."""
    page = status_page(status_with(readiness=Readiness(ready, ())))
    assert f"<title>authgate: {word}</title>" in page
    assert f">{word}</span>" in page


def test_failed_checks_are_first() -> None:
    """The page shows how many failed, and why."""
    checks = (Check("issuer/a", True, "1 key"), Check("issuer/b", False, "no route to host"))
    read = Reader(status_page(status_with(readiness=Readiness(True, checks))))
    assert "Requests can be decided. 1 check failed." in read.text
    assert "no route to host" in read.text
    assert read.text.index("issuer/b") < read.text.index("issuer/a")


def test_an_issuer_has_its_keys_and_fetches() -> None:
    """Each key has its id, its algorithm and its age."""
    read = Reader(status_page(status_with(verifiers=(verifier("issuer/corp"),))))
    assert "Last successful fetch 12 s ago. Next fetch in 4 min 48 s." in read.text
    assert "aES2562 h" in read.text
    assert "Keys of issuer/corp" in read.text


def test_keys_that_only_some_workers_have_are_marked() -> None:
    """So is an issuer that is usable in some workers only, and a worker that did not answer."""
    row = verifier(
        "issuer/corp",
        usable=1,
        processes=2,
        keys=(KeyRow(kid="b", algorithms=("ES256",), age=1.0, processes=1),),
    )
    read = Reader(status_page(status_with(processes=3, inspected=2, verifiers=(row,))))
    assert "2 of 3 workers answered; the others are not included." in read.text
    assert "usable in 1 of 2 workers" in read.text
    assert "b (in 1 of 2 workers)" in read.text


def test_a_policy_has_its_endpoints_decisions_and_rules() -> None:
    """Decisions that never occurred are left out."""
    rule = RuleRow(index=0, matches="GET /reports/*", decides="allow: 2 entries", decided=5678)
    row = policy("reports", allowed=1234, unavailable=1, rules=(rule,), more_rules=2)
    read = Reader(status_page(status_with(policies=(row, policy("idle")))))
    for shown in (
        "/policies/reports/verify",
        "allow 1,234, unavailable 1",
        "3 rules",
        "rules[0]5,678 requestsGET /reports/*allow: 2 entries",
        "2 more rules",
        "no requests yet",
    ):
        assert shown in read.text


def test_a_chart_has_a_bar_for_each_minute_and_a_text() -> None:
    """The text has the figures for people who cannot see the bars. The reason links to its explanation."""
    hour = ReasonHour("deny", "token_expired", (*[0] * 55, 4, 0, 2, 0, 0))
    page = status_page(status_with(reasons=(hour,)))
    assert 'd="M165 32v-32h2V32zM171 32v-16h2V32z"' in page
    assert (
        'role="img" aria-label="6 decisions token_expired in the last hour; at most 4 in a minute, at 07:57 UTC"'
        in page
    )
    assert "reasons#token_expired" in Reader(page).links


def test_the_configuration_and_the_caches_are_listed() -> None:
    """A rejected file is explained."""
    details = ConfigurationDetails(
        path="/etc/gate.yaml", sha256="cd" * 32, applied_at=1_800_000_030.0, rejected="line 3: unknown field"
    )
    cache = CacheRow(name="verdict", entries=1200, size=3 << 20, hits=9000, misses=7, evictions=0)
    read = Reader(status_page(status_with(configuration=details, workers=2, restarts=1, caches=(cache,))))
    for shown in (
        "/etc/gate.yaml",
        "cd" * 32,
        "2027-01-15T08:00:30Z",
        "line 3: unknown field",
        "2 serving; 1 restart",
        "1,200 entries, 3.0 MiB, 9,000 hits, 7 misses",
    ):
        assert shown in read.text


def test_recent_decisions_have_their_request() -> None:
    """What is unknown is left out. The page shows the latest 100."""
    full = RecentDecision(
        1_800_000_042.0,
        "deny",
        "not_allowed",
        "reports",
        2,
        username="corp:jane",
        issuer="corp",
        method="GET",
        host="app.example",
        path="/reports",
        client="192.0.2.7",
        request_id="abc",
    )
    bare = RecentDecision(1_800_000_041.0, "deny", "no_such_endpoint", "")
    read = Reader(status_page(status_with(recent=(full, bare, *[bare] * 120))))
    assert "08:00:42deny not_allowedpolicy reports rules[2]" in read.text
    assert "corp:janeGET app.example/reportsfrom 192.0.2.7id abc" in read.text
    assert "08:00:41deny no_such_endpoint" in read.text
    assert "22 more decisions" in read.text


def test_without_recent_decisions_there_is_no_section() -> None:
    """An empty one is shown if they are configured."""
    assert "Recent decisions" not in status_page(status_with(recent=None))
    assert "No requests were decided yet." in status_page(status_with(recent=()))


def test_texts_of_strangers_are_only_texts() -> None:
    """Key ids, errors and names come from issuers, files and clients."""
    hostile = status_page(
        status_with(
            readiness=Readiness(False, (Check(HOSTILE, False, HOSTILE),)),
            configuration=ConfigurationDetails(path=HOSTILE, sha256=HOSTILE, rejected=HOSTILE),
            verifiers=(
                verifier(
                    HOSTILE,
                    detail=HOSTILE,
                    keys=(KeyRow(kid=HOSTILE, algorithms=(HOSTILE,), age=None, processes=1),),
                ),
            ),
            policies=(
                policy(
                    HOSTILE,
                    decides=HOSTILE,
                    rules=(RuleRow(index=0, matches=HOSTILE, decides=HOSTILE, decided=0),),
                ),
            ),
            reasons=(ReasonHour("deny", HOSTILE, (1,) * 60),),
            recent=(
                RecentDecision(
                    0.0,
                    "deny",
                    HOSTILE,
                    HOSTILE,
                    username=HOSTILE,
                    issuer=HOSTILE,
                    method=HOSTILE,
                    host=HOSTILE,
                    path=HOSTILE,
                    client=HOSTILE,
                    request_id=HOSTILE,
                ),
            ),
            caches=(CacheRow(name=HOSTILE, entries=1, size=None, hits=0, misses=0, evictions=0),),
        )
    )
    hostile.encode()
    read = Reader(hostile)
    assert "script" not in read.elements
    assert read.styles == []
    assert all(link.startswith(("#", "reasons", "data:,", "./")) for link in read.links)
    assert "\u202e" not in hostile
    assert "k" * 600 not in hostile


def test_long_lists_are_cut_and_counted() -> None:
    """A page stays small whatever a configuration and its issuers contain."""
    checks = tuple(Check(f"issuer/{number}", True, "1 key") for number in range(1000))
    page = status_page(
        status_with(
            readiness=Readiness(True, checks),
            verifiers=(verifier("issuer/0", more_keys=80),),
            more_verifiers=900,
            more_policies=1,
        )
    )
    read = Reader(page)
    for shown in (f"{1000 - MAX_ROWS} more checks", "80 more keys", "900 more issuers", "1 more policy"):
        assert shown in read.text
    assert len(page) < 100_000


def test_the_page_is_a_document_with_an_outline() -> None:
    """Sections are named by their headings, ids are unique, and links within the page lead somewhere."""
    read = Reader(status_page(status_with(verifiers=(verifier("issuer/corp"),), policies=(policy("a"),))))
    assert read.elements.count("h1") == read.elements.count("main") == read.elements.count("nav") == 1
    assert read.elements.count("h2") == read.elements.count("section") == 5
    assert read.elements.count("caption") == read.elements.count("table")
    assert len(set(read.ids)) == len(read.ids)
    assert {link[1:] for link in read.links if link.startswith("#")} <= set(read.ids)


def test_every_reason_is_explained() -> None:
    """Each has an anchor with its code."""
    read = Reader(reasons_page())
    assert read.ids == [reason.value for reason in REASONS]
    for info in REASONS.values():
        assert info.meaning in read.text
        assert info.remedy in read.text
