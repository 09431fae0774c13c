"""The page for people, rendered on the server: no script, no form, and nothing from elsewhere."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Final

from authgate import __version__
from authgate.errors import REASONS, Reason
from authgate.server.admin.history import MINUTES
from authgate.server.admin.html import Html, element, text, together
from authgate.text import counted
from authgate.timestamps import date

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from authgate.server.admin.history import ReasonHour
    from authgate.server.admin.status import (
        CacheRow,
        Check,
        ConfigurationDetails,
        GateStatus,
        KeyRow,
        PolicyRow,
        RuleRow,
        VerifierRow,
    )
    from authgate.server.recent import RecentDecision

MAX_ROWS: Final = 100
"""The most checks, verifiers, policies and recent decisions that are listed. More are counted."""
MAX_RULES: Final = 20
"""The most rules of a policy that are listed."""

_STYLE: Final = (
    Path(__file__).with_name("page.css").read_text("utf-8")
)  # importlib.resources loads zipfile: 0.4 MB
_STYLE_HASH: Final = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "authgate",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""The headers of every page. The policy allows the one style sheet by its hash, and the empty icon."""

_CODES: Final = frozenset(reason.value for reason in Reason)
_COLOURS: Final = {"allow": "good", "deny": "bad", "unavailable": "wait"}
_BAR, _HEIGHT = 3, 32  # units of a chart


def status_page(status: GateStatus) -> str:
    """Return the page about a gate."""
    ready = status.readiness.ready
    sections = [
        ("state", "State", _state(status)),
        ("decisions", "Decisions of the last hour", _decisions(status)),
        *([] if status.recent is None else [("recent", "Recent decisions", _recent(status.recent))]),
        ("issuers", "Issuers and clusters", _verifiers(status)),
        ("policies", "Policies", _policies(status)),
        ("process", "Configuration, workers and caches", _process(status)),
    ]
    links = [element("li", element("a", title, href=f"#{name}")) for name, title, _ in sections]
    links.append(element("li", element("a", "Reason codes", href="reasons")))
    header = element(
        "header",
        element("h1", "authgate"),
        element("span", "ready" if ready else "not ready", class_=f"state {'good' if ready else 'bad'}"),
        element("span", f"version {__version__}, {date(status.now)}", class_="quiet"),
    )
    return _document(
        f"authgate: {'ready' if ready else 'not ready'}",
        element("a", "Skip to the content", href="#state", class_="skip"),
        header,
        element("nav", element("ul", *links), aria_label="Sections"),
        element("main", *(_section(name, title, body) for name, title, body in sections)),
    )


def reasons_page() -> str:
    """Return the page with the meaning and the remedy of every reason code."""
    entries = [
        element(
            "section",
            element("h2", element("code", reason.value), id=reason.value),
            element("p", f"{_answer(info.status)}: {info.meaning}"),
            *([element("p", f"What to do: {info.remedy}", class_="quiet")] if info.remedy else []),
            aria_labelledby=reason.value,
        )
        for reason, info in REASONS.items()
    ]
    header = element("header", element("h1", "Reason codes"), element("a", "Back to the status", href="./"))
    return _document("authgate: reason codes", header, element("main", *entries))


def _answer(status: int) -> str:
    outcome = {200: "allow", 503: "unavailable"}.get(status, "deny")
    return f"{outcome} ({status})"


def _document(title: str, *body: str) -> str:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="robots", content="noindex"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Html(_STYLE)),
    )
    return f"<!doctype html>{element('html', head, element('body', *body), lang='en')}"


def _section(name: str, title: str, body: Html) -> Html:
    return element("section", element("h2", title, id=name), body, aria_labelledby=name)


def _state(status: GateStatus) -> Html:
    checks = sorted(status.readiness.checks, key=lambda check: check.good)
    failed = sum(not check.good for check in checks)
    sentence = "Requests can be decided." if status.readiness.ready else "Requests cannot be decided now."
    if failed:
        sentence += f" {counted(failed, 'check')} failed."
    rows = [_check(check) for check in checks[:MAX_ROWS]]
    return together(
        element("p", sentence),
        _table("Checks of /readyz, failed ones first", ("Check", "Result", "Detail"), rows),
        _more(len(checks) - len(rows), "check"),
    )


def _check(check: Check) -> Html:
    result = element("span", "ok" if check.good else "failed", class_=f"state {_colour(check.good)}")
    return _row(_breakable(check.name), element("td", result), element("td", check.detail, class_="long"))


def _breakable(name: str) -> Html:
    """Return a name that can be broken behind a slash."""
    first, *parts = name.split("/")
    return together(first, *(piece for part in parts for piece in ("/", element("wbr"), part)))


