"""Warnings: settings that are valid, but probably wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from authgate.config.models.configuration import Config
from authgate.config.models.files import read_text
from authgate.config.models.jwt import ClaimsConfig, JWTIssuerConfig
from authgate.config.models.policy import EntryConfig
from authgate.config.problems import Finding, Path, dotted, shown
from authgate.json_pointer import pointer_to

_SYSTEM = "system:"


def warnings_of(config: Config) -> Iterator[Finding]:
    """Yield the warnings about a configuration."""
    mapped = [*_mapped(config)]
    for place, claims in mapped:
        yield from _could_name_system(place, claims)
    for index, entry in enumerate(config.jwt):
        yield from _ignores_confirmation(index, entry)
        yield from _allows_http(index, entry)
    yield from _could_collide(mapped)
    yield from _service_accounts_of_some_cluster(config)
    yield from _rules_never_reached(config)
    yield from _one_audience_for_two_kinds(config)
    yield from _stars(config)
    yield from _claims_with_dots(config)
    yield from _missing_credential_files(config)
    yield from _weak_admin_policy(config)
    yield from _generated_key(config)


def _generated_key(config: Config) -> Iterator[Finding]:
    if config.signing is not None and not config.signing.key_files:
        yield Finding(
            ("signing", "keyFiles"),
            "is empty, so a key is generated: its tokens can be verified only until the process ends; name a key file",
        )


def _mapped(config: Config) -> Iterator[tuple[Path, ClaimsConfig]]:
    """Yield the entries that map claims, with their paths."""
    yield from ((("jwt", index), entry) for index, entry in enumerate(config.jwt))
    yield from ((("introspection", index), entry) for index, entry in enumerate(config.introspection))


def _could_name_system(place: Path, entry: ClaimsConfig) -> Iterator[Finding]:
    for kind, path in _PREFIXES:
        prefix = _prefix(entry, kind)
        if prefix is not None and (prefix.startswith(_SYSTEM) or _SYSTEM.startswith(prefix)):
            whom = "a user" if kind == "username" else "a group"
            yield Finding(
                (*place, *path),
                f'lets the issuer name {whom} "system:…", which Kubernetes reserves; set a prefix such as "corp:"',
                shown(prefix),
            )


def _ignores_confirmation(index: int, entry: JWTIssuerConfig) -> Iterator[Finding]:
    if entry.gate.unsafe_ignore_confirmation:
        yield Finding(
            ("jwt", index, "gate", "unsafeIgnoreConfirmation"),
            "accepts tokens that are bound to a key or certificate of their sender (cnf) without proof of it, so a"
            " stolen token can be used; have the issuer issue bearer tokens, and remove this setting",
        )


def _allows_http(index: int, entry: JWTIssuerConfig) -> Iterator[Finding]:
    if entry.gate.unsafe_allow_http:
        yield Finding(
            ("jwt", index, "gate", "unsafeAllowHTTP"),
            "fetches keys over plain http, so anyone on the network between can replace them and sign tokens; serve the"
            " keys over https, and remove this setting",
        )


def _could_collide(mapped: list[tuple[Path, ClaimsConfig]]) -> Iterator[Finding]:
    """Yield one warning for each entry whose prefix overlaps with that of an earlier entry, and name the first one."""
    for kind, path in _PREFIXES:
        seen: list[tuple[Path, str]] = []
        for place, entry in mapped:
            prefix = _prefix(entry, kind)
            if prefix is None:
                continue
            for earlier, other in seen:
                if prefix.startswith(other) or other.startswith(prefix):
                    whom = "users" if kind == "username" else "groups"
                    yield Finding(
                        (*place, *path),
                        f"lets two issuers name the same {whom}: the prefix of {dotted(earlier)} is {shown(other)}",
                        shown(prefix),
                    )
                    break
            seen.append((place, prefix))


def _service_accounts_of_some_cluster(config: Config) -> Iterator[Finding]:
    names = ", ".join(cluster.name for cluster in config.clusters)
    for path, entry in _entries(config):
        if entry.service_accounts is None:
            continue
        if not names:
            sentence = "never matches: only a cluster has ServiceAccounts, and no cluster is configured"
            yield Finding((*path, "serviceAccounts"), sentence)
        elif len(config.clusters) > 1 and path[-2] == "allow" and entry.issuers is None:
            sentence = f"matches accounts of every cluster; to choose clusters, add issuers: [{names}]"
            yield Finding((*path, "serviceAccounts"), sentence)


def _entries(config: Config) -> Iterator[tuple[Path, EntryConfig]]:
    for version, policy in config.versions():
        yield from (((*version, *path), entry) for path, entry in policy.entries())


def _rules_never_reached(config: Config) -> Iterator[Finding]:
    for version, policy in config.versions():
        for later, rule in enumerate(policy.rules):
            earlier = next((index for index in range(later) if policy.rules[index].covers(rule)), None)
            if earlier is not None:
                sentence = (
                    f"is never used: rules[{earlier}] is before it and matches every request that it matches"
                )
                yield Finding((*version, "rules", later), sentence)


def _one_audience_for_two_kinds(config: Config) -> Iterator[Finding]:
    if config.identity_token is None or config.exchange is None:
        return
    audience = config.identity_token.audience
    for policy, audiences in config.exchange.audiences.items():
        if audience in audiences:
            yield Finding(
                ("identityToken", "audience"),
                f"is also an audience of exchange.audiences.{policy}: an app that does not check the token's typ"
                " accepts exchanged tokens as identity tokens; use different audiences",
                shown(audience),
            )


def _stars(config: Config) -> Iterator[Finding]:
    for place, cluster in config.located_clusters():
        yield from _literal_stars((*place, "audiences"), cluster.audiences)
    for index, issuer in enumerate(config.jwt):
        yield from _literal_stars(("jwt", index, "issuer", "audiences"), issuer.issuer.audiences)
    for index, server in enumerate(config.introspection):
        yield from _literal_stars(("introspection", index, "audiences"), server.audiences)
    for version, policy in config.versions():
        role = policy.role
        if role is not None and role.bound_claims_type == "string":
            for name, values in (role.bound_claims or {}).items():
                yield from _literal_stars(
                    (*version, "role", "boundClaims", name), values, " without boundClaimsType: glob"
                )
    for path, entry in _entries(config):
        for kind in ("users", "groups"):
            for index, glob in enumerate(getattr(entry, kind) or ()):
                if _BACKSLASH_BEFORE_LAST_STAR.search(glob):
                    yield Finding(
                        (*path, kind, index),
                        r"ends in \*, which is a literal star; for a backslash and then any characters write \\*",
                        shown(glob),
                    )


def _missing_credential_files(config: Config) -> Iterator[Finding]:
    """Yield files with credentials that cannot be read yet; they are read again for every request."""
    files: list[tuple[Path, str]] = [
        (("jwt", index, "gate", "keys", "tokenFile"), issuer.gate.keys.token_file)
        for index, issuer in enumerate(config.jwt)
        if issuer.gate.keys.token_file is not None
    ]
    for index, server in enumerate(config.introspection):
        files += (
            (("introspection", index, "clientAuth", name), file) for name, file in server.client_auth.files()
        )
    for path, file in files:
        try:
            read_text(file)
        except ValueError as error:
            yield Finding(path, str(error), shown(file))


def _weak_admin_policy(config: Config) -> Iterator[Finding]:
    """Yield a policy of the admin port that restricts nobody, or that keeps apps from the keys of identity tokens."""
    name = config.admin.policy
    policy = None if name is None else config.policies.get(name)
    if policy is None:
        return
    if not policy.restricts:
        sentence = f"lets every valid token read the admin port; set policies.{name}.allow"
        yield Finding(("admin", "policy"), sentence, shown(name))
    opens = bool(policy.anonymous) or any(rule.anonymous for rule in policy.rules)
    if config.identity_token is not None and config.exchange is None and not opens:
        sentence = (
            "also protects /jwks, with which apps verify identity tokens; add /jwks and"
            f" /.well-known/openid-configuration to policies.{name}.anonymous"
        )
        yield Finding(("admin", "policy"), sentence, shown(name))


def _literal_stars(path: Path, values: tuple[object, ...], unless: str = "") -> Iterator[Finding]:
    for index, value in enumerate(values):
        if isinstance(value, str) and "*" in value:
            yield Finding(
                (*path, index), f"is compared literally: * is not a pattern here{unless}", shown(value)
            )


def _claims_with_dots(config: Config) -> Iterator[Finding]:
    for path, claim in _claims(config):
        first, *rest = claim.split(".")
        # kubernetes.io, https://example.com/roles and the like are names with dots
        if rest and rest[-1] not in _DOMAINS and all(map(_MEMBER.fullmatch, (first, *rest))):
            pointer = pointer_to(first, *rest)
            sentence = f"is one claim with a dot in its name; for a member of an object write {pointer}"
            yield Finding(path, sentence, shown(claim))


def _claims(config: Config) -> Iterator[tuple[Path, str]]:
    for place, entry in _mapped(config):
        for number, rule in enumerate(entry.claim_validation_rules):
            yield (*place, "claimValidationRules", number, "claim"), rule.claim or ""
        for name, claim in entry.mapped_claims():
            yield (*place, "claimMappings", name, "claim"), claim
    for version, policy in config.versions():
        role = policy.role
        if role is not None:
            yield (*version, "role", "userClaim"), role.user_claim or ""
            yield (*version, "role", "groupsClaim"), role.groups_claim or ""
            yield from (((*version, "role", "boundClaims", name), name) for name in role.bound_claims or {})
            yield from (((*version, "role", "claimMappings", name), name) for name in role.claim_mappings)


_MEMBER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_DOMAINS = frozenset(("app", "cloud", "com", "dev", "edu", "gov", "io", "net", "org"))
_BACKSLASH_BEFORE_LAST_STAR = re.compile(r"[^\\](?:\\\\)*\\\*\Z")

_Kind = Literal["username", "groups"]
_PREFIXES: tuple[tuple[_Kind, Path], ...] = (
    ("username", ("claimMappings", "username", "prefix")),
    ("groups", ("claimMappings", "groups", "prefix")),
)


def _prefix(entry: ClaimsConfig, kind: _Kind) -> str | None:
    claim = entry.claim_mappings.username if kind == "username" else entry.claim_mappings.groups
    if claim is None or claim.claim is None:
        return None
    if claim.claim == "sub" and isinstance(entry, JWTIssuerConfig) and entry.gate.spiffe is not None:
        return f"{claim.prefix}{entry.issuer.url}/"  # every `sub` is a SPIFFE ID of the trust domain
    return claim.prefix
