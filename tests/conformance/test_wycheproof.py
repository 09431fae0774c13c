"""Wycheproof's vectors for JSON Web Signatures, JSON Web Keys and EdDSA, compared with authgate's results."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from authgate.keys.jwk import KeyDocumentError, read_jwk_set, read_pem_keys
from authgate.keys.key_set import StaticKeySet
from authgate.model import Rejected
from authgate.verify.compact import CompactParser
from tests.conformance.trusted import jws_accepted
from tests.support.vectors import WycheproofVector, load_wycheproof, wycheproof_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER = wycheproof_folder()
if _FOLDER is None:
    pytest.skip(
        "not applicable: Wycheproof's vectors are not here; point AUTHGATE_WYCHEPROOF at a folder with testvectors_v1",
        allow_module_level=True,
    )

HMAC = "HMAC: a key that both sides share can verify nothing here; `alg` and `oct` keys are refused"
AES = "a symmetric key for encryption"
JWE = "JWE: encrypted tokens are refused"

NOT_APPLIED: Mapping[str, Mapping[int, str]] = {
    "json_web_signature_test": {0: HMAC, 12: HMAC, 16: HMAC, 21: HMAC},
    "json_web_key_test": {**dict.fromkeys([0, 1, 2, *range(8, 17)], HMAC), 23: AES, 24: AES},
    "json_web_crypto_test": {0: HMAC, 4: HMAC, 5: HMAC, 6: JWE, 7: JWE},
    "ed25519_test": {},
    "ed448_test": {},
}
"""The groups of each file that authgate cannot accept by design, by their index in the file, and why."""

_EMPTY = "an empty payload is no claims set"
_OTHER_ALG = "the JWK is for PS256, the token says PS384: a key verifies its own algorithm only"
_UNKNOWN_ALG = "the JWK's alg 'ES521' is not registered"

STRICTER: Mapping[int, str] = {
    **dict.fromkeys([259, 264, 268, 272, 320, 325], _EMPTY),
    **dict.fromkeys([346, 350], _OTHER_ALG),
    **dict.fromkeys([347, 351], _UNKNOWN_ALG),
}
"""The valid tests of json_web_signature_test that authgate rejects on purpose, by tcId, and why."""

APPLIED_AND_NOT: Mapping[str, tuple[int, int]] = {
    "json_web_signature_test": (361, 40),
    "json_web_key_test": (11, 15),
    "json_web_crypto_test": (29, 54),
    "ed25519_test": (151, 0),
    "ed448_test": (87, 0),
}
"""How many tests of each file are applied, and how many are not."""

_MAC_GROUP = 21
_NOT_BASE64URL = frozenset(range(360, 376)) - {367, 370}
"""The tests of the HMAC group with text that is not canonical base64url. The file has four errors: 372 and 373 contain
a '?' and are marked valid; 367 and 370 lack the padding that they test, equal 357, and are marked invalid."""

VECTORS = {name: load_wycheproof(_FOLDER, name) for name in APPLIED_AND_NOT}


def _applied(*names: str) -> list[WycheproofVector]:
    return [each for name in names for each in VECTORS[name] if each.group_number not in NOT_APPLIED[name]]


def _not_applied() -> list[WycheproofVector]:
    return [each for name in VECTORS for each in VECTORS[name] if each.group_number in NOT_APPLIED[name]]


def _accepted(vector: WycheproofVector) -> bool:
    """Return whether authgate accepts the vector's token with the vector's public keys, or its private ones."""
    document = vector.group.get("public") or vector.group["private"]
    if "keys" not in document:
        document = {"keys": [document]}
    try:
        keys = StaticKeySet(read_jwk_set(json.dumps(document).encode(), "wycheproof").keys)
    except KeyDocumentError:
        return False
    token = vector.test.get("jws", vector.test.get("jwe"))
    return jws_accepted(keys, token if isinstance(token, str) else json.dumps(token))


@pytest.mark.parametrize("name", APPLIED_AND_NOT)
def test_every_vector_is_applied_or_listed_with_a_reason(name: str) -> None:
    """The applied vectors and those that are listed as not applicable are the complete file."""
    count = Counter(each.group_number in NOT_APPLIED[name] for each in VECTORS[name])
    assert (count[False], count[True]) == APPLIED_AND_NOT[name]


@pytest.mark.parametrize("name", APPLIED_AND_NOT)
def test_groups_that_are_not_applied_have_no_public_key(name: str) -> None:
    """Every group with a public key is applied."""
    groups = {each.group_number: each.group for each in VECTORS[name]}
    without = {number for number, group in groups.items() if not {"public", "publicKey"}.intersection(group)}
    assert without == set(NOT_APPLIED[name])


@pytest.mark.parametrize("vector", _applied("json_web_signature_test"), ids=str)
def test_json_web_signature(vector: WycheproofVector) -> None:
    """A signature is accepted if and only if Wycheproof marks it valid and no stricter rule of authgate rejects it."""
    assert _accepted(vector) == (vector.valid and vector.number not in STRICTER)


@pytest.mark.parametrize("vector", _applied("json_web_key_test", "json_web_crypto_test"), ids=str)
def test_json_web_key_and_crypto(vector: WycheproofVector) -> None:
    """A token is accepted if and only if Wycheproof marks its key and its signature valid."""
    assert _accepted(vector) == vector.valid


@pytest.mark.parametrize("vector", _not_applied(), ids=str)
def test_vectors_that_do_not_apply_are_rejected(vector: WycheproofVector) -> None:
    """HMAC, symmetric and encrypted vectors are rejected, even if Wycheproof marks them valid."""
    assert not _accepted(vector)


@pytest.mark.parametrize(
    "vector",
    [each for each in VECTORS["json_web_signature_test"] if each.group_number == _MAC_GROUP],
    ids=str,
)
def test_encodings_of_the_mac_group(vector: WycheproofVector) -> None:
    """Of the vectors about encodings, the parser rejects exactly those that are not canonical base64url."""
    refused = isinstance(CompactParser().parse_jws(vector.test["jws"]), Rejected)
    assert refused == (vector.number in _NOT_BASE64URL)


@pytest.mark.parametrize("form", ["jwk", "pem"])
@pytest.mark.parametrize("vector", _applied("ed25519_test", "ed448_test"), ids=str)
def test_eddsa(vector: WycheproofVector, form: str) -> None:
    """An EdDSA signature is accepted if and only if Wycheproof marks it valid, with a key from JWK or PEM."""
    if form == "jwk":
        keys = read_jwk_set(json.dumps({"keys": [vector.group["publicKeyJwk"]]}).encode(), "wycheproof").keys
    else:
        keys = read_pem_keys(vector.group["publicKeyPem"].encode(), "wycheproof").keys
    message, signature = bytes.fromhex(vector.test["msg"]), bytes.fromhex(vector.test["sig"])
    assert keys[0].verify("EdDSA", message, signature) == vector.valid
