"""A gRPC ext_authz server that decides nothing: the highest rate that grpc.aio can reach.

`python -m tests.bench.null_ext_authz PORT` allows every request. Messages are not parsed, and the response is always
the same bytes.
"""

from __future__ import annotations

import sys

import grpc
import uvloop
from envoy.service.auth.v3.external_auth_pb2 import CheckResponse, OkHttpResponse

_CHECK = "envoy.service.auth.v3.Authorization"


async def _main(port: int) -> None:
    allowed = CheckResponse(ok_response=OkHttpResponse())
    allowed.status.code = 0
    response: bytes = allowed.SerializeToString()

    async def check(_request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        return response

    method = grpc.unary_unary_rpc_method_handler(check)  # without serializers: bytes in, bytes out
    server = grpc.aio.server(handlers=[grpc.method_handlers_generic_handler(_CHECK, {"Check": method})])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1])))
