"""The image cipher alone: for research, where neither authentication nor different results are wanted."""

from __future__ import annotations

from typing import Any

from iomt_crypt.checks.key import SharedKey
from iomt_crypt.checks.transform.seal import cipher_image
from iomt_crypt.checks.transform.word import Raw
from iomt_crypt.checks.vouch import TRIAL
from iomt_crypt.errors import ConfigurationError
from iomt_crypt.seal import DEFAULT_SUITE

_NO_EPOCH = b""  # the key is the caller's for as long as the process lasts


class CipherAlone:
    """The image cipher under one key; each channel has its number, and then ``tweak``, as the tweak."""

    def __init__(self, key: SharedKey, tweak: bytes) -> None:
        self._key, self._tweak = key, bytes(tweak)

    @classmethod
    def of(cls, key: bytes | None, tweak: bytes) -> CipherAlone:
        """Raises ConfigurationError without a key of 32 bytes."""
        if key is None:
            raise ConfigurationError("suite=None needs a key", hint="key=secrets.token_bytes(32)")
        return cls(SharedKey(key), tweak)

    def run(self, raw: Raw, *, decrypt: bool) -> None:
        """Encrypt or decrypt the bytes of ``raw`` in place.

        Raises
        ------
        KnownAnswerError
            The image cipher does not work on this machine: nothing is encrypted by it.
        """
        if not decrypt:
            TRIAL.require(DEFAULT_SUITE, raw.layout(), epoch_id=_NO_EPOCH)
        cipher_image(raw, self._key.secret(), self._tweak, decrypt=decrypt)

    def __deepcopy__(self, memo: dict[int, Any]) -> CipherAlone:
        return self
