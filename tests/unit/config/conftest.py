"""Fixtures for tests of the configuration: loading a file, and its problems by path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from authgate.config import ConfigError, LoadedConfig, Problem, load


class Load(Protocol):
    def __call__(
        self, text: str, env: Mapping[str, str] = ..., flags: Mapping[str, object] = ...
    ) -> LoadedConfig: ...


class Problems(Protocol):
    def __call__(
        self, text: str, env: Mapping[str, str] = ..., flags: Mapping[str, object] = ...
    ) -> dict[str, Problem]: ...


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    """Loads a text as the file `authgate.yaml`."""

    def load_text(
        text: str, env: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
    ) -> LoadedConfig:
        file = tmp_path / "authgate.yaml"
        file.write_text(text, encoding="utf-8", newline="")
        return load(file, env or {}, flags or {})

    return load_text


@pytest.fixture
def problems(load_text: Load) -> Problems:
    """Loads a configuration that must be refused, and returns its problems by path."""

    def problems(
        text: str, env: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
    ) -> dict[str, Problem]:
        with pytest.raises(ConfigError) as caught:
            load_text(text, env or {}, flags or {})
        return {problem.path: problem for problem in caught.value.problems}

    return problems


class Pems:
    """Certificates and keys, as PEM texts."""

    def __init__(self) -> None:
        authority = trustme.CA()
        leaf = authority.issue_cert("gate.example.com")
        key = ec.generate_private_key(ec.SECP256R1())
        pkcs8 = (Encoding.PEM, PrivateFormat.PKCS8)
        self.authority = authority.cert_pem.bytes().decode()
        self.certificate = leaf.cert_chain_pems[0].bytes().decode()
        self.certificate_key = leaf.private_key_pem.bytes().decode()
        self.other_key = key.private_bytes(*pkcs8, NoEncryption()).decode()
        self.encrypted_key = key.private_bytes(*pkcs8, BestAvailableEncryption(b"secret")).decode()
        self.public_key = (
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        )


@pytest.fixture(scope="session")
def pems() -> Pems:
    """One set of certificates and keys for all tests."""
    return Pems()
