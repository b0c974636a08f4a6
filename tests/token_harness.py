"""Tokens of SoftHSM for tests: made by its own tool, filled through PKCS#11."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from iomt_crypt.seal.kind import token_session

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
)
PIN = "pin-4711-xk"
LABELS = ("first", "second", "third", "same name", "same name")


@dataclass(frozen=True)
class Hsm:
    """SoftHSM with one token for each of `LABELS`, all with the user PIN `PIN`."""

    folder: Path
    module: Path
    pin_file: Path

    @classmethod
    def create(cls, tool: str, folder: Path) -> Hsm:
        """Sets SOFTHSM2_CONF in this process: the module reads it when it is initialised. `close` undoes it."""
        (folder / "tokens").mkdir()
        configuration = folder / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(configuration)
        for label in LABELS:
            command = [tool, "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "87654321"]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        pin_file = folder / "pin"
        pin_file.write_text(f"{PIN}\n")
        pin_file.chmod(0o600)
        hsm = cls(folder, next(path for path in map(Path, MODULES) if path.exists()), pin_file)
        hsm.pull_out()  # of this process, what it may have of another folder
        return hsm

    def uri(self, token: str, name: str | None = None, *, pin: Path | None = None, ask: bool = False, **more: str):
        """A URI; with ``ask`` without a place for the PIN."""
        path = {"token": token, "object": name, **more}
        text = ";".join(f"{key}={quote(value, safe='%')}" for key, value in path.items() if value is not None)
        source = "" if ask else f"&pin-source={pin or self.pin_file}"
        return f"pkcs11:{text}?module-path={self.module}{source}"

    def fill(self, token: str, work) -> object:
        """``work(session)`` in a session of another process' making: as the token's owner does it."""
        import pkcs11

        module = pkcs11.lib(str(self.module))
        with module.get_token(token_label=token).open(rw=True, user_pin=PIN) as session:
            return work(session)

    @staticmethod
    def log_out() -> None:
        """No session is open, no PIN remembered."""
        token_session._close_all()
        token_session._sessions.clear()

    def close(self) -> None:
        self.log_out()
        os.environ.pop("SOFTHSM2_CONF", None)

    def pull_out(self) -> None:
        """What the module knew of its tokens is gone, and with it all sessions."""
        import pkcs11

        pkcs11.lib(str(self.module)).reinitialize()


def aes_key(session, label: str, value: bytes, *, id: bytes = b"\1", **attributes: bool) -> None:
    """An AES key on the token that may encrypt and wrap, but for what ``attributes`` say."""
    from pkcs11 import Attribute, KeyType, ObjectClass

    flags = {"ENCRYPT": True, "DECRYPT": True, "WRAP": True, "UNWRAP": True, "EXTRACTABLE": False} | attributes
    session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.VALUE: value,
            Attribute.LABEL: label,
            Attribute.ID: id,
            Attribute.TOKEN: True,
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            **{Attribute[name]: value for name, value in flags.items()},
        }
    )


def rsa_key(session, label: str, *, id: bytes, bits: int = 2048):
    """A key pair made on the token; the public half as cryptography's object."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
    from pkcs11 import Attribute, KeyType

    public, _ = session.generate_keypair(KeyType.RSA, bits, label=label, id=id, store=True)
    numbers = (int.from_bytes(public[name], "big") for name in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS))
    return RSAPublicNumbers(*numbers).public_key()


def certificate_of(public, *, days: int = 1):
    """A certificate for ``public``, signed by some authority."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "key holder")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(public)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=9))
    builder = builder.not_valid_after(now + datetime.timedelta(days=days))
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())


def put_certificate(session, certificate, label: str, *, id: bytes) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding
    from pkcs11 import Attribute, CertificateType, ObjectClass

    session.create_object(
        {
            Attribute.CLASS: ObjectClass.CERTIFICATE,
            Attribute.CERTIFICATE_TYPE: CertificateType.X_509,
            Attribute.SUBJECT: certificate.subject.public_bytes(),
            Attribute.VALUE: certificate.public_bytes(Encoding.DER),
            Attribute.LABEL: label,
            Attribute.ID: id,
            Attribute.TOKEN: True,
            Attribute.PRIVATE: False,
        }
    )
