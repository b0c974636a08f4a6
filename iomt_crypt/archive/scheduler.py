"""Address of a Dask scheduler, and the files that prove who is who."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iomt_crypt.errors import ConfigurationError

_SCHEMES = ("tcp", "tls")


@dataclass(frozen=True)
class Scheduler:
    """An existing cluster.

    address
        ``tls://host:port``, or ``tcp://host:port`` in a network where everybody is trusted
    ca_file, cert_file, key_file
        PEM files for ``tls://``: the authority that signed scheduler and workers, our own certificate and its key
    """

    address: str
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        scheme, found, _ = self.address.partition("://")
        if not found or scheme not in _SCHEMES:
            raise ConfigurationError(
                f"{self.address!r} is no address of a scheduler", hint="tls://HOST:PORT, or tcp://HOST:PORT"
            )
        files = (self.ca_file, self.cert_file, self.key_file)
        if scheme == "tls" and None in files:
            raise ConfigurationError(
                f"{self.address}: TLS needs the files of the authority, a certificate and its key",
                hint="--tls-ca FILE --tls-cert FILE --tls-key FILE",
            )
        if scheme == "tcp" and files != (None, None, None):
            raise ConfigurationError(
                f"{self.address}: TLS files are given, and tcp:// uses none", hint="tls://HOST:PORT"
            )

    @property
    def encrypted(self) -> bool:
        """Whether what is sent can be read by nobody else."""
        return self.address.startswith("tls://")

    def security(self) -> Any:
        """Dask's form of the TLS files."""
        from distributed.security import Security

        if not self.encrypted:
            return Security(require_encryption=False)
        return Security(
            tls_ca_file=str(self.ca_file),
            tls_client_cert=str(self.cert_file),
            tls_client_key=str(self.key_file),
            require_encryption=True,
        )
