"""The fingerprint of RSA keys from a broken generator. Their private key can be computed from the public key.

Nemec et al., "The Return of Coppersmith's Attack" (ROCA, CVE-2017-15361): the generator's primes are powers of 65537
modulo a product of small primes, so the RSA modulus is one, too.
"""

from __future__ import annotations

from typing import Final

_GENERATOR = 65537
# The broken generator uses at least these for every key length. The prime 2 is useless: every modulus is odd.
_SMALL_PRIMES = (
    *(3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71),
    *(73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167),
)


def has_roca_fingerprint(modulus: int) -> bool:
    """Return whether an RSA modulus has the fingerprint; of the other keys, 1 in 2·10⁸ has it by chance."""
    return all(modulus % prime in powers for prime, powers in _POWERS.items())


def _powers_modulo(prime: int) -> frozenset[int]:
    powers, power = set[int](), 1
    while power not in powers:
        powers.add(power)
        power = power * _GENERATOR % prime
    return frozenset(powers)


_POWERS: Final = {prime: _powers_modulo(prime) for prime in _SMALL_PRIMES}
