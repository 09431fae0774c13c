"""Envoy's external authorization over gRPC, with the same decisions as over HTTP.

`mapping` reads a check request and writes its answer, `services` are the callable services, `listener` opens and drains
the port. Only this package imports grpc and Envoy's messages. It is loaded only if `server.grpc` is set.
"""
