"""What holds between a policy's parts and the rest: rules that can be looked up, expressions that are some."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from authgate.config.models.expressions import expression_findings, understood
from authgate.config.problems import Finding, Path
from authgate.config.reading.values import Pattern, Values
from authgate.expressions import Expects, Sees
from authgate.vocabulary import Proxy

VERSIONS: tuple[tuple[Pattern, ...], ...] = (("policies", ...), ("policies", ..., "shadow"))
"""Where versions of policies stand: the live ones and their shadows."""

HOLDERS: tuple[tuple[Pattern, ...], ...] = tuple(
    pattern for version in VERSIONS for pattern in (version, (*version, "rules", ...))
)
"""Where lists of entries stand: in versions of policies, and in their rules."""


def findings_of_policies(values: Values) -> Iterator[Finding]:
    """Tell what is wrong between the values of policies, be they valid by themselves or not."""
    if not knows_proxy(values):
        yield from _needs_a_proxy(values)
    for path, _ in values.find("policies", ..., "shadow", "rules", ..., "accessReview"):
        yield Finding(path, "is not asked for a shadow: the cluster is asked by the live policy only")
    for path, text, sees in _expressions(values):
        yield from expression_findings(path, text, sees, Expects.BOOL)


def knows_proxy(values: Values) -> bool:
    """Return whether the original request can be read, or what says so is written wrongly and reported there."""
    if not values.readable("server", "proxy"):
        return True
    return values.has("server", "proxy") or values.has("server", "grpc")


NEEDS_PROXY = (
    "needs server.proxy to be set: the original request is read from that proxy's headers, and trusted; add"
    f" server: {{proxy: nginx}}, or one of {', '.join(get_args(Proxy)[1:])}"
)
"""What a setting says that looks at the client's request while no proxy is configured."""


def _needs_a_proxy(values: Values) -> Iterator[Finding]:
    sentence = NEEDS_PROXY
    for version in VERSIONS:
        for kind in ("anonymous", "rules"):
            for path, _ in values.find(*version, kind):
                if values.has(*path):
                    yield Finding(path, sentence)
        for path, value in values.find(*version, "corsPreflight"):
            if value == "allow":
                yield Finding(path, sentence)
    for holder in HOLDERS:
        for path, _ in values.find(*holder, "accessReview", "nonResource"):
            if values.has(*path):
                yield Finding(path, sentence)
    for path, text, sees in _expressions(values):
        expression = understood(text, sees, Expects.BOOL)
        if expression is not None and Sees.REQUEST in expression.reads:
            yield Finding(path, sentence)


def _expressions(values: Values) -> Iterator[tuple[Path, str, Sees]]:
    """Yield every expression of a policy with its place and what it sees."""
    lists = [(*holder, kind, ...) for holder in ((), ("rules", ...)) for kind in ("allow", "deny")]
    for version in VERSIONS:
        for policy, _ in values.find(*version):
            query = any(value is not False for _, value in values.find(*policy, "queryRules"))
            for place in (*lists, ("rules", ...)):
                for path, text in values.texts(*policy, *place, "expression"):
                    yield path, text, expression_sees(query=query)


def expression_sees(*, query: bool) -> Sees:
    """Return what a policy's expressions see; `query` is its `queryRules`."""
    sees = Sees.CLAIMS | Sees.USER | Sees.REQUEST | Sees.NOW
    return sees | Sees.QUERY if query else sees
