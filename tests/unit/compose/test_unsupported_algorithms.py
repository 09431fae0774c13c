"""An algorithm that is configured and cannot be verified on this machine stops the start."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OLD = """
import sys
import jwt
from cryptography.hazmat.primitives import asymmetric, serialization
del asymmetric.mldsa  # as in an older version
sys.modules["cryptography.hazmat.primitives.asymmetric.mldsa"] = None
from authgate.cli import main
main()
"""


def test_check_names_the_field_and_what_is_missing(tmp_path: Path) -> None:
    """Without ML-DSA in cryptography; other algorithms are not affected."""
    file = tmp_path / "authgate.yaml"
    entry = (
        "jwt: [{issuer: {url: 'https://a.example', audiences: [a]}, "
        "claimMappings: {username: {claim: sub, prefix: ''}}, gate: {algorithms: [%s]}}]"
    )
    for algorithms, status in (("ES256, ML-DSA-65", 1), ("ES256", 0)):
        file.write_text(entry % algorithms)
        done = subprocess.run(
            [sys.executable, "-c", OLD, "check", "--config", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        if status:
            assert "jwt[0].gate.algorithms" in done.stderr
            assert "names ML-DSA-65" in done.stderr
            assert "OpenSSL 3.5" in done.stderr
