"""What holds between the parts of a configuration: names that stand once, references that lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

from authgate.config.addresses import ListenAddress, collide, parse_listen
from authgate.config.fields import LABEL
from authgate.config.models_cluster import ClusterConfig
from authgate.config.models_server import ServerConfig
from authgate.config.problems import Finding, Path, nearest, shown
from authgate.config.urls import host_of
from authgate.config.values import Values


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
        yield from _claims_stand_once(values, path)
    yield from _audiences_are_accepted(values)
    yield from _rules_name_issuers(values)
    yield from _open_paths_have_a_proxy(values)
    yield from _access_reviews_have_a_cluster(values)
    yield from _listeners(values)


def _issuers_stand_once(values: Values) -> Iterator[Finding]:
    urls = {url: path for path, url in values.texts("cluster", "issuers", ...)}
    yield from _repeated(urls, values.texts("jwt", ..., "issuer", "url"), "is the issuer of")
    yield from _repeated(
        {}, values.texts("jwt", ..., "issuer", "discoveryURL"), "is the discovery document of"
    )


def _repeated(seen: dict[str, Path], entries: Iterator[tuple[Path, str]], what: str) -> Iterator[Finding]:
    for path, text in entries:
        first = seen.setdefault(text, path)
        if first != path:
            whose = "the cluster (cluster.issuers)" if first[0] == "cluster" else f"jwt[{first[1]}]"
            yield Finding(path, f"stands twice: it {what} {whose}, too", shown(text))


def _names_stand_once(values: Values) -> Iterator[Finding]:
    taken: dict[str, Path] = {}
    for path, name, given in _named(values):
        if name is None:
            continue
        if not given and not re.fullmatch(LABEL, name, re.ASCII):
            yield Finding(path, "is required: the issuer's host does not serve as a label", shown(name))
        elif (first := taken.setdefault(name, path)) != path:
            whose = "" if given else " (the issuer's host, as none is given)"
            owner = "the cluster" if first[0] == "cluster" else f"jwt[{first[1]}]"
            yield Finding(path, f"must be unique: {owner} has the same name{whose}", shown(name))


def _named(values: Values) -> Iterator[tuple[Path, str | None, bool]]:
    """Yield the place of each name, the name where it can be told, and whether it is written down."""
    if values.has("cluster"):
        path: Path = ("cluster", "name")
        default = ClusterConfig.model_fields["name"].default
        yield path, values.text(*path) if values.has(*path) else default, values.has(*path)
    for issuer, _ in values.find("jwt", ...):
        path = (*issuer, "gate", "name")
        if values.has(*path):
            yield path, values.text(*path), True
        else:
            yield path, host_of(values.text(*issuer, "issuer", "url") or ""), False


def _one_source_of_keys(values: Values, path: Path) -> Iterator[Finding]:
    places: tuple[Path, ...] = (("issuer", "discoveryURL"), ("gate", "jwksURL"), ("gate", "staticKeys"))
    given = [place for place in places if values.has(*path, *place)]
    for place in given[1:]:
        other = ".".join(map(str, given[0]))
        yield Finding((*path, *place), f"must not stand beside {other}: keys come from one place only")


def _claims_stand_once(values: Values, path: Path) -> Iterator[Finding]:
    seen: set[str] = set()
    for place, claim in values.texts(*path, "claimValidationRules", ..., "claim"):
        if claim in seen:
            yield Finding(place, "stands twice: a claim can have one required value", shown(claim))
        seen.add(claim)


def _audiences_are_accepted(values: Values) -> Iterator[Finding]:
    places = (
        ("cluster", "audiences"),
        ("cluster", "tokenReview", "legacyAudiences"),
        ("jwt", ..., "issuer", "audiences"),
    )
    lists = [entry for place in places for _, entry in values.find(*place)]
    if not all(isinstance(entry, list | tuple) for entry in lists):
        return  # which audiences are accepted is not known before this is mended
    accepted = {text for place in places for _, text in values.texts(*place, ...)}
    for path, audience in values.texts("policies", ..., "audiences", ...):
        if audience not in accepted:
            sentence = "is an audience that neither the cluster nor an issuer under jwt accepts"
            yield Finding(path, sentence, shown(audience), nearest(audience, accepted))


def _rules_name_issuers(values: Values) -> Iterator[Finding]:
    named = list(_named(values))
    names = {name for _, name, _ in named if name is not None}
    if len(names) < len(named):
        return  # a name that can't be told may be the one that is meant
    by_url = {
        values.text("jwt", path[1], "issuer", "url"): name for path, name, _ in named if path[0] == "jwt"
    }
    for kind in ("allow", "deny"):
        for path, name in values.texts("policies", ..., kind, ..., "issuers", ...):
            if name not in names:
                sentence = (
                    "is no configured name: neither cluster.name nor the gate.name (or host) of a jwt issuer"
                )
                yield Finding(path, sentence, shown(name), by_url.get(name) or nearest(name, names))


def _open_paths_have_a_proxy(values: Values) -> Iterator[Finding]:
    if values.has("server", "proxy"):
        return
    for path, _ in values.find("policies", ..., "anonymous"):
        if values.has(*path):
            sentence = "needs server.proxy to be set: the original path is read from that proxy's header, and trusted"
            yield Finding(path, sentence)


def _access_reviews_have_a_cluster(values: Values) -> Iterator[Finding]:
    for path, _ in values.find("policies", ..., "accessReview"):
        if values.has(*path) and not values.has("cluster"):
            sentence = "needs a cluster whose API can be asked; set cluster.audiences, or leave it out"
            yield Finding(path, sentence)
        asked = (*path, "nonResource")
        if values.has(*asked) and not values.has("server", "proxy"):
            sentence = "needs server.proxy to be set: path and method are read from that proxy's headers, and trusted"
            yield Finding(asked, sentence)


def _listeners(values: Values) -> Iterator[Finding]:
    opened: list[tuple[str, ListenAddress]] = []
    for path, text in _listen_texts(values):
        try:
            address = parse_listen(text)
        except ValueError:
            continue  # told already, where it stands
        other = next((there for there, earlier in opened if collide(address, earlier)), None)
        if other is not None:
            yield Finding(path, f"collides with {other}: each address can be opened once", shown(text))
        opened.append((text, address))


def _listen_texts(values: Values) -> Iterator[tuple[Path, str]]:
    defaults = ServerConfig()
    if values.has("server", "listen"):
        yield from values.texts("server", "listen", ...)
    else:
        yield from ((("server", "listen", index), text) for index, text in enumerate(defaults.listen))
    if values.mentions("server", "admin"):
        yield from values.texts("server", "admin")
    elif defaults.admin is not None:
        yield ("server", "admin"), defaults.admin
