"""What holds between a policy's role and the rest of a configuration."""

from __future__ import annotations

from collections.abc import Iterator

from authgate.config.checks.headers import preset_prefix
from authgate.config.checks.policies import VERSIONS
from authgate.config.models.durations import format_duration, parse_duration
from authgate.config.models.jwt import IssuerGateConfig
from authgate.config.models.tokens import IdentityTokenConfig
from authgate.config.problems import Finding, Path, nearest, shown
from authgate.config.reading.values import Values
from authgate.vocabulary import CLUSTER_LEEWAY

_USUAL_LEEWAY: float = IssuerGateConfig.model_fields["leeway"].default


def findings_of_roles(values: Values) -> Iterator[Finding]:
    """Tell what is wrong with roles, be they valid by themselves or not."""
    for version in VERSIONS:
        for role, _ in values.find(*version, "role"):
            yield from _audiences(values, role)
            yield from _headers(values, role)
            yield from _leeways(values, role)


def accepted_audiences(values: Values) -> set[str] | None:
    """Return every audience that clusters and issuers accept, None while one of their lists is missing or wrong."""
    clusters = list(values.one_or_each("cluster"))
    issuers = [path for path, _ in values.find("jwt", ...)]
    required: list[Path] = [(*cluster, "audiences") for cluster in clusters]
    required += [(*issuer, "issuer", "audiences") for issuer in issuers]
    lists = [*required, *((*cluster, "tokenReview", "legacyAudiences") for cluster in clusters)]
    if not values.readable("jwt", ...) or not all(values.has(*place) for place in required):
        return None
    if not all(values.readable(*place, ..., kind=str) for place in lists):
        return None
    return {text for place in lists for _, text in values.texts(*place, ...)}


def _audiences(values: Values, role: Path) -> Iterator[Finding]:
    accepted = accepted_audiences(values)
    if accepted is None:
        return
    for path, audience in values.texts(*role, "boundAudiences", ...):
        if audience not in accepted and "*" not in audience:  # a star is reported where it is
            sentence = "is an audience that neither the cluster nor an issuer under jwt accepts"
            yield Finding(path, sentence, shown(audience), nearest(audience, accepted))


def _headers(values: Values, role: Path) -> Iterator[Finding]:
    prefix = preset_prefix(values)
    taken = {name.lower() for _, name in values.texts("headers", "set", ..., "name")}
    if values.has("identityToken"):
        given = values.text("identityToken", "header")
        taken.add((given or IdentityTokenConfig.model_fields["header"].default).lower())
    for path, name in values.texts(*role, "claimMappings", ...):
        if prefix is not None and name.lower().startswith(prefix):
            yield Finding(path, "belongs to the preset, whose headers begin so; name another", shown(name))
        elif name.lower() in taken:
            yield Finding(path, "stands twice: a header has one source", shown(name))
        taken.add(name.lower())


def _leeways(values: Values, role: Path) -> Iterator[Finding]:
    """A role can take fewer tokens than their issuer's rules let through, never more."""
    given = [("jwt", ..., "gate", name) for name in ("leeway", "expiryLeeway")]
    if not all(values.readable(*place) for place in given) or any(
        _seconds(value) is None for place in given for _, value in values.find(*place) if value is not None
    ):
        return  # how wide an issuer's leeway is remains unknown until it is written right
    widest = {
        "expirationLeeway": _widest(values, "expiryLeeway", 0.0),
        "notBeforeLeeway": _widest(values, "leeway", _USUAL_LEEWAY),
    }
    widest["clockSkewLeeway"] = max(widest.values())
    for name, most in widest.items():
        for path, value in values.find(*role, name):
            seconds = _seconds(value)
            if seconds is not None and seconds > most:
                sentence = (
                    f"is more than any issuer allows ({format_duration(most)}): a role can only be stricter;"
                    " set gate.leeway and gate.expiryLeeway of the issuer"
                )
                yield Finding(path, sentence, shown(str(value)))


def _widest(values: Values, name: str, default: float) -> float:
    leeways = [CLUSTER_LEEWAY] if values.has("cluster") else []
    for issuer, _ in values.find("jwt", ...):
        given = [_seconds(value) for _, value in values.find(*issuer, "gate", name)]
        leeways.append(next((seconds for seconds in given if seconds is not None), default))
    return max(leeways, default=0.0)


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError:
        return None  # told already, where it stands
