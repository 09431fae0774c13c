"""What must hold between sections: unique names, and references to something that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, get_args

from authgate.config.models.configuration import Config
from authgate.config.models.fields import LABEL, format_duration
from authgate.config.models.server import collision
from authgate.config.problems import Finding, Path, dotted, nearest, shown
from authgate.vocabulary import IDENTITY_PREFIXES, OTHER_IDENTITY_HEADERS, Proxy

NEEDS_PROXY: Final = (
    "needs server.proxy: the original request is read from that proxy's headers; add server: {proxy: nginx}, or one of"
    f" {', '.join(get_args(Proxy)[1:])}"
)
"""The message for a setting that looks at the client's request while no proxy is configured."""


def tokens_have_an_issuer(config: Config) -> Iterator[Finding]:
    """Yield a problem if no cluster, issuer or introspection server is configured."""
    if not config.clusters and not config.jwt and not config.introspection:
        yield Finding(
            ("cluster",),
            "neither cluster, jwt nor introspection is configured, so every token would be rejected: set"
            " cluster.audiences (or AUTHGATE_CLUSTER__AUDIENCES), or add an entry under jwt or introspection",
        )


def issuers_are_unique(config: Config) -> Iterator[Finding]:
    """Yield issuers and discovery documents that are configured twice."""
    urls = [
        ((*path, "issuers", index), url)
        for path, cluster in config.located_clusters()
        for index, url in enumerate(cluster.issuers)
    ]
    urls += [
        (("jwt", index, "issuer", "url"), name)
        for index, item in enumerate(config.jwt)
        for name in item.issuer_names
    ]
    yield from _repeated(urls, "the issuer of")
    discovery = [
        (("jwt", index, "issuer", "discoveryURL"), item.issuer.discovery_url)
        for index, item in enumerate(config.jwt)
        if item.issuer.discovery_url is not None
    ]
    yield from _repeated(discovery, "the discovery document of")


def _repeated(entries: Sequence[tuple[Path, str]], what: str) -> Iterator[Finding]:
    seen: dict[str, Path] = {}
    for path, text in entries:
        first = seen.setdefault(text, path)
        if first is not path:
            where = f" ({dotted(first[:-1])})" if first[0] == "cluster" else ""
            yield Finding(path, f"is given twice: it is also {what} {_holder(first)}{where}", shown(text))


def _holder(path: Path) -> str:
    """Return the cluster or issuer that a path leads into, in words."""
    return "the cluster" if path[0] == "cluster" and not isinstance(path[1], int) else dotted(path[:2])


def names_are_unique(config: Config) -> Iterator[Finding]:
    """Yield names of clusters and issuers that are given twice, and issuers whose default name is not possible."""
    taken: dict[str, Path] = {}
    for path, name, given in _named(config):
        if not re.fullmatch(LABEL, name, re.ASCII):
            sentence = "is required: the host and path of the issuer, or its name, cannot be a metrics label"
            yield Finding(path, sentence, shown(name))
        elif (first := taken.setdefault(name, path)) is not path:
            default = "the default" if path[0] == "cluster" else "the issuer's host and path"
            whose = "" if given else f" ({default}, as none is given)"
            yield Finding(path, f"must be unique: {_holder(first)} has the same name{whose}", shown(name))


def _named(config: Config) -> Iterator[tuple[Path, str, bool]]:
    """Yield the path of each name, the name, and whether it is written down."""
    for place, cluster in config.located_clusters():
        yield (*place, "name"), cluster.name, "name" in cluster.model_fields_set
    for index, issuer in enumerate(config.jwt):
        yield ("jwt", index, "gate", "name"), issuer.name, issuer.gate.name is not None
    for index, server in enumerate(config.introspection):
        yield ("introspection", index, "name"), server.name, True


