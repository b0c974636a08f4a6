"""Keys on PKCS#11 tokens: smart cards, HSMs, SoftHSM. Needs the extra ``token``.

Named by a URI (RFC 7512, `token_uri`). A secret AES key is recipient and identity; of an RSA key pair the private half
is the identity, and the public half or a certificate beside it the recipient, which needs neither PIN nor token later.
"""

from __future__ import annotations

from collections.abc import Sequence
from ssl import DER_cert_to_PEM_cert
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal.kind import registry
from iomt_crypt.seal.kind.rsa import RsaRecipient
from iomt_crypt.seal.kind.token_aes import TokenSecretKey
from iomt_crypt.seal.kind.token_rsa import TokenPrivateKey, TokenRsaIdentity
from iomt_crypt.seal.kind.token_session import TokenSession, find_session, search
from iomt_crypt.seal.kind.token_uri import TokenUri, parse_uri
from iomt_crypt.seal.recipient import AskPassphrase, Identity, Recipient

if TYPE_CHECKING:
    import pkcs11

_CLASSES = {"secret-key": "SECRET_KEY", "private": "PRIVATE_KEY", "public": "PUBLIC_KEY", "cert": "CERTIFICATE"}


def parse_recipient(text: str, ask: AskPassphrase | None) -> Recipient:
    """The recipient that a URI names: a certificate, a public key, a secret key, in this order if it says no type.

    Raises
    ------
    KeyMaterialError
        The URI, the module, the token, the PIN or the key: the message says which, and what is wrong.
    """
    uri = parse_uri(text)
    token = find_session(uri, ask)
    # What is public is found without a PIN on most tokens.
    for login in (False, True):
        found = token.run(lambda session: _recipient(session, uri), login=login)
        if found is not None:
            return found
        if token.run(lambda session: bool(_objects(session, uri, "secret-key")), login=login):
            return _secret_key(token, uri, text)
    raise _missing(token, uri)


def parse_identity(text: str, ask: AskPassphrase | None) -> Identity:
    """The identity that a URI names: a secret key or a private key.

    Raises
    ------
    KeyMaterialError
        As `parse_recipient`; or the name fits a secret key and a private key.
    """
    uri = parse_uri(text)
    if uri.type in ("public", "cert"):
        raise KeyMaterialError(
            f"the PKCS#11 URI names a {uri.type} (public), an identity (secret) is needed",
            hint="type=private or type=secret-key",
        )
    token = find_session(uri, ask)
    is_secret_key, is_private_key = token.run(
        lambda session: (bool(_objects(session, uri, "secret-key")), bool(_objects(session, uri, "private")))
    )
    if is_secret_key and is_private_key:
        raise KeyMaterialError(
            f"token {token.name}: {uri.object_name} is the name of a secret key and of a private key",
            hint="say which: type=secret-key or type=private",
        )
    if is_secret_key:
        return _secret_key(token, uri, text)
    if is_private_key:
        return _private_key(token, uri)
    raise _missing(token, uri)


def _secret_key(token: TokenSession, uri: TokenUri, text: str) -> TokenSecretKey:
    return TokenSecretKey(token, lambda session: _only(session, uri, "secret-key", token), text)


def _recipient(session: pkcs11.Session, uri: TokenUri) -> Recipient | None:
    from pkcs11 import Attribute

    certificates = _objects(session, uri, "cert")
    if len(certificates) > 1:
        raise KeyMaterialError(
            f"{len(certificates)} certificates on the token fit {uri.object_name!r}", hint="name one by its id: id=%01"
        )
    if certificates:
        pem = DER_cert_to_PEM_cert(bytes(certificates[0][Attribute.VALUE]))
        return registry.parse_recipient(pem)
    public = _objects(session, uri, "public") or _objects(session, uri, "private")
    return RsaRecipient(_public_key(public[0])) if public else None


def _private_key(token: TokenSession, uri: TokenUri) -> TokenRsaIdentity:
    public = token.run(lambda session: _public_key(_only(session, uri, "private", token)))
    return TokenRsaIdentity(TokenPrivateKey(token, lambda session: _only(session, uri, "private", token), public))


def _objects(session: pkcs11.Session, uri: TokenUri, kind: str) -> list[Any]:
    from pkcs11 import Attribute, ObjectClass

    if uri.type not in (None, kind):
        return []
    wanted: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass[_CLASSES[kind]]}
    if uri.object is not None:
        wanted[Attribute.LABEL] = uri.object
    if uri.id is not None:
        wanted[Attribute.ID] = uri.id
    return search(session, wanted)


def _only(session: pkcs11.Session, uri: TokenUri, kind: str, token: TokenSession) -> Any:
    found = _objects(session, uri, kind)
    if not found:
        raise _missing(token, uri)
    if len(found) > 1:
        raise KeyMaterialError(
            f"token {token.name}: {len(found)} keys fit {uri.object_name}", hint="name one by its id: id=%01"
        )
    return found[0]


def _public_key(key: Any) -> RSAPublicKey:
    from pkcs11 import Attribute, KeyType
    from pkcs11.exceptions import AttributeTypeInvalid

    if key.key_type is not KeyType.RSA:
        raise KeyMaterialError("the key on the token is of a kind that is not handled", hint="RSA or AES-256")
    try:
        modulus, exponent = key[Attribute.MODULUS], key[Attribute.PUBLIC_EXPONENT]
        return RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")).public_key()
    except (AttributeTypeInvalid, ValueError):
        raise KeyMaterialError("the token does not tell the public half of the key") from None


def _missing(token: TokenSession, uri: TokenUri) -> KeyMaterialError:
    names: Sequence[str] = sorted(token.run(_names))
    return KeyMaterialError(
        f"token {token.name}: no key {uri.object_name!r}",
        hint=f"there: {', '.join(names)}" if names else "there are no keys on it",
    )


def _names(session: pkcs11.Session) -> set[str]:
    from pkcs11 import Attribute

    return {repr(found[Attribute.LABEL]) for found in search(session, {}) if _has_label(found)}


def _has_label(found: Any) -> bool:
    from pkcs11 import Attribute
    from pkcs11.exceptions import PKCS11Error

    try:
        return bool(found[Attribute.LABEL])
    except PKCS11Error:
        return False
