"""The configuration: a YAML file, `AUTHGATE_…` variables and flags, parsed into frozen models or refused as a whole.

`reading` merges the sources into one tree of plain values, `validation` turns the tree into `models`, and `checks`
hold what must be true between sections. `compose` builds objects from the models.

Names are imported when they are first used: a serving process must not load pydantic and the models (`plain`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from authgate.config.loader import LoadedConfig, effective, flag_name, load
    from authgate.config.models.access import AccessReviewConfig, ReviewedResourceConfig
    from authgate.config.models.cluster import ClusterConfig, TokenReviewConfig
    from authgate.config.models.configuration import Config
    from authgate.config.models.fields import format_duration, issuer_url, parse_duration
    from authgate.config.models.headers import HeadersConfig, MappedHeaderConfig
    from authgate.config.models.introspection import (
        ClientAuthConfig,
        ClientAuthMethod,
        IntrospectionConfig,
    )
    from authgate.config.models.jwt import (
        ClaimMappings,
        ClaimOrExpression,
        ClaimsConfig,
        ClaimValidationRule,
        ExtraMapping,
        IssuerConfig,
        IssuerGateConfig,
        JWTIssuerConfig,
        KeysConfig,
        PrefixedClaimOrExpression,
        UserValidationRule,
    )
    from authgate.config.models.keys import KeyRefreshConfig, StaticKeysConfig
    from authgate.config.models.policy import (
        EntryConfig,
        PolicyConfig,
        PolicyVersionConfig,
        RuleConfig,
        ShadowConfig,
    )
    from authgate.config.models.role import RoleConfig
    from authgate.config.models.server import (
        CacheConfig,
        LimitsConfig,
        LogConfig,
        ServerConfig,
        ShutdownConfig,
        TLSConfig,
    )
    from authgate.config.models.tokens import (
        CredentialConfig,
        ExchangeConfig,
        IdentityTokenConfig,
        SigningConfig,
        SourceConfig,
    )
    from authgate.config.policy_tests import AskingIdentity, PolicyTest, PolicyTests, load_policy_tests
    from authgate.config.problems import ConfigError, Finding, Problem
    from authgate.config.schema import SCHEMA_ID, SCHEMA_LINE, json_schema

__all__ = [
    "SCHEMA_ID",
    "SCHEMA_LINE",
    "AccessReviewConfig",
    "AskingIdentity",
    "CacheConfig",
    "ClaimMappings",
    "ClaimOrExpression",
    "ClaimValidationRule",
    "ClaimsConfig",
    "ClientAuthConfig",
    "ClientAuthMethod",
    "ClusterConfig",
    "Config",
    "ConfigError",
    "CredentialConfig",
    "EntryConfig",
    "ExchangeConfig",
    "ExtraMapping",
    "Finding",
    "HeadersConfig",
    "IdentityTokenConfig",
    "IntrospectionConfig",
    "IssuerConfig",
    "IssuerGateConfig",
    "JWTIssuerConfig",
    "KeyRefreshConfig",
    "KeysConfig",
    "LimitsConfig",
    "LoadedConfig",
    "LogConfig",
    "MappedHeaderConfig",
    "PolicyConfig",
    "PolicyTest",
    "PolicyTests",
    "PolicyVersionConfig",
    "PrefixedClaimOrExpression",
    "Problem",
    "ReviewedResourceConfig",
    "RoleConfig",
    "RuleConfig",
    "ServerConfig",
    "ShadowConfig",
    "ShutdownConfig",
    "SigningConfig",
    "SourceConfig",
    "StaticKeysConfig",
    "TLSConfig",
    "TokenReviewConfig",
    "UserValidationRule",
    "effective",
    "flag_name",
    "format_duration",
    "issuer_url",
    "json_schema",
    "load",
    "load_policy_tests",
    "parse_duration",
]

_MODULES: Final = {
    "schema": ("SCHEMA_ID", "SCHEMA_LINE", "json_schema"),
    "loader": ("LoadedConfig", "effective", "flag_name", "load"),
    "models.access": ("AccessReviewConfig", "ReviewedResourceConfig"),
    "models.cluster": ("ClusterConfig", "TokenReviewConfig"),
    "models.configuration": ("Config",),
    "models.fields": ("format_duration", "issuer_url", "parse_duration"),
    "models.headers": ("HeadersConfig", "MappedHeaderConfig"),
    "models.introspection": ("ClientAuthConfig", "ClientAuthMethod", "IntrospectionConfig"),
    "models.jwt": (
        "ClaimMappings",
        "ClaimOrExpression",
        "ClaimValidationRule",
        "ClaimsConfig",
        "ExtraMapping",
        "IssuerConfig",
        "IssuerGateConfig",
        "JWTIssuerConfig",
        "KeysConfig",
        "PrefixedClaimOrExpression",
        "UserValidationRule",
    ),
    "models.keys": ("KeyRefreshConfig", "StaticKeysConfig"),
    "models.policy": ("EntryConfig", "PolicyConfig", "PolicyVersionConfig", "RuleConfig", "ShadowConfig"),
    "models.role": ("RoleConfig",),
    "models.server": (
        "CacheConfig",
        "LimitsConfig",
        "LogConfig",
        "ServerConfig",
        "ShutdownConfig",
        "TLSConfig",
    ),
    "models.tokens": (
        "CredentialConfig",
        "ExchangeConfig",
        "IdentityTokenConfig",
        "SigningConfig",
        "SourceConfig",
    ),
    "policy_tests": ("AskingIdentity", "PolicyTest", "PolicyTests", "load_policy_tests"),
    "problems": ("ConfigError", "Finding", "Problem"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
