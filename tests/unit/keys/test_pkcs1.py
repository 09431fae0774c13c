"""Signatures of RS256, RS384 and RS512 are accepted exactly if the cryptography library's own check accepts them."""

from __future__ import annotations

import hashlib
from functools import cache

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from authgate.keys.algorithms import ALGORITHMS

MESSAGE = b"header.payload"
HASHES = {"RS256": hashes.SHA256(), "RS384": hashes.SHA384(), "RS512": hashes.SHA512()}
# DigestInfo before the hash (RFC 8017, section 9.2), and the same without the NULL of its parameters.
PREFIXES = {
    "RS256": "3031300d060960864801650304020105000420",
    "RS384": "3041300d060960864801650304020205000430",
    "RS512": "3051300d060960864801650304020305000440",
}
WITHOUT_NULL = {
    "RS256": "302f300b0609608648016503040201" + "0420",
    "RS384": "303f300b0609608648016503040202" + "0430",
    "RS512": "304f300b0609608648016503040203" + "0440",
}


@cache
def private_key(bits: int, exponent: int) -> rsa.RSAPrivateKey:
    """Return a key for all tests."""
    return rsa.generate_private_key(exponent, bits)


def signed(key: rsa.RSAPrivateKey, encoded: bytes) -> bytes:
    """Return the signature of an encoded message, which is filled with zeros, or cut, to the length of the key."""
    numbers = key.private_numbers()
    size = key.key_size // 8
    whole = int.from_bytes(encoded[:size].ljust(size, b"\0"), "big")
    return pow(whole, numbers.d, numbers.public_numbers.n).to_bytes(size, "big")


def encodings(algorithm: str, size: int) -> dict[str, bytes]:
    """Return encoded messages; only the first one is right."""
    digest = hashlib.new(HASHES[algorithm].name, MESSAGE).digest()
    info = bytes.fromhex(PREFIXES[algorithm]) + digest
    fill = b"\xff" * (size - 3 - len(info))
    without_null = bytes.fromhex(WITHOUT_NULL[algorithm]) + digest
    return {
        "right": b"\0\1" + fill + b"\0" + info,
        "no DigestInfo": b"\0\1" + b"\xff" * (size - 3 - len(digest)) + b"\0" + digest,
        "no NULL": b"\0\1" + b"\xff" * (size - 3 - len(without_null)) + b"\0" + without_null,
        "garbage behind": b"\0\1" + fill[4:] + b"\0" + info + b"abcd",
        "short padding, garbage behind": b"\0\1" + b"\xff" * 8 + b"\0" + info + b"\1" * size,
        "too short padding": b"\0\1" + b"\xff" * 7 + b"\0" + info + b"\1" * size,
        "another byte in the padding": b"\0\1" + fill[1:] + b"\xfe\0" + info,
        "no end of the padding": b"\0\1" + fill + b"\xff" + info,
        "for encryption": b"\0\2" + fill + b"\0" + info,
        "block type 0": b"\0\0" + b"\0" * len(fill) + b"\0" + info,
        "cut off": b"\0\1" + fill + b"\xff\0" + info[:-1],
        "another hash": b"\0\1" + fill + b"\0" + info[:-1] + bytes([info[-1] ^ 1]),
        "another algorithm": b"\0\1" + fill + b"\0" + b"\x30\x31" + info[2:-1] + b"\0",
        "nothing": b"",
    }


def accepted_by_library(key: rsa.RSAPublicKey, algorithm: str, signature: bytes) -> bool:
    """Return whether the library's own check accepts a signature of the message."""
    try:
        key.verify(signature, MESSAGE, padding.PKCS1v15(), HASHES[algorithm])
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("algorithm", HASHES)
@pytest.mark.parametrize("name", encodings("RS256", 256))
@pytest.mark.parametrize(("bits", "exponent"), [(2048, 65537), (3072, 65537), (2048, 3)])
def test_only_the_right_encoding_is_accepted(algorithm: str, name: str, bits: int, exponent: int) -> None:
    """Everything that was signed is compared, so nothing can hide behind the hash or in the padding."""
    key = private_key(bits, exponent)
    signature = signed(key, encodings(algorithm, bits // 8)[name])

    accepted = ALGORITHMS[algorithm].verify(MESSAGE, key.public_key(), signature)

    assert accepted == (name == "right")
    assert accepted == accepted_by_library(key.public_key(), algorithm, signature)


@pytest.mark.parametrize("algorithm", HASHES)
def test_only_the_whole_signature_is_accepted(algorithm: str) -> None:
    """A signature has the length of the key, and is less than its modulus (RFC 8017, section 8.2.2)."""
    key = private_key(2048, 65537)
    public = key.public_key()
    good = key.sign(MESSAGE, padding.PKCS1v15(), HASHES[algorithm])
    beyond = (int.from_bytes(good, "big") + public.public_numbers().n).to_bytes(257, "big")
    others = [
        b"",
        good[:-1],
        good[1:],
        b"\0" + good,
        good + b"\0",
        beyond,
        beyond[1:],
        b"\0" * 256,
        b"\xff" * 256,
    ]
    others += [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in (0, 100, 255)]

    assert ALGORITHMS[algorithm].verify(MESSAGE, public, good)
    assert not ALGORITHMS[algorithm].verify(MESSAGE + b"a", public, good)
    assert [other for other in others if ALGORITHMS[algorithm].verify(MESSAGE, public, other)] == []
    assert [other for other in others if accepted_by_library(public, algorithm, other)] == []
