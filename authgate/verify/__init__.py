"""The step that verifies a token: cache, router, local signature check, TokenReview.

`CachingVerifier` and `IssuerRouter` verify bearer tokens (`Verifier`). The router parses a token once and passes the
unverified result to the `JWTVerifier` or `ClusterVerifier` of its issuer. The parser (`compact`) and the claim rules
(`claims`, `identity`, `mapped`) are pure functions that take the time.
"""
