"""What every compared cipher looks like from outside."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


class Scheme(Protocol):
    """An image cipher over 2-D uint8 images.

    Parameters
    ----------
    name
        Short name, as in the table.
    source
        The paper or standard it follows, and in a few words where it departs from that.
    lossless
        Whether decryption returns the very image.
    uses_nonce
        Whether the nonce changes the cipher image; most published schemes have none.
    """

    name: str
    source: str
    lossless: bool
    uses_nonce: bool

    def encrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Return the cipher image, of the same shape; the image is left unchanged. Key: 32 bytes, nonce: 12."""
        ...

    def decrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Undo `encrypt`, exactly if `lossless`."""
        ...
