"""The configuration: one YAML file, `AUTHGATE_…` variables and flags, read into frozen values or refused as a whole.

Nothing here knows what is built from the values; `app` hands them on.
"""

from authgate.config.addresses import ListenAddress, TCPAddress, UnixAddress, parse_listen
from authgate.config.durations import format_duration, parse_duration
from authgate.config.load import LoadedConfig, flag_name, load
from authgate.config.models import Config
from authgate.config.models_cluster import ClusterConfig, KeyRefreshConfig, TokenReviewConfig
from authgate.config.models_jwt import (
    ASYMMETRIC,
    ClaimMappings,
    ClaimRef,
    IssuerConfig,
    IssuerGateConfig,
    JWTIssuerConfig,
    KeysConfig,
    PrefixedClaim,
    RequiredClaim,
    StaticKeysConfig,
)
from authgate.config.models_policy import (
    AccessReviewConfig,
    PolicyConfig,
    ReviewedResourceConfig,
    RuleConfig,
)
from authgate.config.models_server import (
    CacheConfig,
    HeadersConfig,
    LimitsConfig,
    LogConfig,
    ServerConfig,
    ShutdownConfig,
    TLSConfig,
)
from authgate.config.problems import ConfigError, Problem
from authgate.config.schema import json_schema
from authgate.config.show import effective

__all__ = [
    "ASYMMETRIC",
    "AccessReviewConfig",
    "CacheConfig",
    "ClaimMappings",
    "ClaimRef",
    "ClusterConfig",
    "Config",
    "ConfigError",
    "HeadersConfig",
    "IssuerConfig",
    "IssuerGateConfig",
    "JWTIssuerConfig",
    "KeyRefreshConfig",
    "KeysConfig",
    "LimitsConfig",
    "ListenAddress",
    "LoadedConfig",
    "LogConfig",
    "PolicyConfig",
    "PrefixedClaim",
    "Problem",
    "RequiredClaim",
    "ReviewedResourceConfig",
    "RuleConfig",
    "ServerConfig",
    "ShutdownConfig",
    "StaticKeysConfig",
    "TCPAddress",
    "TLSConfig",
    "TokenReviewConfig",
    "UnixAddress",
    "effective",
    "flag_name",
    "format_duration",
    "json_schema",
    "load",
    "parse_duration",
    "parse_listen",
]
