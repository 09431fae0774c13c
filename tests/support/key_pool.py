"""Private keys that tests share, because RSA keys take long to generate."""

from __future__ import annotations

from authgate.dev.keys import PrivateKey, Shape, SigningKey, new_private_key, usual_shape


class KeyPool:
    """Generate each private key once and return it again on every later call."""

    def __init__(self) -> None:
        self._made: dict[tuple[Shape, int], PrivateKey] = {}

    def key(
        self, algorithm: str = "RS256", index: int = 0, *, shape: Shape | None = None, kid: str | None = None
    ) -> SigningKey:
        """Return the index-th key of a shape; RS256 and PS512 with the same index share their private key."""
        shape = shape or usual_shape(algorithm)
        private = self._made.get((shape, index))
        if private is None:
            private = self._made[shape, index] = new_private_key(shape)
        return SigningKey.of(private, algorithm=algorithm, shape=shape, kid=kid)