def clusters_are_distinct(config: Config) -> Iterator[Finding]:
    """Yield clusters with the same API server, and legacy audiences of more than one cluster."""
    servers: dict[tuple[str | None, str | None], Path] = {}
    legacy: Path | None = None
    for path, cluster in config.located_clusters():
        if cluster.has_api:
            first = servers.setdefault((cluster.kubeconfig, cluster.context), path)
            if first is not path:
                sentence = (
                    f"is the API server of {dotted(first)}: give each cluster its own kubeconfig or context"
                )
                yield Finding((*path, "kubeconfig"), sentence)
        if not cluster.token_review.legacy_audiences:
            continue
        if legacy is not None:
            sentence = (
                f"must be set for one cluster only, and {dotted(legacy)} has it: legacy tokens do not name their"
                " cluster, so each would be sent to both"
            )
            yield Finding((*path, "tokenReview", "legacyAudiences"), sentence)
        legacy = legacy or path


def opaque_tokens_have_one_server(config: Config) -> Iterator[Finding]:
    """Yield introspection entries that do not differ in their prefix, or that compete with a cluster's TokenReview."""
    legacy = [path for path, cluster in config.located_clusters() if cluster.token_review.legacy_audiences]
    seen: dict[str, int] = {}
    for index, server in enumerate(config.introspection):
        path = ("introspection", index, "prefix")
        first = seen.setdefault(server.prefix or "", index)
        if first != index and server.prefix is None:
            sentence = (
                f"is required, because introspection[{first}] has none: an opaque token is sent to one server"
            )
            yield Finding(path, sentence, rule="is required: an opaque token is sent to one server")
        elif first != index:
            yield Finding(
                path, f"is given twice: it is also that of introspection[{first}]", shown(server.prefix)
            )
        if server.prefix is None and legacy:
            sentence = (
                f"is required, because {dotted(legacy[0])}.tokenReview.legacyAudiences sends opaque tokens to the"
                " cluster: a token is sent to one of them"
            )
            yield Finding(path, sentence, rule="is required beside legacyAudiences")


def introspected_issuers_exist(config: Config) -> Iterator[Finding]:
    """Yield issuers of introspection that no jwt entry has, or that a cluster or another entry of introspection has."""
    names = {issuer.name for issuer in config.jwt}
    clusters = {url: path for path, cluster in config.located_clusters() for url in cluster.issuers}
    named: dict[str, int] = {}
    routed: dict[str, int] = {}
    for index, server in enumerate(config.introspection):
        for number, name in enumerate(server.issuers):
            path = ("introspection", index, "issuers", number)
            if name not in names:
                sentence = "is not the name of an entry of jwt (gate.name, or the host of its URL)"
                yield Finding(path, sentence, shown(name), nearest(name, names))
            elif (first := named.setdefault(name, index)) != index:
                yield Finding(path, f"is given twice: introspection[{first}] has it, too", shown(name))
        if server.issuer is not None and (first := routed.setdefault(server.issuer, index)) != index:
            sentence = f"is given twice: it is also that of introspection[{first}]"
            yield Finding(("introspection", index, "issuer"), sentence, shown(server.issuer))
        if server.issuer in clusters:
            sentence = (
                f"is also in {dotted(clusters[server.issuer])}.issuers, so the cluster's tokens would be sent to this"
                " server"
            )
            yield Finding(("introspection", index, "issuer"), sentence, shown(server.issuer))


def audiences_are_accepted(config: Config) -> Iterator[Finding]:
    """Yield audiences of policies that no issuer accepts."""
    accepted = {audience for issuer in config.jwt for audience in issuer.issuer.audiences}
    accepted |= {audience for server in config.introspection for audience in server.audiences}
    for cluster in config.clusters:
        accepted |= {*cluster.audiences, *cluster.token_review.legacy_audiences}
    if not accepted:
        return  # there are no issuers, which is reported
    for version, policy in config.versions():
        lists = [((*version, "audiences"), policy.audiences or ())]
        if policy.role is not None:
            lists.append(((*version, "role", "boundAudiences"), policy.role.bound_audiences or ()))
        for path, audiences in lists:
            for index, audience in enumerate(audiences):
                if audience not in accepted:
                    yield Finding(
                        (*path, index),
                        "is an audience that neither the cluster nor an issuer under jwt accepts",
                        shown(audience),
                        nearest(audience, accepted),
                    )


