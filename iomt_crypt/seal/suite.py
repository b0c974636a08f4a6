"""Cipher suites: how the frames of one object are encrypted and authenticated.

``hybrid-1``     the chaos+CNN cipher, then AES-256-GCM over its output. Confidentiality and integrity rest on AES-GCM.
``chaos-cnn-1``  research: the chaos+CNN cipher alone, then HMAC-SHA-256 over its output (encrypt-then-MAC).
"""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from iomt_crypt import cipher
from iomt_crypt.errors import AuthenticationError
from iomt_crypt.seal.schedule import ObjectKey


@dataclass(frozen=True)
class Layout:
    """How the encrypted pixel value is divided into units, each encrypted and authenticated on its own.

    n_frames
        number of units, 0 for an object without pixels
    frame_bytes
        size of every unit
    word_bits
        8 or 16: what the image cipher takes as one sample; ``frame_bytes`` is a multiple of it
    row_length
        samples in one row of the raster, for the 3x3 convolution
    """

    n_frames: int
    frame_bytes: int
    word_bits: int
    row_length: int


class Suite(ABC):
    """Encrypts and decrypts the frames of one object, in place.

    Every (key, frame number) pair is used for one encryption only, because the data key is fresh for each object;
    that is why the frame number alone can be the nonce.
    """

    name: str
    tag_bytes: int

    def __init__(self, key: ObjectKey, layout: Layout, binding: bytes) -> None:
        self._layout = layout
        self._binding = key.object_id + len(binding).to_bytes(8, "little") + binding
        self._image_key = key.derive(f"{self.name}/image")
        self._tag_key = key.derive(f"{self.name}/tag")

    def seal(self, index: int, frame: memoryview) -> bytes:
        """Encrypt ``frame`` (writable, ``frame_bytes`` long) in place and return its tag.

        Raises
        ------
        ValueError
            There is no such frame, or it has another size.
        """
        if not self._fits(index, frame):
            raise ValueError(
                f"frame {index} of {len(frame)} bytes does not fit the layout: "
                f"{self._layout.n_frames} frames of {self._layout.frame_bytes} bytes"
            )
        self._image(cipher.encrypt_into, index, frame)
        return self._protect(index, frame)

    def open(self, index: int, frame: memoryview, tag: bytes) -> None:
        """Check the tag of ``frame``, then decrypt it in place.

        Raises
        ------
        AuthenticationError
            The frame, its number, its size or its object is not the one that was sealed; ``frame`` is zeroed.
        """
        try:
            self._check(index, frame, tag)
        except AuthenticationError:
            frame[:] = bytes(len(frame))
            raise
        self._image(cipher.decrypt_into, index, frame)

    def _check(self, index: int, frame: memoryview, tag: bytes) -> None:
        if not self._fits(index, frame) or len(tag) != self.tag_bytes:
            raise AuthenticationError
        self._unprotect(index, frame, tag)

    def _fits(self, index: int, frame: memoryview) -> bool:
        return 0 <= index < self._layout.n_frames and len(frame) == self._layout.frame_bytes

    def _image(self, transform: Callable[..., None], index: int, frame: memoryview) -> None:
        samples = np.frombuffer(frame, dtype="<u2" if self._layout.word_bits == 16 else np.uint8)
        tweak = index.to_bytes(8, "little")
        transform(samples, samples, self._image_key, tweak=tweak, row_length=self._layout.row_length)

    def _associated_data(self, index: int) -> bytes:
        """Frame number, layout and the object's identity: a frame cannot be moved, dropped or read in another raster.

        Every part but the last has a fixed length and the last is preceded by its own, so that nothing in the frame
        can pass as associated data.
        """
        layout = self._layout
        numbers = (index, layout.n_frames, layout.frame_bytes, layout.word_bits, layout.row_length)
        return b"".join(n.to_bytes(8, "little") for n in numbers) + self._binding

    @abstractmethod
    def _protect(self, index: int, frame: memoryview) -> bytes: ...

    @abstractmethod
    def _unprotect(self, index: int, frame: memoryview, tag: bytes) -> None: ...


class Hybrid1(Suite):
    """AES-256-GCM (NIST SP 800-38D) over the image cipher's output."""

    name = "hybrid-1"
    tag_bytes = 16

    def _protect(self, index: int, frame: memoryview) -> bytes:
        gcm = Cipher(algorithms.AES(self._tag_key), modes.GCM(index.to_bytes(12, "big"))).encryptor()
        gcm.authenticate_additional_data(self._associated_data(index))
        gcm.update_into(frame, frame)
        gcm.finalize()
        return gcm.tag

    def _unprotect(self, index: int, frame: memoryview, tag: bytes) -> None:
        gcm = Cipher(algorithms.AES(self._tag_key), modes.GCM(index.to_bytes(12, "big"), tag)).decryptor()
        gcm.authenticate_additional_data(self._associated_data(index))
        gcm.update_into(frame, frame)  # not released before finalize() has checked the tag: open() zeroes it
        try:
            gcm.finalize()
        except InvalidTag:
            raise AuthenticationError from None


class ChaosCnn1(Suite):
    """Research suite: HMAC-SHA-256 over the image cipher's output."""

    name = "chaos-cnn-1"
    tag_bytes = 32

    def _protect(self, index: int, frame: memoryview) -> bytes:
        mac = hmac.new(self._tag_key, self._associated_data(index), "sha256")
        mac.update(frame)
        return mac.digest()

    def _unprotect(self, index: int, frame: memoryview, tag: bytes) -> None:
        if not hmac.compare_digest(self._protect(index, frame), tag):
            raise AuthenticationError


SUITES: dict[str, type[Suite]] = {suite.name: suite for suite in (Hybrid1, ChaosCnn1)}
DEFAULT_SUITE = Hybrid1.name
