"""Keys of every kind that needs no device and no service."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from key_material import Certified

from iomt_crypt.seal import passphrase as locked


@pytest.fixture
def cheap(monkeypatch):
    """scrypt in a millisecond."""
    monkeypatch.setattr(locked, "_LOG2_N", 4)


@pytest.fixture(scope="session")
def certified() -> Certified:
    return Certified(rsa.generate_private_key(65537, 2048))


@pytest.fixture(scope="session")
def stranger() -> Certified:
    return Certified(rsa.generate_private_key(65537, 2048))


@pytest.fixture(scope="session")
def elliptic() -> Certified:
    return Certified(ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def secret_file(tmp_path):
    """``secret_file(name, text)``: a new 0600 file."""

    def write(name: str, text: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode("ascii") if isinstance(text, str) else text)
        path.chmod(0o600)
        return path

    return write
