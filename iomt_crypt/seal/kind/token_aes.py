"""An AES-256 key that stays on its token, and wraps and unwraps epoch keys there.

What the key and its token allow decides how, in this order; the stanza's kind says which it was:

``pkcs11-aes-gcm``
    ``nonce (12) | ciphertext (32) | tag (16)`` of the epoch key, associated data ``iomt-crypt/1/epoch`` + epoch id
``pkcs11-aes-kw``, ``pkcs11-aes-kwp``
    RFC 3394 or RFC 5649 of ``epoch key (32) | epoch id (16)``, 56 bytes
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal.kind.token_session import TokenSession
from iomt_crypt.seal.recipient import Stanza, epoch_info, fingerprint_of, fingerprint_text
from iomt_crypt.seal.schedule import KEY_BYTES

if TYPE_CHECKING:
    import pkcs11

GCM, KW, KWP = "pkcs11-aes-gcm", "pkcs11-aes-kw", "pkcs11-aes-kwp"

_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_BITS = 256
# What the fingerprint is computed from. The nonce is never drawn for a stanza (probability 2^-96), and always meets the
# same message, so using it many times says nothing.
_PROBE_NONCE = b"\xff" * _NONCE_BYTES
_PROBE_KEY, _PROBE_ID = bytes(KEY_BYTES), b"iomt-crypt probe"


@dataclass(frozen=True)
class _Method:
    wrap: Callable[[Any, bytes, bytes, bytes], bytes]
    unwrap: Callable[[Any, bytes, bytes], bytes | None]
    body_bytes: int


class TokenSecretKey:
    """Recipient and identity at once: a secret key has no public half.

    ``find(session)`` gives the key. The fingerprint comes from what the key does, so that a copy of it on another token
    has the same one.
    """

    def __init__(self, token: TokenSession, find: Callable[[pkcs11.Session], pkcs11.SecretKey], text: str) -> None:
        self._token = token
        self._find = find
        self._text = text
        self._found: pkcs11.SecretKey | None = None
        self._kind = token.run(lambda session: _choose(self._key(session), session, token.name))
        self.fingerprint = token.run(self._probe)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<TokenSecretKey {fingerprint_text(self.fingerprint)}>"

    def wrap(self, epoch_key: bytes, epoch_id: bytes) -> Stanza:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        method = _METHODS[self._kind]
        body = self._token.run(lambda session: method.wrap(self._key(session), epoch_key, epoch_id, nonce))
        return Stanza(self._kind, self.fingerprint, body)

    def unwrap(self, stanza: Stanza, epoch_id: bytes) -> bytes | None:
        """Only stanzas that name this key go to the token: it may log failures, and count them."""
        method = _METHODS.get(stanza.kind)
        if method is None or stanza.recipient != self.fingerprint or len(stanza.body) != method.body_bytes:
            return None
        return self._token.run(lambda session: self._unwrap(session, method, stanza, epoch_id))

    def _unwrap(self, session: pkcs11.Session, method: _Method, stanza: Stanza, epoch_id: bytes) -> bytes | None:
        try:
            return method.unwrap(self._key(session), stanza.body, epoch_id)
        except bad_ciphertext():
            # Tokens say "general error" for a wrong tag as for a dying chip. One that still works has judged the tag.
            if self._probe(session) != self.fingerprint:
                raise self._other_key() from None
            return None

    def _probe(self, session: pkcs11.Session) -> bytes:
        method = _METHODS[self._kind]
        return fingerprint_of(b"pkcs11-aes\0" + method.wrap(self._key(session), _PROBE_KEY, _PROBE_ID, _PROBE_NONCE))

    def _key(self, session: pkcs11.Session) -> pkcs11.SecretKey:
        """Its handle is good for one session only."""
        if self._found is None or self._found.session is not session:
            self._found = self._find(session)
        return self._found

    def _other_key(self) -> KeyMaterialError:
        return KeyMaterialError(
            f"token {self._token.name}: another key has taken the place of {fingerprint_text(self.fingerprint)}"
        )


def bad_ciphertext() -> tuple[type[Exception], ...]:
    """What modules raise for a ciphertext that does not fit the key; some of it means other things as well."""
    from pkcs11 import exceptions

    return (
        exceptions.EncryptedDataInvalid,
        exceptions.EncryptedDataLenRange,
        exceptions.WrappedKeyInvalid,
        exceptions.WrappedKeyLenRange,
        exceptions.DataInvalid,
        exceptions.DataLenRange,
        exceptions.GeneralError,
        exceptions.FunctionFailed,
    )


def _choose(key: pkcs11.SecretKey, session: pkcs11.Session, token_name: str) -> str:
    """The first kind that both the key and its token allow."""
    from pkcs11 import Attribute, Mechanism

    if key.key_length != _KEY_BITS:
        raise KeyMaterialError(f"token {token_name}: the AES key has {key.key_length} bits, needed: {_KEY_BITS}")
    mechanisms = session.token.slot.get_mechanisms()
    if Mechanism.AES_GCM in mechanisms and _allows(key, Attribute.ENCRYPT, Attribute.DECRYPT):
        return GCM
    if _allows(key, Attribute.WRAP, Attribute.UNWRAP):
        if Mechanism.AES_KEY_WRAP in mechanisms:
            return KW
        if Mechanism.AES_KEY_WRAP_KWP in mechanisms:
            return KWP
    raise KeyMaterialError(
        f"token {token_name}: the key may neither encrypt with AES-GCM nor wrap with AES-KW",
        hint="needed: CKA_ENCRYPT and CKA_DECRYPT, or CKA_WRAP and CKA_UNWRAP, and a token that can do the mechanism",
    )


def _allows(key: pkcs11.SecretKey, *attributes: pkcs11.Attribute) -> bool:
    from pkcs11.exceptions import AttributeTypeInvalid

    try:
        return all(key[attribute] for attribute in attributes)
    except AttributeTypeInvalid:
        return False


def _gcm(nonce: bytes, epoch_id: bytes) -> dict[str, Any]:
    from pkcs11 import GCMParams, Mechanism

    parameters = GCMParams(nonce=nonce, aad=epoch_info(epoch_id), tag_bits=8 * _TAG_BYTES)
    return {"mechanism": Mechanism.AES_GCM, "mechanism_param": parameters}


def _wrap_gcm(key: Any, epoch_key: bytes, epoch_id: bytes, nonce: bytes) -> bytes:
    return nonce + bytes(key.encrypt(epoch_key, **_gcm(nonce, epoch_id)))


def _unwrap_gcm(key: Any, body: bytes, epoch_id: bytes) -> bytes | None:
    plain = bytes(key.decrypt(body[_NONCE_BYTES:], **_gcm(body[:_NONCE_BYTES], epoch_id)))
    return plain if len(plain) == KEY_BYTES else None


def _wrapping(mechanism_name: str) -> _Method:
    """AES-KW takes keys, not data: what is wrapped is made a secret of the session first, which ends with it."""

    def wrap(key: Any, epoch_key: bytes, epoch_id: bytes, nonce: bytes) -> bytes:
        from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

        del nonce
        secret = key.session.create_object(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
                Attribute.VALUE: epoch_key + epoch_id,
                **_passing(),
            }
        )
        try:
            return bytes(key.wrap_key(secret, mechanism=Mechanism[mechanism_name]))
        finally:
            secret.destroy()

    def unwrap(key: Any, body: bytes, epoch_id: bytes) -> bytes | None:
        from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

        secret = key.unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.GENERIC_SECRET,
            body,
            mechanism=Mechanism[mechanism_name],
            template=_passing(),
        )
        try:
            plain = bytes(secret[Attribute.VALUE])
        finally:
            secret.destroy()
        fits = hmac.compare_digest(plain[KEY_BYTES:], epoch_id)
        return plain[:KEY_BYTES] if fits else None

    return _Method(wrap, unwrap, KEY_BYTES + 16 + 8)


def _passing() -> dict[pkcs11.Attribute, bool]:
    """Of a secret that is on the token for a moment, and leaves it again."""
    from pkcs11 import Attribute

    return {
        Attribute.TOKEN: False,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: False,
        Attribute.EXTRACTABLE: True,
    }


_METHODS = {
    GCM: _Method(_wrap_gcm, _unwrap_gcm, _NONCE_BYTES + KEY_BYTES + _TAG_BYTES),
    KW: _wrapping("AES_KEY_WRAP"),
    KWP: _wrapping("AES_KEY_WRAP_KWP"),
}
