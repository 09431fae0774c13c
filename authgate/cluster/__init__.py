"""The calls to a cluster's API server: its keys, reviews of tokens and access, watches, and token requests.

`api` holds the protocol and the closed set of errors, and imports nothing heavy. `client` implements it over aiohttp.
`typed_api` is the only importer of kubernetes_asyncio, and is imported before the first review or token request.
"""
