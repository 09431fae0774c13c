"""Convert configurations from and to other programs; fields without a counterpart are always reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from authgate.tools.convert.authorino import from_authorino
from authgate.tools.convert.envoy import from_envoy
from authgate.tools.convert.fields import Options
from authgate.tools.convert.istio import from_istio
from authgate.tools.convert.kube_rbac_proxy import from_kube_rbac_proxy
from authgate.tools.convert.kubernetes import (
    from_authentication_configuration,
    to_authentication_configuration,
)
from authgate.tools.convert.oathkeeper import from_oathkeeper
from authgate.tools.convert.oauth2_proxy import from_oauth2_proxy
from authgate.tools.convert.values import ConversionError, Converted, converted_text
from authgate.tools.convert.vault import from_vault_role

FROM: Final[Mapping[str, Callable[[str, Options], Converted]]] = {
    "kube-rbac-proxy": from_kube_rbac_proxy,
    "oauth2-proxy": from_oauth2_proxy,
    "envoy-jwt-authn": from_envoy,
    "istio": from_istio,
    "oathkeeper": from_oathkeeper,
    "authorino": from_authorino,
}
"""The conversions from other proxies; they raise `ConversionError`."""

__all__ = [
    "FROM",
    "ConversionError",
    "Converted",
    "Options",
    "converted_text",
    "from_authentication_configuration",
    "from_vault_role",
    "to_authentication_configuration",
]