def entries_name_issuers(config: Config) -> Iterator[Finding]:
    """Yield names in allow and deny lists that no issuer or cluster has."""
    names = {name for _, name, _ in _named(config)}
    by_url = {url: issuer.name for issuer in config.jwt for url in (*issuer.issuer_names, issuer.issuer.url)}
    sentence = (
        "is not a configured name: neither cluster.name, nor gate.name (or the host) of a jwt issuer, nor"
        " introspection.name"
    )
    for version, policy in config.versions():
        for path, entry in policy.entries():
            for index, name in enumerate(entry.issuers or ()):
                if name not in names:
                    hint = by_url.get(name) or nearest(name, names)
                    yield Finding((*version, *path, "issuers", index), sentence, shown(name), hint)


def access_reviews_have_a_cluster(config: Config) -> Iterator[Finding]:
    """Yield access reviews that no cluster, or not every cluster, can answer."""
    static = [
        (dotted(path), "staticKeys" if cluster.static_keys is not None else "keysFrom: issuer")
        for path, cluster in config.located_clusters()
        if not cluster.has_api
    ]
    names = {cluster.name for cluster in config.clusters}
    for name, policy in config.policies.items():
        for place, review in policy.access_reviews():
            path = ("policies", name, *place)
            if not config.clusters:
                yield Finding(
                    path, "needs a cluster whose API can be asked; set cluster.audiences, or leave it out"
                )
            elif static:
                holder, instead = static[0]
                sentence = (
                    f"needs the API of every cluster, but {holder} has {instead} instead; remove one of them"
                )
                yield Finding(path, sentence)
            if review.cluster is not None and review.cluster not in names:
                yield Finding(
                    (*path, "cluster"),
                    "is not the name of a cluster",
                    shown(review.cluster),
                    nearest(review.cluster, names),
                )


def queries_have_a_proxy(config: Config) -> Iterator[Finding]:
    """Yield credential sources in the query, which only a proxy forwards."""
    for index, source in enumerate(config.credential.sources):
        if source.query is not None and not config.server.knows_requests:
            yield Finding(("credential", "sources", index, "query"), NEEDS_PROXY, rule=NEEDS_PROXY)


def exchange_has_an_address(config: Config) -> Iterator[Finding]:
    """Yield an address of token exchange that something else listens on."""
    if config.exchange is not None:
        address = config.exchange.listen
        if (problem := collision(address, config.server.addresses)) is not None:
            yield Finding(("exchange", "listen"), problem, shown(str(address)))


def signing_is_used(config: Config) -> Iterator[Finding]:
    """Yield signing without tokens to sign, and tokens without signing."""
    sections = (("identityToken", config.identity_token), ("exchange", config.exchange))
    users = [name for name, section in sections if section is not None]
    if users and config.signing is None:
        sentence = "needs signing, with the issuer's URL (signing.issuer) and the keys to sign with"
        yield Finding((users[0],), sentence, rule=sentence)
    if config.signing is not None and not users:
        sentence = "signs nothing: set identityToken or exchange, or leave it out"
        yield Finding(("signing",), sentence, rule=sentence)


def signing_keys_are_shared(config: Config) -> Iterator[Finding]:
    """Yield generated signing keys with several workers. Each worker would generate a different key."""
    if config.signing is not None and not config.signing.key_files and config.server.several_workers:
        sentence = "is required with several server.workers: each worker would make its own key"
        yield Finding(("signing", "keyFiles"), sentence, rule=sentence)


