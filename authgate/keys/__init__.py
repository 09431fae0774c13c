"""The step that knows an issuer's public keys: static, or fetched, refreshed and kept while a fetch fails.

`jwk` reads key documents, `key_set` holds the protocol, `remote` decides what to keep and `schedule` when to fetch,
`sources` and `fetch` get the documents.
"""
