"""The step that knows an issuer's public keys: static, or fetched, refreshed and kept while a fetch fails.

`jwk` reads key documents, `key_set` holds the protocol, `remote` decides when to fetch and what to keep,
`sources` and `fetch` get the documents.
"""