def signing_has_its_own_issuer(config: Config) -> Iterator[Finding]:
    """Yield an issuer of authgate's own tokens that is a cluster's."""
    if config.signing is not None and any(
        config.signing.issuer in cluster.issuers for cluster in config.clusters
    ):
        yield Finding(
            ("signing", "issuer"),
            "is an issuer of the cluster; use a URL of authgate's own",
            shown(config.signing.issuer),
        )


def identity_tokens_outlive_verdicts(config: Config) -> Iterator[Finding]:
    """Yield identity tokens that could expire while their verdict is cached."""
    token, kept = config.identity_token, config.cache.ttl
    if token is not None and token.ttl < 2 * kept:
        yield Finding(
            ("identityToken", "ttl"),
            f"must be at least twice cache.ttl ({format_duration(kept)}): a cached verdict keeps its token",
            format_duration(token.ttl),
        )


def exchange_names_policies(config: Config) -> Iterator[Finding]:
    """Yield policies of token exchange that do not exist."""
    names = set(config.policies)
    for name in () if config.exchange is None else config.exchange.audiences:
        if name not in names:
            path = ("exchange", "audiences", name)
            yield Finding(path, "is not a configured policy", shown(name), nearest(name, names))


def request_ids_have_their_own_header(config: Config) -> Iterator[Finding]:
    """Yield a header of request ids that holds a token or the identity: authgate writes an id to logs and responses."""
    if config.server.request_id is None:
        return
    name = config.server.request_id.header
    lower = name.lower()
    path = ("server", "requestID", "header")
    if any(
        source.header is not None and source.header.lower() == lower for source in config.credential.sources
    ):
        yield Finding(path, "is a header with tokens (credential.sources); choose another name", shown(name))
    others = [item.name for item in config.headers.set]
    if config.identity_token is not None:
        others.append(config.identity_token.header)
    for _, policy in config.versions():
        others += policy.role.claim_mappings.values() if policy.role is not None else ()
    is_other = lower in {other.lower() for other in (*others, *OTHER_IDENTITY_HEADERS)}
    if is_other or lower.startswith(tuple(prefix.lower() for prefix in IDENTITY_PREFIXES)):
        yield Finding(path, "is a header with the identity; choose another name", shown(name))


def admin_policy_exists(config: Config) -> Iterator[Finding]:
    """Yield a policy of the admin port that does not exist."""
    name = config.admin.policy
    if name is not None and name not in config.policies:
        sentence = "is not a configured policy"
        yield Finding(("admin", "policy"), sentence, shown(name), nearest(name, config.policies))


def recent_decisions_are_protected(config: Config) -> Iterator[Finding]:
    """Yield recent decisions on an admin port that other machines can reach without a token."""
    address = config.server.admin
    if config.admin.recent_decisions and not config.admin.policy and address and not address.is_local:
        sentence = (
            f"shows user names to everyone who can reach server.admin ({address}); set admin.policy, so that the port"
            " asks for a token, or let it listen on loopback, such as 127.0.0.1:9090"
        )
        yield Finding(("admin", "recentDecisions"), sentence, shown(config.admin.recent_decisions))


def headers_are_unique(config: Config) -> Iterator[Finding]:
    """Yield headers of identity tokens and roles that the preset or another header has."""
    headers = config.headers
    taken = {item.name.lower() for item in headers.set}
    if config.identity_token is not None:
        name = config.identity_token.header
        if (problem := headers.why_taken(name, taken)) is not None:
            yield Finding(("identityToken", "header"), problem, shown(name))
        taken.add(name.lower())
    for version, policy in config.versions():
        if policy.role is None:
            continue
        own = set(taken)
        for claim, name in policy.role.claim_mappings.items():
            if (problem := headers.why_taken(name, own)) is not None:
                yield Finding((*version, "role", "claimMappings", claim), problem, shown(name))
            own.add(name.lower())
