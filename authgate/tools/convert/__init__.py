"""Convert configurations from and to other programs; fields without a counterpart are always reported."""

from authgate.tools.convert.kubernetes import (
    from_authentication_configuration,
    to_authentication_configuration,
)
from authgate.tools.convert.values import ConversionError, Converted
from authgate.tools.convert.vault import from_vault_role

__all__ = [
    "ConversionError",
    "Converted",
    "from_authentication_configuration",
    "from_vault_role",
    "to_authentication_configuration",
]
