"""What holds between `signing`, `identityToken`, `exchange` and the rest of a configuration."""

from __future__ import annotations

from collections.abc import Iterator

from authgate.config.models.durations import format_duration, parse_duration
from authgate.config.models.server import CacheConfig
from authgate.config.models.tokens import IdentityTokenConfig
from authgate.config.problems import Finding, nearest, shown
from authgate.config.reading.values import Values
from authgate.vocabulary import DEFAULT_POLICY


def findings_of_tokens(values: Values) -> Iterator[Finding]:
    """Tell what is wrong with the gate's own tokens."""
    users = [name for name in ("identityToken", "exchange") if values.has(name)]
    if users and not values.has("signing"):
        yield Finding((users[0],), "needs signing: in whose name (signing.issuer) and with which keys")
    if values.has("signing") and not users:
        yield Finding(("signing",), "signs nothing: set identityToken or exchange, or leave it out")
    unnamed = values.readable("signing", "keyFiles") and not values.has("signing", "keyFiles")
    if values.has("signing") and unnamed and several_workers(values):
        yield Finding(
            ("signing", "keyFiles"),
            "is required with several server.workers: each would make a key of its own",
        )
    yield from _issuer_is_its_own(values)
    yield from _lives_longer_than_verdicts(values)
    yield from _policies_exist(values)


def several_workers(values: Values) -> bool:
    """Tell whether more than one process may serve."""
    return any(
        workers == "auto" or (isinstance(workers, int) and workers > 1)
        for _, workers in values.find("server", "workers")
    )


def _issuer_is_its_own(values: Values) -> Iterator[Finding]:
    own = values.text("signing", "issuer")
    taken = {text for _, text in values.texts("cluster", "issuers", ...)}
    taken.update(text for _, text in values.texts("cluster", ..., "issuers", ...))
    if own is not None and own in taken:
        yield Finding(("signing", "issuer"), "is an issuer of the cluster; name the gate itself", shown(own))


def _lives_longer_than_verdicts(values: Values) -> Iterator[Finding]:
    readable = all(values.readable(section, "ttl") for section in ("identityToken", "cache"))
    if not values.has("identityToken") or not readable:
        return
    ttl = _seconds(values, ("identityToken", "ttl"), IdentityTokenConfig.model_fields["ttl"].default)
    kept = _seconds(values, ("cache", "ttl"), CacheConfig.model_fields["ttl"].default)
    if ttl is not None and kept is not None and ttl < 2 * kept:
        yield Finding(
            ("identityToken", "ttl"),
            f"must be at least twice cache.ttl ({format_duration(kept)}): a remembered verdict keeps its token",
            format_duration(ttl),
        )


def _seconds(values: Values, path: tuple[str, str], default: float) -> float | None:
    for _, value in values.find(*path):
        try:
            return parse_duration(value)
        except ValueError:
            return None  # told already, where it stands
    return default


def _policies_exist(values: Values) -> Iterator[Finding]:
    policies = [value for _, value in values.find("policies")]
    audiences = [value for _, value in values.find("exchange", "audiences")]
    if not all(value is None or isinstance(value, dict) for value in (*policies, *audiences)):
        return
    names = {str(path[1]) for path, _ in values.find("policies", ...)} or {DEFAULT_POLICY}
    for path, _ in values.find("exchange", "audiences", ...):
        name = str(path[2])
        if name not in names:
            yield Finding(path, "is no configured policy", shown(name), nearest(name, names))
