"""An RSA private key that stays on its token, in the place of a private key from a file."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from cryptography.hazmat.primitives.asymmetric.padding import OAEP, AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal.kind.certificate import CertificateIdentity
from iomt_crypt.seal.kind.envelope import KIND as ENVELOPE_KIND
from iomt_crypt.seal.kind.rsa import KIND, RsaRecipient, oaep
from iomt_crypt.seal.kind.token_aes import bad_ciphertext
from iomt_crypt.seal.kind.token_session import TokenSession
from iomt_crypt.seal.recipient import Stanza, fingerprint_text

if TYPE_CHECKING:
    import pkcs11

_CONTENT_KEY_BYTES = 32


class TokenPrivateKey(RSAPrivateKey):
    """The interface of cryptography's private keys; only ``decrypt`` works, with PKCS #1 v1.5 and with `oaep`.

    ``find(session)`` gives the key.
    """

    def __init__(self, token: TokenSession, find: Callable[[pkcs11.Session], Any], public: RSAPublicKey) -> None:
        self._token = token
        self._find = find
        self._public = public
        self._found: Any = None  # a pkcs11.PrivateKey; not every one has decrypt

    def __repr__(self) -> str:
        return f"<TokenPrivateKey on {self._token.name}>"

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def public_key(self) -> RSAPublicKey:
        return self._public

    def decrypt(self, ciphertext: bytes, padding: AsymmetricPadding) -> bytes:
        """Raises ValueError when an OAEP ciphertext does not fit; a PKCS #1 v1.5 one gives a random key then.

        That is implicit rejection, as OpenSSL does it, so that what follows is the same whatever the padding was.
        """
        plain = self._token.run(lambda session: self._decrypt(session, ciphertext, padding))
        if plain is not None:
            return plain
        if isinstance(padding, PKCS1v15):
            return secrets.token_bytes(_CONTENT_KEY_BYTES)
        raise ValueError("decryption failed")

    def check(self, scheme: AsymmetricPadding) -> None:
        """Raise KeyMaterialError unless the token opens what was encrypted for it a moment ago."""
        probe = secrets.token_bytes(48)
        if self.decrypt(self._public.encrypt(probe, scheme), scheme) != probe:
            raise self._refused("open what was encrypted for it")

    def _decrypt(self, session: pkcs11.Session, ciphertext: bytes, scheme: AsymmetricPadding) -> bytes | None:
        if len(ciphertext) != (self.key_size + 7) // 8:
            return None
        try:
            return self._ask_token(session, ciphertext, scheme)
        except bad_ciphertext():
            return None

    def _ask_token(self, session: pkcs11.Session, ciphertext: bytes, scheme: AsymmetricPadding) -> bytes:
        from pkcs11 import MGF, Mechanism

        if self._found is None or self._found.session is not session:
            self._found = self._find(session)
        if isinstance(scheme, OAEP):
            parameters = (Mechanism.SHA_1, MGF.SHA1, None)
            return bytes(self._found.decrypt(ciphertext, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=parameters))
        return bytes(self._found.decrypt(ciphertext, mechanism=Mechanism.RSA_PKCS))

    def sign(self, *_: object, **__: object) -> NoReturn:
        raise self._refused("sign")

    def private_numbers(self) -> NoReturn:
        raise self._refused("give out its private numbers")

    def private_bytes(self, *_: object, **__: object) -> NoReturn:
        raise self._refused("give out its private bytes")

    def __copy__(self) -> TokenPrivateKey:
        return self

    def __deepcopy__(self, memo: object) -> TokenPrivateKey:
        return self

    def _refused(self, what: str) -> KeyMaterialError:
        return KeyMaterialError(f"token {self._token.name}: the key does not {what}")


class TokenRsaIdentity:
    """Opens what was encrypted to the key's public half, or to a certificate of it."""

    def __init__(self, key: TokenPrivateKey) -> None:
        self._key = key
        self._certified = CertificateIdentity(key, None)
        self.recipient = RsaRecipient(key.public_key())

    @property
    def fingerprint(self) -> bytes:
        return self.recipient.fingerprint

    def __repr__(self) -> str:
        return f"<TokenRsaIdentity {fingerprint_text(self.fingerprint)}>"

    def unwrap(self, stanza: Stanza, epoch_id: bytes) -> bytes | None:
        """Only stanzas that name this key go to the token: it may log failures, and count them.

        Tokens say "general error" for a wrong padding as for a dying chip. So one that opened nothing has to show that
        it still works; always, and not for some reasons only, or the time it takes would tell them apart.
        """
        if stanza.recipient != self.fingerprint or stanza.kind not in (KIND, ENVELOPE_KIND):
            return None
        epoch_key = self._certified.unwrap(stanza, epoch_id)
        if epoch_key is None:
            self._key.check(oaep() if stanza.kind == KIND else PKCS1v15())
        return epoch_key
