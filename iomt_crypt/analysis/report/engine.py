"""The image cipher and the suite on one frame, as the gateway runs them, under keys that are for measuring only."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from iomt_crypt import cipher
from iomt_crypt.analysis.image import Frame
from iomt_crypt.analysis.metric import Samples
from iomt_crypt.dicom import Policy, protect, read_file, restore
from iomt_crypt.errors import AuthenticationError
from iomt_crypt.seal import SUITES, Epoch, HpkeIdentity, Keyring, ObjectKey
from iomt_crypt.seal.schedule import KEY_BYTES, OBJECT_ID_BYTES


@dataclass(frozen=True, slots=True)
class Sealed:
    """What the suite makes of one frame: stored words of the frame's shape, and their tag."""

    image: Samples
    tag: bytes


class Engine:
    """Encrypts the frame.

    Parameters
    ----------
    frame
        What is encrypted; its layout says how the suite sees it.
    suite
        One of `iomt_crypt.seal.SUITES`.
    rng
        Where the suite's data key for this frame comes from.
    """

    def __init__(self, frame: Frame, suite: str, rng: np.random.Generator) -> None:
        self._frame = frame
        keys = ObjectKey(rng.bytes(KEY_BYTES), rng.bytes(OBJECT_ID_BYTES))
        self._suite = SUITES[suite](keys, frame.layout, b"")

    def encrypt(self, image: Samples, key: bytes, nonce: bytes) -> Samples:
        """Encrypt by the image cipher alone; the nonce is the tweak, the row length the suite's."""
        output = np.empty(image.shape, image.dtype)
        row_length = self._frame.layout.row_length
        cipher.encrypt_into(np.ascontiguousarray(image), output, key, tweak=nonce, row_length=row_length)
        return output

    def decrypt(self, image: Samples, key: bytes, nonce: bytes) -> Samples:
        """Undo `encrypt`."""
        output = np.empty(image.shape, image.dtype)
        row_length = self._frame.layout.row_length
        cipher.decrypt_into(np.ascontiguousarray(image), output, key, tweak=nonce, row_length=row_length)
        return output

    def seal(self, image: Samples) -> Sealed:
        """Encrypt and authenticate by the suite, as the frame's unit of its object."""
        stored = np.array(image, order="C")
        tag = self._suite.seal(self._frame.index, stored.reshape(-1).view(np.uint8).data)
        return Sealed(stored, tag)

    def open(self, sealed: Sealed) -> Samples:
        """Check and decrypt what `seal` made. Raises AuthenticationError for anything else."""
        opened = np.array(sealed.image, order="C")
        self._suite.open(self._frame.index, opened.reshape(-1).view(np.uint8).data, sealed.tag)
        return opened

    def rejects(self, sealed: Sealed) -> bool:
        """Whether the suite refuses it and leaves zeros where the frame was."""
        opened = np.array(sealed.image, order="C")
        try:
            self._suite.open(self._frame.index, opened.reshape(-1).view(np.uint8).data, sealed.tag)
        except AuthenticationError:
            return not opened.any()
        return False


def round_trip(data: bytes, suite: str) -> tuple[bytes, bytes]:
    """Encrypt a DICOM object for a recipient of its own, in memory, and decrypt it.

    Returns
    -------
    encrypted, decrypted
        The encrypted object, and what came back.

    Raises
    ------
    InputError
        The object cannot be encrypted.
    """
    identity = HpkeIdentity.generate()
    epoch = Epoch.create([identity.recipient])
    policy = Policy(suite=suite, site_key=bytes(32))  # of the derived UIDs, which nobody gets to see
    encrypted, decrypted = io.BytesIO(), io.BytesIO()
    protect(read_file(io.BytesIO(data)), encrypted, epoch=epoch, policy=policy)
    encrypted.seek(0)
    restore(encrypted, decrypted, keyring=Keyring([identity]))
    return encrypted.getvalue(), decrypted.getvalue()
