"""The step that asks the cluster: TokenReview and the cluster's own keys, over kubernetes_asyncio.

`api` holds the protocol and the closed set of errors, and imports nothing heavy; `client` implements it and is the
only importer of kubernetes_asyncio, which it loads when a cluster is configured.
"""
