"""Check requests as Envoy sends them, the fields of the responses, and a client that sends requests to a gate."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import grpc
from envoy.config.core.v3.base_pb2 import HeaderValueOption
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

CHECK = "/envoy.service.auth.v3.Authorization/Check"


def check_request(
    token: str | None = None,
    *,
    path: str = "/",
    method: str = "GET",
    host: str = "app.example.com",
    headers: Mapping[str, str] | None = None,
    raw: Iterable[tuple[str, bytes]] | None = None,
    policy: str | None = None,
) -> CheckRequest:
    """Return Envoy's check request for a client's request. With `raw`, repeated headers are not joined."""
    request = CheckRequest()
    http = request.attributes.request.http
    http.method, http.path, http.host = method, path, host
    fields = {":authority": host, ":method": method, ":path": path, **(headers or {})}
    if token is not None:
        fields["authorization"] = f"Bearer {token}"
    if raw is None:
        http.headers.update(fields)
    else:
        for name, value in raw:
            http.header_map.headers.add(key=name, raw_value=value)
    if policy is not None:
        request.attributes.context_extensions["policy"] = policy
    return request


@dataclass(frozen=True, slots=True)
class Checked:
    """The response to a check request: Envoy's changes to the request, or its response to the client."""

    status: int
    code: int
    """The status code in the message (google.rpc.Code)."""
    headers: tuple[tuple[str, str], ...]
    """Headers that Envoy sets in the app's request, or in its response to the client."""
    appended: tuple[tuple[str, str], ...]
    removed: tuple[str, ...]
    metadata: dict[str, Any]

    @classmethod
    def of(cls, response: CheckResponse) -> Self:
        """Return the fields of a message."""
        denied = response.HasField("denied_response")
        part = response.denied_response if denied else response.ok_response
        appends = HeaderValueOption.APPEND_IF_EXISTS_OR_ADD
        told = [(option.header.key, option.header.value, option.append_action) for option in part.headers]
        return cls(
            response.denied_response.status.code if denied else 200,
            response.status.code,
            tuple((name, value) for name, value, action in told if action != appends),
            tuple((name, value) for name, value, action in told if action == appends),
            () if denied else tuple(response.ok_response.headers_to_remove),
            {
                key: list(value) if hasattr(value, "values") else value
                for key, value in response.dynamic_metadata.items()
            },
        )

    def value(self, name: str) -> str:
        """Return the only value of a header, or "" if it is missing."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, values
        return "".join(values)

    @property
    def verdict(self) -> tuple[int, str]:
        """The status and the reason code; "" without a reason."""
        return self.status, self.value("X-Auth-Reason")


class Asker:
    """Send check requests as Envoy does."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self._call = channel.unary_unary(
            CHECK,
            request_serializer=CheckRequest.SerializeToString,
            response_deserializer=CheckResponse.FromString,
        )

    async def __call__(self, token: str | None = None, **request: Any) -> Checked:
        """Return the response to a request with this token."""
        return Checked.of(await self._call(check_request(token, **request), timeout=60))


@asynccontextmanager
async def asking(address: str, credentials: grpc.ChannelCredentials | None = None) -> AsyncIterator[Asker]:
    """Run a client of the gate at an address. With credentials it uses TLS."""
    if credentials is None:
        channel = grpc.aio.insecure_channel(address)
    else:
        channel = grpc.aio.secure_channel(address, credentials)
    async with channel:
        yield Asker(channel)
