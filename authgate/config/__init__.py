"""The configuration: one YAML file, `AUTHGATE_…` variables and flags, read into frozen values or refused as a whole.

Nothing here knows what is built from the values; `app` hands them on.
"""

from authgate.config.checks.policies import expression_sees
from authgate.config.load import LoadedConfig, flag_name, load
from authgate.config.models.access import AccessReviewConfig, ReviewedResourceConfig
from authgate.config.models.claims import (
    ClaimMappings,
    ClaimOrExpression,
    ClaimValidationRule,
    ExtraMapping,
    PrefixedClaimOrExpression,
    UserValidationRule,
)
from authgate.config.models.cluster import ClusterConfig, TokenReviewConfig
from authgate.config.models.configuration import Config
from authgate.config.models.credential import CredentialConfig, SourceConfig
from authgate.config.models.durations import format_duration, parse_duration
from authgate.config.models.entries import EntryConfig
from authgate.config.models.headers import HeadersConfig, MappedHeaderConfig
from authgate.config.models.jwt import (
    IssuerConfig,
    IssuerGateConfig,
    JWTIssuerConfig,
    KeysConfig,
)
from authgate.config.models.keys import KeyRefreshConfig, StaticKeysConfig
from authgate.config.models.policy import PolicyConfig, PolicyVersionConfig, ShadowConfig
from authgate.config.models.role import RoleConfig
from authgate.config.models.rules import RuleConfig
from authgate.config.models.server import (
    CacheConfig,
    LimitsConfig,
    LogConfig,
    ServerConfig,
    ShutdownConfig,
    TLSConfig,
)
from authgate.config.models.tokens import ExchangeConfig, IdentityTokenConfig, SigningConfig
from authgate.config.policy_tests import AskingIdentity, PolicyTest, PolicyTests, load_policy_tests
from authgate.config.problems import ConfigError, Finding, Problem
from authgate.config.schema import json_schema
from authgate.config.show import effective

__all__ = [
    "AccessReviewConfig",
    "AskingIdentity",
    "CacheConfig",
    "ClaimMappings",
    "ClaimOrExpression",
    "ClaimValidationRule",
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
    "expression_sees",
    "flag_name",
    "format_duration",
    "json_schema",
    "load",
    "load_policy_tests",
    "parse_duration",
]