def _decisions(status: GateStatus) -> Html:
    minutes = int((status.now - status.started_at) // 60) + 1
    since = "" if minutes >= MINUTES else f" authgate started {_span(status.now - status.started_at)} ago."
    if not status.reasons:
        return element("p", f"No requests were decided in the last hour.{since}")
    cards = [_chart(hour, status.now) for hour in status.reasons]
    return together(
        element(
            "p",
            f"Each bar is one minute; now is on the right. The highest bar fills the height of its chart.{since}",
            class_="quiet",
        ),
        element("ul", *cards, class_="cards"),
    )


def _chart(hour: ReasonHour, now: float) -> Html:
    highest = max(hour.counts)
    at = date(now - 60 * (len(hour.counts) - 1 - hour.counts.index(highest)))[11:16]
    bars = "".join(
        f"M{place * _BAR} {_HEIGHT}v-{max(1, round(count / highest * _HEIGHT))}h{_BAR - 1}V{_HEIGHT}z"
        for place, count in enumerate(hour.counts)
        if count
    )
    label = (
        f"{hour.total} decisions {hour.reason} in the last hour; at most {highest} in a minute, at {at} UTC"
    )
    picture = element(
        "svg",
        element("path", d=bars),
        viewBox=f"0 0 {len(hour.counts) * _BAR} {_HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
        class_=_COLOURS[hour.decision],
    )
    return element(
        "li",
        element("h3", _reason(hour.reason)),
        element("span", f"{hour.total:,}", class_="figure"),
        " ",
        element("span", hour.decision, class_=f"state {_COLOURS[hour.decision]}"),
        picture,
        class_="card",
    )


def _reason(reason: str) -> Html:
    if reason not in _CODES:
        return element("code", reason)
    return element("a", element("code", reason), href=f"reasons#{reason}")


def _recent(decisions: Sequence[RecentDecision]) -> Html:
    if not decisions:
        return element("p", "No requests were decided yet.")
    rows = [_decided(decision) for decision in decisions[:MAX_ROWS]]
    return together(
        _table("The latest decisions in UTC, newest first", ("Time", "Decision", "Request"), rows),
        _more(len(decisions) - len(rows), "decision"),
    )


def _decided(made: RecentDecision) -> Html:
    policy = f"policy {made.policy}" if made.policy else ""
    rule = "" if made.rule is None else f" rules[{made.rule}]"
    request = " ".join(part for part in (made.method, made.host + made.path) if part)
    who = made.username or (f"a token of {made.issuer}" if made.issuer else "")
    client = f"from {made.client}" if made.client else ""
    request_id = f"id {made.request_id}" if made.request_id else ""
    return element(
        "tr",
        element("th", date(made.at)[11:19], scope="row"),
        element(
            "td",
            element("span", made.decision, class_=f"state {_COLOURS[made.decision]}"),
            " ",
            _reason(made.reason),
            element("br"),
            element("span", policy + rule, class_="quiet"),
            class_="long",
        ),
        element(
            "td",
            *_joined([text(line) for line in (who, request, client, request_id) if line], element("br")),
            class_="long",
        ),
    )


def _verifiers(status: GateStatus) -> Html:
    parts = [_verifier(row, status.processes) for row in status.verifiers]
    if status.inspected < status.processes:
        missing = f"{status.inspected} of {status.processes} workers answered; the others are not included."
        parts.insert(0, element("p", missing, class_="wait"))
    elif status.processes > 1:
        fetches = "the oldest of the last successful fetches, and the earliest next fetch"
        sentence = f"Figures of {status.processes} workers: {fetches}."
        parts.insert(0, element("p", sentence, class_="quiet"))
    parts.append(_more(status.more_verifiers, "issuer"))
    return element("div", *parts, class_="stack")


def _verifier(row: VerifierRow, processes: int) -> Html:
    usable = row.usable == row.processes
    state = "usable" if usable else "not usable"
    if processes > 1:
        state = f"usable in {row.usable} of {row.processes} workers"
    fetches = []
    if row.fetched_ago is not None:
        fetches.append(f"Last successful fetch {_span(row.fetched_ago)} ago.")
    if row.next_fetch_in is not None:
        fetches.append(f"Next fetch in {_span(row.next_fetch_in)}.")
    body = [
        element("h3", row.name),
        element("p", element("span", state, class_=f"state {_colour(usable)}"), f" {row.detail}"),
    ]
    if fetches:
        body.append(element("p", " ".join(fetches)))
    if row.keys:
        rows = [_key(key, row.processes) for key in row.keys]
        body.append(_table(f"Keys of {row.name}", ("Key id", "Algorithms", "Known for"), rows))
        body.append(_more(row.more_keys, "key"))
    elif row.has_keys:
        body.append(element("p", "No keys in memory.", class_="quiet"))
    return element("div", *body, class_="card")


def _key(key: KeyRow, processes: int) -> Html:
    kid = element("code", key.kid) if key.kid else element("span", "none", class_="quiet")
    where = f" (in {key.processes} of {processes} workers)" if key.processes < processes else ""
    age = "configured" if key.age is None else _span(key.age)
    return element(
        "tr",
        element("th", kid, where, scope="row"),
        element("td", ", ".join(key.algorithms)),
        element("td", age),
    )


def _policies(status: GateStatus) -> Html:
    return together(
        element("p", f"Decisions since {date(status.started_at)}, busiest policies first.", class_="quiet"),
        element("div", *map(_policy, status.policies), class_="cards wide"),
        _more(status.more_policies, "policy", "policies"),
    )


def _policy(policy: PolicyRow) -> Html:
    counts = (
        ("allow", policy.allowed, "good"),
        ("deny", policy.denied, "bad"),
        ("unavailable", policy.unavailable, "wait"),
    )
    figures = [
        element("span", f"{name} {number:,}", class_=f"state {colour}")
        for name, number, colour in counts
        if number
    ]
    paths = [element("code", endpoint) for endpoint in policy.endpoints]
    rules: list[Html] = []
    if policy.rules:
        body = [
            _row(
                _rule_name(rule),
                element("td", rule.matches, class_="long"),
                element("td", rule.decides),
            )
            for rule in policy.rules
        ]
        caption = f"Rules of {policy.name}; the first that matches a request decides"
        rules = [
            element(
                "details",
                element("summary", counted(len(policy.rules) + policy.more_rules, "rule")),
                _table(caption, ("Rule", "Matches", "Decides by"), body),
                _more(policy.more_rules, "rule"),
            )
        ]
    return element(
        "div",
        element("h3", policy.name),
        element("p", *_joined(paths, " ")),
        element("p", *(_joined(figures, ", ") or ["no requests yet"])),
        element("p", policy.decides, class_="quiet"),
        *rules,
        class_="card",
    )


def _rule_name(rule: RuleRow) -> Html:
    decided = f"{rule.decided:,} request{'' if rule.decided == 1 else 's'}"
    return together(f"rules[{rule.index}]", element("br"), element("span", decided, class_="quiet"))


def _process(status: GateStatus) -> Html:
    facts = [
        *_configuration(status.configuration),
        ("Started", f"{date(status.started_at)}, {_span(status.now - status.started_at)} ago"),
        ("Workers", f"{status.workers} serving; {counted(status.restarts, 'restart')}"),
        *((f"Cache: {cache.name}", _cache(cache)) for cache in status.caches),
    ]
    parts = (part for name, value in facts for part in (element("dt", name), element("dd", value)))
    return element("dl", *parts)


def _configuration(details: ConfigurationDetails) -> Iterable[tuple[str, str]]:
    yield "Configuration", details.path or "from environment variables and flags"
    if details.sha256:
        yield "SHA-256", element("code", details.sha256)
    yield "Applied", date(details.applied_at)
    if details.rejected:
        yield "Rejected", element("span", details.rejected, class_="bad")


def _cache(cache: CacheRow) -> str:
    parts = [f"{cache.entries:,} {'entry' if cache.entries == 1 else 'entries'}"]
    if cache.size is not None:
        parts.append(_bytes(cache.size))
    numbers = (("hit", cache.hits, "s"), ("miss", cache.misses, "es"), ("eviction", cache.evictions, "s"))
    parts += (
        f"{number:,} {name}{'' if number == 1 else plural}" for name, number, plural in numbers if number
    )
    return ", ".join(parts)


def _table(caption: str, columns: Sequence[str], rows: Iterable[Html]) -> Html:
    head = element("tr", *(element("th", column, scope="col") for column in columns))
    return element("table", element("caption", caption), element("thead", head), element("tbody", *rows))


def _row(name: str, *cells: Html) -> Html:
    return element("tr", element("th", name, scope="row"), *cells)


def _more(number: int, one: str, several: str | None = None) -> Html:
    """Return a line with the number of omitted rows, or nothing if all are shown."""
    if number <= 0:
        return Html("")
    return element("p", f"{number} more {one if number == 1 else several or one + 's'}", class_="quiet")


def _joined(parts: Sequence[str], by: str) -> list[str]:
    return [piece for part in parts for piece in (by, part)][1:]


def _colour(good: bool) -> str:
    return "good" if good else "bad"


def _span(seconds: float) -> str:
    """Return a duration in its two largest units: "45 s", "3 min 20 s", "2 h 5 min", "4 d 3 h"."""
    left = max(0, round(seconds))
    for name, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if left >= size:
            rest = left % size // part
            return f"{left // size} {name}" + (f" {rest} {smaller}" if rest else "")
    return f"{left} s"


def _bytes(number: int) -> str:
    for name, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= size:
            return f"{number / size:.1f} {name}"
    return f"{number} B"
