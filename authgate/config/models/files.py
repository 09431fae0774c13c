"""Fields that name a file, which is read with the configuration, so that a missing one is reported at startup."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, BaseModel, StringConstraints

from authgate.config.models.fields import Matching

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAX_FILE_BYTES: Final = 1024 * 1024
"""The most that is read of the configuration file, or of any file that it names."""

_PUBLIC_KEY: Final = re.compile(
    r"-----BEGIN (?:RSA )?PUBLIC KEY-----.*?-----END (?:RSA )?PUBLIC KEY-----", re.DOTALL
)
# RFC 7518, section 6, and RFC 9964, section 3
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})


def read_text(path: str | Path) -> str:
    """Return a file's text, without a byte order mark; raises ValueError with a sentence.

    The text must be UTF-8 and at most 1 MiB long.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(
            f"cannot be read: {error.strerror or type(error).__name__}{_hint(str(path))}"
        ) from None
    except ValueError:
        raise ValueError("cannot be read: no file can have this name") from None
    return _decoded(data)


def read_input(path: str | Path) -> str:
    """Return the text of standard input if the path is `-`, else of a file; raises ValueError as `read_text` does."""
    return _decoded(sys.stdin.buffer.read(MAX_FILE_BYTES + 1)) if str(path) == "-" else read_text(path)


def input_name(path: str | Path) -> str:
    """Return how messages name a file: its path, or <stdin> for `-`."""
    return "<stdin>" if str(path) == "-" else str(path)


def _decoded(data: bytes) -> str:
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"is larger than {MAX_FILE_BYTES // 1024} KiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: byte {error.start} is not valid; save the file as UTF-8") from None


def _hint(path: str) -> str:
    return " (~ is not expanded here: write the whole path)" if path.startswith("~") else ""


def named_files(value: object) -> Iterator[str]:
    """Yield the paths that a configuration names: its `…File` and `…Files` fields and `kubeconfig`."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            found = getattr(value, name)
            if name in {"kubeconfig", "file"} or name.endswith(("_file", "_files")):
                yield from (str(path) for path in (found if isinstance(found, tuple) else (found,)) if path)
            else:
                yield from named_files(found)
    elif isinstance(value, dict):
        for item in value.values():
            yield from named_files(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from named_files(item)


def check_certificates(text: str) -> str:
    """Return a PEM text that holds at least one X.509 certificate, unchanged; raises ValueError."""
    _certificates(text)
    return text


def check_key_pair(certificates: str, key: str) -> None:
    """Check that a TLS server can use two PEM texts together; raises ValueError."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        private = load_pem_private_key(key.encode(), password=None)
    except TypeError:
        raise ValueError("is encrypted; give the key without a passphrase") from None
    except ValueError:
        raise ValueError("holds no readable PEM private key") from None
    leaf = _certificates(certificates)[0].public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if leaf.public_bytes(*form) != private.public_key().public_bytes(*form):
        raise ValueError("is not the key of the first certificate in certFile")


def check_signs(key: str, algorithm: str) -> None:
    """Check that a PEM private key can sign with an algorithm (RFC 7518, section 3); raises ValueError."""
    import jwt

    if "PRIVATE KEY-----" not in key:
        raise ValueError("holds no PEM private key (-----BEGIN PRIVATE KEY-----…)")
    if "ENCRYPTED" in key:
        raise ValueError("is encrypted; give the key without a passphrase")
    try:
        jwt.encode({}, key, algorithm)
    except (ValueError, TypeError, NotImplementedError, jwt.PyJWTError):
        raise ValueError(f"is not a key that can sign with {algorithm}") from None


def check_public_keys(text: str) -> str:
    """Return a JWKS, an object of PEM keys by kid, or PEM that has a public key, unchanged; raises ValueError.

    The keys of a JWKS are parsed where they are used: one that is not supported must not stop the others.
    """
    if "PRIVATE KEY-----" in text:
        raise ValueError("holds a private key; give the public one (openssl pkey -pubout)")
    if text.lstrip().startswith("{"):
        _check_jwks(text)
    elif "-----BEGIN" in text:
        _check_pem(text)
    else:
        _check_jwks(text)
    return text


def _certificates(text: str) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    if "PRIVATE KEY-----" in text:
        raise ValueError("holds a private key; only certificates belong here")
    if "-----BEGIN" not in text:
        raise ValueError("must be PEM text (-----BEGIN CERTIFICATE-----…), not a file's path")
    try:
        return load_pem_x509_certificates(text.encode())
    except ValueError:
        raise ValueError("holds no readable PEM certificate") from None


def _check_pem(text: str) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if "-----BEGIN CERTIFICATE-----" in text:
        _certificates(text)
    blocks = _PUBLIC_KEY.findall(text)
    if not blocks and "-----BEGIN CERTIFICATE-----" not in text:
        raise ValueError("holds no PEM public key (-----BEGIN PUBLIC KEY-----…) or certificate")
    for block in blocks:
        try:
            load_pem_public_key(block.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("holds a PEM public key that cannot be read") from None


def _check_jwks(text: str) -> None:
    try:
        jwks = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError('must be a JWKS ({"keys": […]}) or PEM public keys') from None
    if isinstance(jwks, dict) and "keys" not in jwks and any(map(_is_pem, jwks.values())):
        return
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(keys, list) or not keys:
        raise ValueError('must be a JWKS with at least one key: {"keys": […]}')
    if any(isinstance(key, dict) and not _PRIVATE_MEMBERS.isdisjoint(key) for key in keys):
        raise ValueError("holds a private or symmetric key; give the public keys only")


def _is_pem(value: object) -> bool:
    return isinstance(value, str) and "-----BEGIN " in value


def _check_signing_key(text: str) -> None:
    from authgate.signing.keys import read_signing_key

    read_signing_key(text.encode())


def _reads(check: Callable[[str], object] = str) -> AfterValidator:
    def read(path: str) -> str:
        check(read_text(path))
        return path

    return AfterValidator(read)


FilePath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=4096),
    Matching(r"[^\x00-\x1f\x7f-\x9f]*", "must not contain control characters or line breaks"),
]
"""The path of a file that may not exist yet; a relative one counts from the working directory."""

ReadableFile = Annotated[FilePath, _reads()]
"""A file that can be read."""

CertificateFile = Annotated[FilePath, _reads(check_certificates)]
"""A file of PEM certificates."""

PublicKeysFile = Annotated[FilePath, _reads(check_public_keys)]
"""A file with a JWKS or PEM public keys."""

SigningKeyFile = Annotated[FilePath, _reads(_check_signing_key)]
"""A file with a PEM private key that can sign tokens."""
