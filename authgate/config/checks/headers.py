"""What holds between `headers`, `identityToken` and the presets: one name, one meaning."""

from __future__ import annotations

from collections.abc import Iterator

from authgate.config.models.expressions import expression_findings
from authgate.config.models.tokens import IdentityTokenConfig
from authgate.config.problems import Finding, Path, shown
from authgate.config.reading.values import Values
from authgate.expressions import Expects, Sees
from authgate.vocabulary import DEFAULT_PRESET, PRESET_PREFIXES

_PREFIXES = {str(preset): prefix.lower() for preset, prefix in PRESET_PREFIXES.items()}


def findings_of_headers(values: Values) -> Iterator[Finding]:
    """Tell headers that stand twice or belong to the preset, and expressions that are none."""
    preset = values.text("headers", "preset") or DEFAULT_PRESET
    prefix = preset_prefix(values)
    seen: dict[str, Path] = {}
    for path, name in _named(values):
        if prefix is not None and name.lower().startswith(prefix):
            yield Finding(
                path, f"belongs to the preset {preset}, whose headers begin so; name another", shown(name)
            )
        elif seen.setdefault(name.lower(), path) != path:
            yield Finding(path, "stands twice: a header has one source", shown(name))
    for path, text in values.texts("headers", "set", ..., "expression"):
        yield from expression_findings(path, text, Sees.CLAIMS | Sees.USER, Expects.ANY)


def preset_prefix(values: Values) -> str | None:
    """Return how the preset's headers begin, in lower case; None for a preset that is unknown or written wrongly."""
    if not values.readable("headers", "preset", kind=str):
        return None
    return _PREFIXES.get(values.text("headers", "preset") or DEFAULT_PRESET)


def _named(values: Values) -> Iterator[tuple[Path, str]]:
    yield from values.texts("headers", "set", ..., "name")
    if values.has("identityToken"):
        path: Path = ("identityToken", "header")
        yield path, values.text(*path) or IdentityTokenConfig.model_fields["header"].default
