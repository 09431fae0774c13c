"""What holds between the parts of a configuration: names that stand once, references that lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

from authgate.config.checks.claims import claim_findings
from authgate.config.checks.grpc import as_grpc_opens, findings_of_grpc
from authgate.config.checks.headers import findings_of_headers
from authgate.config.checks.hosts import findings_of_hosts
from authgate.config.checks.policies import (
    HOLDERS,
    NEEDS_PROXY,
    VERSIONS,
    findings_of_policies,
    knows_proxy,
)
from authgate.config.checks.roles import accepted_audiences, findings_of_roles
from authgate.config.checks.tokens import findings_of_tokens
from authgate.config.models.cluster import ClusterConfig
from authgate.config.models.fields import LABEL
from authgate.config.models.server import ServerConfig
from authgate.config.models.urls import default_names
from authgate.config.problems import Finding, Path, dotted, nearest, shown
from authgate.config.reading.values import Values
from authgate.listen_address import ListenAddress


def findings_of(values: Values) -> Iterator[Finding]:
    """Tell everything that is wrong between values, be they valid by themselves or not."""
    if not values.has("cluster") and not values.has("jwt"):
        advice = "set cluster.audiences (or AUTHGATE_CLUSTER__AUDIENCES), or name an issuer under jwt"
        yield Finding(
            ("cluster",), f"neither cluster nor jwt is configured, so no token could pass: {advice}"
        )
    yield from _issuers_stand_once(values)
    yield from _names_stand_once(values)
    for path, _ in values.find("jwt", ...):
        yield from _one_source_of_keys(values, path)
        yield from claim_findings(values, path)
    yield from _audiences_are_accepted(values)
    yield from _rules_name_issuers(values)
    yield from findings_of_policies(values)
    yield from findings_of_hosts(values)
    yield from _access_reviews_have_a_cluster(values)
    yield from _clusters_can_be_told_apart(values)
    yield from _sources(values)
    yield from _listeners(values)
    yield from findings_of_grpc(values)
    yield from findings_of_tokens(values)
    yield from findings_of_headers(values)
    yield from findings_of_roles(values)


def _issuers_stand_once(values: Values) -> Iterator[Finding]:
    urls: dict[str, Path] = {}
    for cluster in values.one_or_each("cluster"):
        yield from _repeated(urls, values.texts(*cluster, "issuers", ...), "is the issuer of")
    yield from _repeated(urls, values.texts("jwt", ..., "issuer", "url"), "is the issuer of")
    yield from _repeated(
        {}, values.texts("jwt", ..., "issuer", "discoveryURL"), "is the discovery document of"
    )


def _repeated(seen: dict[str, Path], entries: Iterator[tuple[Path, str]], what: str) -> Iterator[Finding]:
    for path, text in entries:
        first = seen.setdefault(text, path)
        if first[:-1] != path[:-1]:  # a list that names one twice is told by itself
            whose = _holder(first) + (f" ({dotted(first[:-1])})" if first[0] == "cluster" else "")
            yield Finding(path, f"stands twice: it {what} {whose}, too", shown(text))


def _holder(path: Path) -> str:
    """Return the cluster or issuer that a path leads into, in words."""
    return "the cluster" if path[0] == "cluster" and not isinstance(path[1], int) else dotted(path[:2])


def _names_stand_once(values: Values) -> Iterator[Finding]:
    taken: dict[str, Path] = {}
    for path, name, given in _named(values):
        if name is None:
            continue
        if not given and not re.fullmatch(LABEL, name, re.ASCII):
            yield Finding(
                path, "is required: the issuer's host and path do not serve as a label", shown(name)
            )
        elif (first := taken.setdefault(name, path)) != path:
            default = "the default" if path[0] == "cluster" else "the issuer's host and path"
            whose = "" if given else f" ({default}, as none is given)"
            yield Finding(path, f"must be unique: {_holder(first)} has the same name{whose}", shown(name))


def _named(values: Values) -> Iterator[tuple[Path, str | None, bool]]:
    """Yield the place of each name, the name where it can be told, and whether it is written down."""
    for cluster in values.one_or_each("cluster"):
        path: Path = (*cluster, "name")
        default = ClusterConfig.model_fields["name"].default
        yield path, values.text(*path) if values.has(*path) else default, values.has(*path)
    issuers = [(*issuer, "gate", "name") for issuer, _ in values.find("jwt", ...)]
    urls = [None if values.has(*path) else values.text(*path[:2], "issuer", "url") for path in issuers]
    for path, default in zip(issuers, default_names(urls), strict=True):
        if values.has(*path):
            yield path, values.text(*path), True
        else:
            yield path, default, False


def _names_readable(values: Values) -> bool:
    """Return whether the names of clusters and issuers can be known: else one that seems unknown may be meant."""
    named = [(*cluster, "name") for cluster in values.one_or_each("cluster")]
    given = (("jwt", ..., "gate", "name"), ("jwt", ..., "issuer", "url"))
    return all(values.readable(*place, kind=str) for place in (*named, *given))


def _one_source_of_keys(values: Values, path: Path) -> Iterator[Finding]:
    places: tuple[Path, ...] = (("issuer", "discoveryURL"), ("gate", "jwksURL"), ("gate", "staticKeys"))
    given = [place for place in places if values.has(*path, *place)]
    for place in given[1:]:
        other = ".".join(map(str, given[0]))
        yield Finding((*path, *place), f"must not stand beside {other}: keys come from one place only")


def _audiences_are_accepted(values: Values) -> Iterator[Finding]:
    accepted = accepted_audiences(values)
    if accepted is None:
        return
    for version in VERSIONS:
        for path, audience in values.texts(*version, "audiences", ...):
            if audience not in accepted and "*" not in audience:  # a star is reported where it is
                sentence = "is an audience that neither the cluster nor an issuer under jwt accepts"
                yield Finding(path, sentence, shown(audience), nearest(audience, accepted))


def _rules_name_issuers(values: Values) -> Iterator[Finding]:
    named = list(_named(values))
    names = {name for _, name, _ in named if name is not None}
    if len(names) < len(named) or not _names_readable(values):
        return  # a name that can't be told may be the one that is meant
    by_url = {
        values.text("jwt", path[1], "issuer", "url"): name for path, name, _ in named if path[0] == "jwt"
    }
    sentence = "is no configured name: neither cluster.name nor the gate.name (or host) of a jwt issuer"
    for holder, kind in product(HOLDERS, ("allow", "deny")):
        for path, name in values.texts(*holder, kind, ..., "issuers", ...):
            if name not in names and "*" not in name:  # a star is reported where it is
                yield Finding(path, sentence, shown(name), by_url.get(name) or nearest(name, names))


def _access_reviews_have_a_cluster(values: Values) -> Iterator[Finding]:
    unasked = [dotted(path) for path in values.one_or_each("cluster") if values.has(*path, "staticKeys")]
    names = {name for path, name, _ in _named(values) if path[0] == "cluster" and name is not None}
    for path, _ in (found for holder in HOLDERS for found in values.find(*holder, "accessReview")):
        if values.has(*path) and not values.has("cluster"):
            sentence = "needs a cluster whose API can be asked; set cluster.audiences, or leave it out"
            yield Finding(path, sentence)
        elif values.has(*path) and unasked:
            sentence = f"needs every cluster's API, and {unasked[0]} has staticKeys in its place; leave one of them out"
            yield Finding(path, sentence)
        for place, name in values.texts(*path, "cluster"):
            if name not in names and _names_readable(values):
                yield Finding(place, "is no cluster's name", shown(name), nearest(name, names))


def _clusters_can_be_told_apart(values: Values) -> Iterator[Finding]:
    servers: dict[tuple[str | None, str | None], Path] = {}
    legacy: Path | None = None
    for path in values.one_or_each("cluster"):
        reached = ((*path, "kubeconfig"), (*path, "context"))
        if not values.has(*path, "staticKeys") and all(
            values.readable(*place, kind=str) for place in reached
        ):
            server = (values.text(*path, "kubeconfig"), values.text(*path, "context"))
            first = servers.setdefault(server, path)
            if first != path:
                sentence = (
                    f"leads where {dotted(first)} does: give each cluster a kubeconfig or context of its own"
                )
                yield Finding((*path, "kubeconfig"), sentence)
        if not values.has(*path, "tokenReview", "legacyAudiences"):
            continue
        if legacy is not None:
            sentence = (
                f"must stand in one cluster only, and {dotted(legacy)} has it, too: such tokens do not tell their "
                "cluster, and would be shown to both"
            )
            yield Finding((*path, "tokenReview", "legacyAudiences"), sentence)
        legacy = legacy or path


def _sources(values: Values) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    for kind in ("header", "cookie", "query"):
        for path, name in values.texts("credential", "sources", ..., kind):
            entry = kind, name.lower() if kind == "header" else name
            if entry in seen:
                yield Finding(path, "stands twice: a place is read once", shown(name))
            seen.add(entry)
    for path, _ in values.texts("credential", "sources", ..., "query"):
        if not knows_proxy(values):
            yield Finding(path, NEEDS_PROXY)


def _listeners(values: Values) -> Iterator[Finding]:
    opened: list[tuple[str, ListenAddress]] = []
    for path, text in _listen_texts(values):
        try:
            address = ListenAddress.parse(text)
        except ValueError:
            continue  # told already, where it stands
        if path == ("server", "grpc"):
            address = as_grpc_opens(address)
        other = next((there for there, earlier in opened if address.collides_with(earlier)), None)
        if other is not None:
            yield Finding(path, f"collides with {other}: each address can be opened once", shown(text))
        opened.append((text, address))


def _listen_texts(values: Values) -> Iterator[tuple[Path, str]]:
    defaults = ServerConfig()
    if not values.readable("server", "listen"):
        return
    if values.has("server", "listen"):
        yield from values.texts("server", "listen", ...)
    else:
        yield from (
            (("server", "listen", index), str(address)) for index, address in enumerate(defaults.listen)
        )
    if values.mentions("server", "admin"):
        yield from values.texts("server", "admin")
    elif defaults.admin is not None:
        yield ("server", "admin"), str(defaults.admin)
    yield from values.texts("server", "grpc")
    yield from values.texts("exchange", "listen")
