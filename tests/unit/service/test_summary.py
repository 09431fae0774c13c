from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import pytest

from authgate import __version__
from authgate.config import Config, load
from authgate.service.summary import log_start

CLUSTER = "cluster: {name: home, audiences: [a]}\n"
ISSUER = """
jwt:
- issuer: {url: https://corp.test, audiences: [a]}
  claimMappings: {username: {expression: claims.sub}}
  gate: {name: corp}
"""
OPEN = "no policy restricts who may pass"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of a configuration file."""
    return tmp_path / "authgate.yaml"


def loaded(file: Path, text: str) -> Config:
    """The configuration in a file with this text."""
    file.write_text(text)
    return load(file, {}).config


def logged(
    caplog: pytest.LogCaptureFixture, config: Config, **given: Any
) -> list[tuple[str, dict[str, Any]]]:
    """The events at startup, with their attributes."""
    arguments: dict[str, Any] = {
        "verify": ":80",
        "admin": ":90",
        "grpc": "",
        "exchange": "",
        "workers": 2,
        "keys": {},
        "file": None,
    }
    with caplog.at_level(logging.INFO, "authgate"):
        log_start(config, **{**arguments, **given})
    return [(record.message, record.__dict__["attributes"]) for record in caplog.records]


def test_the_line_at_startup_is_a_summary(caplog: pytest.LogCaptureFixture, file: Path) -> None:
    """It has version, file and hash, issuers and clusters with their keys, policies, addresses and workers."""
    policies = "policies: {default: {allow: [{users: [alice]}]}, web: {}}\n"
    config = loaded(file, CLUSTER + ISSUER + policies)
    assert logged(caplog, config, file=file, keys={"corp": 2, "home": 0}) == [
        (
            "authgate serves",
            {
                "service_version": __version__,
                "config_path": str(file),
                "config_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "issuers": "corp (2 keys)",
                "clusters": "home",
                "policies": "default, web",
                "verify": ":80",
                "admin": ":90",
                "workers": 2,
            },
        )
    ]


def test_further_addresses_are_logged(caplog: pytest.LogCaptureFixture, file: Path) -> None:
    """Only if these ports are configured."""
    config = loaded(file, CLUSTER + "policies: {default: {allow: [{users: [alice]}]}}\n")
    [(_, attributes)] = logged(caplog, config, grpc=":81", exchange=":82")
    assert (attributes["grpc"], attributes["exchange"]) == (":81", ":82")


def test_the_policy_of_the_admin_port_is_logged(caplog: pytest.LogCaptureFixture, file: Path) -> None:
    """Only if there is one."""
    policies = "policies: {default: {allow: [{users: [alice]}]}}\n"
    for admin, shown in (("", None), ("admin: {policy: default}\n", "default")):
        caplog.clear()
        [(_, attributes)] = logged(caplog, loaded(file, CLUSTER + policies + admin))
        assert attributes.get("admin_policy") == shown


def test_many_policies_are_counted(caplog: pytest.LogCaptureFixture, file: Path) -> None:
    """A line with a thousand names would be too long."""
    names = ", ".join(f"p{number}: {{deny: [{{users: [mallory]}}]}}" for number in range(25))
    ((_, attributes),) = logged(caplog, loaded(file, f"{CLUSTER}policies: {{{names}}}\n"))
    assert attributes["policies"].endswith("p19 and 5 more")


@pytest.mark.parametrize("policies", ["", "policies: {default: {}, web: {}}\n"], ids=["none", "empty"])
def test_open_policies_are_a_warning(caplog: pytest.LogCaptureFixture, file: Path, policies: str) -> None:
    """Every valid token passes, which may not be meant."""
    messages = [message for message, _ in logged(caplog, loaded(file, CLUSTER + policies))]
    assert [message.startswith(OPEN) for message in messages] == [False, True]


@pytest.mark.parametrize(
    "policy",
    [
        "allow: [{users: [alice]}]",
        "deny: [{users: [mallory]}]",
        "audiences: [a]",
        "accessReview: {resource: {verb: get, resource: services}}",
        "role: {boundSubject: alice}",
    ],
)
def test_a_policy_that_restricts_is_not_a_warning(
    caplog: pytest.LogCaptureFixture, file: Path, policy: str
) -> None:
    """One restricted policy is enough, because another open one is then intended."""
    config = loaded(file, f"{CLUSTER}policies: {{default: {{}}, web: {{{policy}}}}}\n")
    assert [message for message, _ in logged(caplog, config)] == ["authgate serves"]
