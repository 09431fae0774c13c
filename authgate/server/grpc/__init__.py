"""The gate for proxies that ask in gRPC: Envoy's external authorization, beside `server` and with the same answers.

`mapping` reads a check request and writes its answer, `services` are what can be called, `listener` opens and drains
the port. Only importer of grpc and of Envoy's messages; loaded only where `server.grpc` is set.
"""
