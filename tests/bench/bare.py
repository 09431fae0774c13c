"""Signature verification with cryptography alone, in a loop.

`python -m tests.bench.bare ALGORITHM PEM TOKENS SECONDS` prints the verified signatures per second.
"""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from authgate.keys.mldsa import MLDSAPublicKey

Verify = Callable[[bytes, bytes], None]


def main() -> None:
    """Verify the signatures of the tokens until the time is over. The tokens are parsed before."""
    name, pem, tokens, seconds = sys.argv[1:]
    verify, prepared = _verification(name, Path(pem).read_bytes())
    pieces: list[tuple[bytes, bytes]] = []
    for token in Path(tokens).read_text("ascii").split()[:2000]:
        head, _, signature = token.rpartition(".")
        raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        pieces.append((prepared(raw), head.encode("ascii")))
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < float(seconds):
        for good_signature, message in pieces[:100]:
            verify(good_signature, message)
        count += 100
        pieces = pieces[100:] + pieces[:100]
    print(count / (time.perf_counter() - started))


def _verification(name: str, pem: bytes) -> tuple[Verify, Callable[[bytes], bytes]]:
    """Return the verify call, which raises for a bad signature, and the conversion that a signature needs for it."""
    key = load_pem_public_key(pem)
    if (mldsa := MLDSAPublicKey.wrapping(key)) is not None:
        return mldsa.key.verify, bytes
    match key:
        case Ed25519PublicKey():
            return key.verify, bytes
        case EllipticCurvePublicKey():
            ecdsa = ECDSA(hashes.SHA256())
            return (lambda signature, message: key.verify(signature, message, ecdsa)), _der
        case RSAPublicKey():
            digest = hashes.SHA512() if name.endswith("512") else hashes.SHA256()
            scheme = (
                padding.PSS(padding.MGF1(digest), digest.digest_size)
                if name[0] == "P"
                else padding.PKCS1v15()
            )
            return (lambda signature, message: key.verify(signature, message, scheme, digest)), bytes
        case _:
            raise SystemExit(f"no verification of {name}")


def _der(raw: bytes) -> bytes:
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))


if __name__ == "__main__":
    main()
