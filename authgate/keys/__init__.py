"""The step that provides an issuer's public keys: static ones, or fetched, refreshed and cached ones.

`jwk` parses key documents, `key_set` defines the protocol, `schedule` decides when to fetch, `remote` decides what to
keep, `sources` and `fetch` fetch documents.
"""
