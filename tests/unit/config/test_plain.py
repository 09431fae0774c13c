"""The plain values that a child process hands over are those of the models."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from authgate.config.models.fields import ConfigModel
from authgate.config.plain import Section, plain
from authgate.service.restart_only import keep_restart_only, pending_restart

if TYPE_CHECKING:
    from authgate.config import Config
    from tests.unit.config.conftest import Load

EVERYTHING = """
cluster:
- {name: one, audiences: [a]}
- {name: two, audiences: [a], keysFrom: issuer, issuers: ["https://two.example"], tokenReview: {mode: never}}
jwt:
- issuer:
    url: "https://login.example/{tenantid}/v2.0"
    discoveryURL: "https://login.example/common"
    audiences: [a]
  claimMappings: {username: {claim: sub, prefix: "t:"}}
  gate: {name: tenants, tenants: ["a", "b"]}
- issuer: {url: "https://alb.example", audiences: [a]}
  claimMappings: {username: {claim: sub, prefix: "alb:"}}
  claimValidationRules: [{claim: hd, requiredValue: example.com}]
policies:
  default: {allow: [{groups: [a]}], shadow: {allow: [{users: [b]}]}, rules: [{paths: [/a], allow: [{users: [c]}]}]}
server: {proxy: nginx, listen: ["127.0.0.1:1", "unix:/run/gate.sock"]}
signing: {issuer: "https://gate.example"}
exchange: {listen: "127.0.0.1:2", audiences: {default: [app]}}
"""


PROPERTIES = {
    "ClusterConfig": ("has_api",),
    "Config": ("clusters",),
    "JWTIssuerConfig": ("issuer_names", "name", "tenants", "types"),
    "PolicyConfig": ("sees",),
}


def assert_same(model: Any, value: Any) -> None:
    """Every field and every property that is used at runtime has the same value."""
    if isinstance(model, ConfigModel):
        assert type(value) is Section
        names = {*type(model).model_fields, *PROPERTIES.get(type(model).__name__, ())}
        assert vars(value).keys() >= names
        for name in names:
            assert_same(getattr(model, name), getattr(value, name))
    elif isinstance(model, tuple):
        for one, other in zip(model, value, strict=True):
            assert_same(one, other)
    elif isinstance(model, dict):
        assert list(model) == list(value)
        for key in model:
            assert_same(model[key], value[key])
    else:
        assert (type(value), value) == (type(model), model)


@pytest.fixture
def config(load_text: Load) -> Config:
    """A configuration with many kinds of sections."""
    return load_text(EVERYTHING).config


def test_the_values_are_the_same_on_the_other_side(config: Config) -> None:
    """A pickle has no reference to a model, and the values arrive unchanged."""
    data = pickle.dumps(plain(config))
    assert b"authgate.config.models" not in data
    assert b"pydantic" not in data
    assert_same(config, pickle.loads(data))


def test_values_that_a_changed_copy_would_have_wrong_are_left_out(config: Config) -> None:
    """Their use fails at once instead."""
    assert config.server.knows_requests
    assert not hasattr(plain(config).server, "knows_requests")


def test_plain_values_cannot_be_changed_or_shown(config: Config) -> None:
    """Like a model's, but a representation has no values, which may be secrets."""
    section: Any = plain(config)
    with pytest.raises(AttributeError, match="cannot be changed"):
        section.jwt = ()
    with pytest.raises(AttributeError, match="no_such_name"):
        section.no_such_name  # noqa: B018
    assert "login.example" not in repr(section)


def test_settings_that_need_a_restart_are_found_in_plain_values(config: Config, load_text: Load) -> None:
    """The names are those of the file."""
    running = plain(config)
    new = plain(load_text(EVERYTHING + "shutdown: {delay: 1s}\nlimits: {maxTokenBytes: 300}\n").config)
    assert list(pending_restart(running, new)) == ["limits.maxTokenBytes", "shutdown.delay"]
    assert list(pending_restart(running, plain(config))) == []
    assert keep_restart_only(running, new).limits == running.limits
