"""A symmetric key in AWS KMS: it never leaves the service, which logs each use. Needs the extra ``kms``.

Texts: ``awskms:`` and a key's ARN, an alias (``alias/archive`` or its ARN), or a key id; recipient and identity alike.
Credentials, region and endpoint come from where all AWS programs find them (AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL,
instance roles). Stanza body: the CiphertextBlob of Encrypt, whose encryption context
``{"iomt-crypt epoch": epoch id in hexadecimal}`` binds it to the epoch, and stands in CloudTrail.

The service is asked once for an epoch, not for an object. Other services that wrap keys, such as Vault's transit
engine, fit the same shape: a module with ``encrypt``, ``decrypt`` and a name that stays (see `registry`).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

from iomt_crypt.errors import IomtCryptError, KeyMaterialError, NetworkError
from iomt_crypt.seal.recipient import AskPassphrase, Stanza, fingerprint_of, fingerprint_text
from iomt_crypt.seal.schedule import KEY_BYTES

KIND = "awskms"
PREFIX = "awskms:"
CONNECT_S, READ_S, ATTEMPTS = 5, 10, 3
MAX_BODY_BYTES = 6144  # CiphertextBlob of Decrypt, AWS KMS API reference

_CONTEXT = "iomt-crypt epoch"
_KEY_ARN = re.compile(r"arn:(aws[a-z-]*):kms:([a-z0-9-]+):([0-9]{12}):key/(mrk-[0-9a-f-]{32,36}|[0-9a-fA-F-]{36})")
_ALIAS_ARN = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:alias/[A-Za-z0-9/_-]{1,250}")
_NAME = re.compile(r"alias/[A-Za-z0-9/_-]{1,250}|mrk-[0-9a-f-]{32,36}|[0-9a-fA-F-]{36}")

# What KMS answers when a ciphertext is not for the key or not for the epoch.
_NOT_MINE = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_HINTS = {
    "AccessDeniedException": "the key's policy must allow {action} to the credentials in use",
    "NotFoundException": "is the region right, and the key still there?",
    "DisabledException": "the key is disabled: its administrator can enable it",
    "KMSInvalidStateException": "the key is pending deletion or import: its administrator can cancel that",
    "InvalidKeyUsageException": "a symmetric key for ENCRYPT_DECRYPT is needed",
    "UnrecognizedClientException": "the AWS credentials are not valid (any more)",
    "InvalidClientTokenId": "the AWS credentials are not valid (any more)",
    "ExpiredTokenException": "the AWS credentials have expired",
}
_LATER = frozenset(
    {"ThrottlingException", "KMSInternalException", "KeyUnavailableException", "DependencyTimeoutException"}
)


class KmsKey:
    """Recipient and identity at once. The fingerprint is that of the key's ARN, an alias being resolved once."""

    def __init__(self, name: str) -> None:
        match = _KEY_ARN.fullmatch(name) or _ALIAS_ARN.fullmatch(name)
        if match is None and not _NAME.fullmatch(name):
            raise KeyMaterialError(
                f"{PREFIX}... is not followed by the name of a key",
                hint=f"{PREFIX}arn:aws:kms:REGION:ACCOUNT:key/ID or {PREFIX}alias/NAME",
            )
        arn = _KEY_ARN.fullmatch(name)
        region = (arn[2] if arn else match[1]) if match else None
        self._client = _client(region)
        self._arn = name if arn else self._resolve(name)
        self.fingerprint = _fingerprint(self._arn)

    def __str__(self) -> str:
        return PREFIX + self._arn

    def __repr__(self) -> str:
        return f"<KmsKey {fingerprint_text(self.fingerprint)}>"

    def wrap(self, epoch_key: bytes, epoch_id: bytes) -> Stanza:
        """Raises NetworkError when KMS does not answer, KeyMaterialError when it refuses."""
        answer = _call(
            self._client.encrypt,
            "kms:Encrypt",
            self._arn,
            KeyId=self._arn,
            Plaintext=epoch_key,
            EncryptionContext={_CONTEXT: epoch_id.hex()},
        )
        return Stanza(KIND, self.fingerprint, bytes(answer["CiphertextBlob"]))

    def unwrap(self, stanza: Stanza, epoch_id: bytes) -> bytes | None:
        """Only stanzas that name this key are sent: each call costs, and a refused one is an alarm to somebody."""
        if stanza.kind != KIND or stanza.recipient != self.fingerprint or not 0 < len(stanza.body) <= MAX_BODY_BYTES:
            return None
        try:
            answer = _call(
                self._client.decrypt,
                "kms:Decrypt",
                self._arn,
                KeyId=self._arn,
                CiphertextBlob=stanza.body,
                EncryptionContext={_CONTEXT: epoch_id.hex()},
            )
        except _NotMineError:
            return None
        plain = bytes(answer["Plaintext"])
        return plain if len(plain) == KEY_BYTES else None

    def _resolve(self, name: str) -> str:
        key = _call(self._client.describe_key, "kms:DescribeKey", name, KeyId=name)["KeyMetadata"]
        arn, usage, spec = (str(key.get(field, "")) for field in ("Arn", "KeyUsage", "KeySpec"))
        if (usage, spec) != ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT") or not _KEY_ARN.fullmatch(arn):
            raise KeyMaterialError(
                f"AWS KMS key {name} is a key for {usage or 'nothing known'}, {spec}",
                hint="a symmetric key for ENCRYPT_DECRYPT is needed",
            )
        return arn


