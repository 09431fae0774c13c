"""Check one entry of `introspection`: its endpoint, and whether the endpoint accepts authgate as a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.compose.dependencies import CompositionError
from authgate.compose.introspection import introspection_client
from authgate.tools.doctor.findings import Finding, bad, good
from authgate.verify.token_review import PROBE_TOKEN

if TYPE_CHECKING:
    from authgate.compose import Dependencies
    from authgate.config import IntrospectionConfig

_CREDENTIALS: Final = (
    "check clientAuth: the client's id, its secret or key, and the method that the server has for this client; some"
    " servers must also allow the client to introspect tokens"
)
_ENDPOINT: Final = (
    "check endpoint: it must be the server's introspection endpoint (RFC 7662), not its token endpoint"
)
_REACH: Final = (
    "check name resolution, the proxy, certificateAuthority and network policies from here to the server"
)
_REMEDIES: Final = {
    ApiErrorKind.UNAUTHORIZED: _CREDENTIALS,
    ApiErrorKind.FORBIDDEN: _CREDENTIALS,
    ApiErrorKind.RATE_LIMITED: "wait, and lower qps and burst below the server's own limit",
    ApiErrorKind.SERVER_ERROR: "read the server's own log",
    ApiErrorKind.TIMEOUT: "check that the server answers from here; raise timeout if it is slow",
    ApiErrorKind.UNREACHABLE: _REACH,
    ApiErrorKind.BAD_ANSWER: _ENDPOINT,
}


async def examine_introspection(item: IntrospectionConfig, deps: Dependencies) -> list[Finding]:
    """Return the findings about an endpoint, which gets an invented token."""
    subject = f"introspection {item.name}"
    try:
        client = introspection_client(item, deps)
    except CompositionError as error:
        return [
            bad(subject, error.reason, "check the files of clientAuth, certificateAuthority and the proxy")
        ]
    try:
        active = await client.introspect(PROBE_TOKEN)
    except ApiError as error:
        found = (
            [good(f"{subject}: endpoint", client.endpoint)] if client.endpoint and not item.endpoint else []
        )
        discovery = not client.endpoint
        remedy = "check issuer, or set endpoint" if discovery else _REMEDIES[error.kind]
        return [*found, bad(f"{subject}: {'discovery' if discovery else 'endpoint'}", error.detail, remedy)]
    finally:
        await client.close()
    if active is not None:
        sentence = f"{client.endpoint} reports that an invented token is active"
        return [bad(f"{subject}: endpoint", sentence, _ENDPOINT)]
    where = "discovered through issuer" if item.endpoint is None else "as configured"
    return [
        good(f"{subject}: endpoint", f"{client.endpoint}, {where}"),
        good(
            f"{subject}: client",
            f"'{item.client_auth.client_id}' is accepted by {item.client_auth.method}; an invented token is not active",
        ),
    ]
