"""The files that a configuration names: read when it is loaded, so that a missing one is told at start."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from authgate.config.models.pem import check_certificates, check_key_pair, check_public_keys
from authgate.config.problems import Finding, shown
from authgate.config.reading.files import read_text
from authgate.config.reading.values import Pattern, Values
from authgate.signing.keys import read_signing_key


def unreadable_files(values: Values) -> Iterator[Finding]:
    """Tell every certificate, key or kubeconfig file that can't be read or does not hold what it should."""
    for cluster in values.one_or_each("cluster"):
        yield from _unreadable(values, (*cluster, "kubeconfig"))
        yield from _unreadable(values, (*cluster, "staticKeys", "file"), check_public_keys)
    yield from _unreadable(values, ("jwt", ..., "gate", "staticKeys", "file"), check_public_keys)
    yield from _unreadable(values, ("signing", "keyFiles", ...), lambda text: read_signing_key(text.encode()))
    for place in ("server", "exchange"):
        yield from _unusable_tls(values, (place, "tls"))


def _unusable_tls(values: Values, tls: tuple[str, ...]) -> Iterator[Finding]:
    yield from _unreadable(values, (*tls, "clientCAFile"), check_certificates)
    unusable = [
        *_unreadable(values, (*tls, "certFile"), check_certificates),
        *_unreadable(values, (*tls, "keyFile")),
    ]
    certificate = values.text(*tls, "certFile")
    if certificate is not None and not unusable:
        unusable += _unreadable(
            values, (*tls, "keyFile"), lambda key: check_key_pair(read_text(certificate), key)
        )
    yield from unusable


def absent_token_files(values: Values) -> Iterator[Finding]:
    """Tell token files that aren't there yet: they are read again for every fetch, and may still come."""
    yield from _unreadable(values, ("jwt", ..., "gate", "keys", "tokenFile"))


def _unreadable(
    values: Values, pattern: tuple[Pattern, ...], check: Callable[[str], object] = str
) -> Iterator[Finding]:
    for path, file in values.texts(*pattern):
        if (reason := _why_not(file, check)) is not None:
            yield Finding(path, reason, shown(file))


def _why_not(file: str, check: Callable[[str], object]) -> str | None:
    if not file:
        return None  # an empty name is told where it stands
    try:
        check(read_text(file))
    except ValueError as error:
        return str(error)
    return None