class _NotMineError(Exception):
    """KMS cannot open the ciphertext with the key."""


def parse_recipient(text: str, ask: AskPassphrase | None) -> KmsKey:
    del ask
    return KmsKey(text[len(PREFIX) :])


def parse_identity(text: str, ask: AskPassphrase | None) -> KmsKey:
    del ask
    return KmsKey(text[len(PREFIX) :])


def _fingerprint(arn: str) -> bytes:
    """Over the ARN, without the region for a multi-Region key: its replicas are one key (AWS KMS, mrk-)."""
    match = _KEY_ARN.fullmatch(arn)
    if match is not None and match[4].startswith("mrk-"):
        arn = f"arn:{match[1]}:kms:*:{match[3]}:key/{match[4]}"
    return fingerprint_of(b"awskms\0" + arn.encode("ascii"))


# boto3 makes its default session without a lock
_making = threading.Lock()


def _client(region: str | None) -> Any:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise KeyMaterialError("AWS KMS needs the package boto3", hint="pip install 'iomt-crypt[kms]'") from None
    retries = {"total_max_attempts": ATTEMPTS, "mode": "standard"}
    config = Config(connect_timeout=CONNECT_S, read_timeout=READ_S, retries=retries)
    try:
        with _making:
            return boto3.client("kms", region_name=region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise KeyMaterialError(
            f"AWS KMS cannot be set up ({type(error).__name__})",
            hint="region and profile: AWS_REGION, AWS_PROFILE, ~/.aws/config; an ARN names its region itself",
        ) from None


def _call(method: Callable[..., Any], action: str, name: str, **arguments: Any) -> Any:
    """Call KMS; what it or botocore says is reduced to its code, since their texts quote requests."""
    from botocore import exceptions

    try:
        return method(**arguments)
    except exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "?"))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400))
        raise _refusal(code if status < 500 else f"HTTP {status}", action, name) from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.CredentialRetrievalError):
        raise KeyMaterialError(
            "AWS KMS: no credentials were found", hint="AWS_PROFILE, AWS_ACCESS_KEY_ID or the machine's role"
        ) from None
    except exceptions.BotoCoreError as error:
        raise NetworkError(
            f"AWS KMS cannot be reached for {action} ({type(error).__name__}, {ATTEMPTS} attempts)",
            hint="network, proxy and AWS_ENDPOINT_URL",
        ) from None


def _refusal(code: str, action: str, name: str) -> IomtCryptError | _NotMineError:
    if code in _NOT_MINE:
        return _NotMineError()
    if code in _LATER or code.startswith("HTTP "):
        return NetworkError(f"AWS KMS could not do {action} ({code}, {ATTEMPTS} attempts)", hint="try again later")
    hint = _HINTS.get(code, "").format(action=action)
    return KeyMaterialError(f"AWS KMS refused {action} on {name} ({code})", hint=hint)
