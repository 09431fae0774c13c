"""A proxy's timeout for the gate is longer than all timeouts of the gate together."""

from __future__ import annotations

import re

import pytest

from authgate.config.models.cluster import TokenReviewConfig
from authgate.config.models.keys import KeyRefreshConfig
from authgate.tools.snippets import MANIFESTS, SNIPPETS, Options, manifests, rendered
from authgate.tools.snippets.options import GATE_TIMEOUT, gate_timeout

WITHOUT = {"gateway-api", "traefik-crd", "ingress-nginx"}
"""Manifests of proxies without a setting for the timeout."""


def test_the_timeout_is_longer_than_the_slowest_answer() -> None:
    """The slowest answer needs discovery, keys, TokenReview and access review, each with its default timeout."""
    assert 2 * KeyRefreshConfig().timeout + 2 * TokenReviewConfig().timeout < GATE_TIMEOUT
    assert gate_timeout(0.5, 0.1) == 3


@pytest.mark.parametrize("name", [*SNIPPETS, *(name for name in MANIFESTS if name not in WITHOUT)])
def test_every_configuration_has_the_timeout(name: str) -> None:
    """Each has the requested timeout."""
    options = Options(gate_timeout=23)
    files = rendered(SNIPPETS[name], options) if name in SNIPPETS else manifests(MANIFESTS[name], options)
    assert any(re.search(r"\b23(s|000)?\b", file.text) for file in files)
    assert not any(
        re.search(r"(?i)(read_timeout|server|response\w*:?|_ms:|TIME =) +2(s|000)?\b", file.text)
        for file in files
    )
