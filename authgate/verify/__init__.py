"""The step that tells whether a token is good: cache, router, local signature check, and TokenReview.

Every part of it is a `Verifier` of the same shape, so that composing them is the design:
`CachingVerifier(IssuerRouter({issuer: JWTVerifier(…)}, …))`. The parse (`compact`) and the claim rules (`claims`,
`identity`) are pure functions that take the time.
"""
