"""Array transforms that encrypt and decrypt an image.

Images are channel first, (C, H, W[, D]); each channel is encrypted and authenticated by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import collate_meta_tensor_fn, decollate_batch
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import Transform
from monai.utils.enums import TraceKeys, TransformBackends

from iomt_crypt.checks.key import Given, opener_of, sealer_of
from iomt_crypt.checks.transform.research import CipherAlone
from iomt_crypt.checks.transform.seal import open_image, seal_image
from iomt_crypt.checks.transform.word import Raw
from iomt_crypt.errors import (
    AlreadyEncryptedError,
    ConfigurationError,
    InputError,
    NotEncryptedError,
    UnsupportedError,
)
from iomt_crypt.seal import DEFAULT_SUITE, SUITES, Identity, Keyring, Recipient

BACKENDS = [TransformBackends.TORCH, TransformBackends.NUMPY]
#: The record of an image, or those of a batch.
Seal = bytes | list[bytes] | tuple[bytes, ...]
#: Where a MetaTensor carries the record of its encryption.
SEAL = "iomt_crypt_seal"


class EncryptPixels(InvertibleTransform):
    """Encrypt an image: same shape and type, bits that are noise.

    Every image is sealed under a fresh key, as the frames of an object are (``hybrid-1``: image cipher, then
    AES-256-GCM). What is needed on the way back, the record, lies in the meta data of the MetaTensor; a plain array
    or tensor becomes one. Not `Randomizable`: keys come from the system's generator and not from a seed.

    Parameters
    ----------
    recipients
        Who will be able to decrypt: recipients, their texts (``iomtpk1...``), or paths of files that hold them.
    key
        32 bytes that encrypt and decrypt, in place of recipients or beside them.
    identities
        For `inverse` only; with a key it needs none.
    suite
        ``"hybrid-1"`` or ``"chaos-cnn-1"``; None, for research: the image cipher alone under ``key``. That has no
        record and no authentication, equal images give equal cipher images, and arrays and tensors stay what they are.
    tweak
        For ``suite=None``: what tells this image from others under the key.

    Raises
    ------
    ConfigurationError
        Neither recipients nor a key, a key that is not 32 bytes, or an unknown suite.
    KeyMaterialError
        A recipient cannot be read.
    """

    backend = BACKENDS

    def __init__(
        self,
        recipients: Sequence[Recipient | Given] | Recipient | Given = (),
        *,
        key: bytes | None = None,
        identities: Sequence[Identity | Given] | Identity | Given = (),
        suite: str | None = DEFAULT_SUITE,
        tweak: bytes = b"",
    ) -> None:
        self._alone = CipherAlone.of(key, tweak) if suite is None else None
        self._sealer = sealer_of(recipients, None if suite is None else key)
        self._opener = opener_of(identities, None if suite is None else key)
        self._suite = suite
        if suite is not None and suite not in SUITES:
            raise ConfigurationError(f"suite {suite!r} is unknown", hint=f"one of: {', '.join(SUITES)}, None")
        if self._alone is None and not self._sealer:
            raise ConfigurationError("neither recipients nor a key were given", hint="recipients=[...] or key=...")

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Encrypt ``img``, which is left unchanged.

        Raises
        ------
        AlreadyEncryptedError
            There is a record in its meta data: a second one in its place would make the first, and the image, useless.
        UnsupportedError
            The type cannot hold every pattern of bits (bool), or has no tensor of it.
        ConfigurationError
            Meta data are not tracked (``monai.data.set_track_meta``), so that the record has no place.
        """
        if isinstance(img, MetaTensor) and img.is_batch:
            return each(self, img)
        encrypted, seal = self.encrypt(img)
        if seal is None:
            return self._tracked(encrypted)
        if not isinstance(encrypted, MetaTensor) and not get_track_meta():
            raise ConfigurationError("meta data are not tracked: the record has no place", hint="use EncryptPixelsd")
        try:
            meta = encrypted if isinstance(encrypted, MetaTensor) else MetaTensor(encrypted)
        except TypeError as error:
            raise UnsupportedError(f"PyTorch has no {encrypted.dtype}", hint="use EncryptPixelsd") from error
        meta.meta[SEAL] = seal
        return self._tracked(meta)

    def encrypt(self, img: NdarrayOrTensor, beside: Seal | None = None) -> tuple[NdarrayOrTensor, bytes | None]:
        """The encrypted image, of the kind of ``img``, and its record (None for the image cipher alone).

        ``beside`` is what lies where the caller would put the record; AlreadyEncryptedError if that is one.
        """
        if beside is not None or (isinstance(img, MetaTensor) and img.meta.get(SEAL) is not None):
            raise AlreadyEncryptedError(
                "the image has the record of an encryption already",
                hint="DecryptPixels(d) first; a record that is left over from another image has to be taken away",
            )
        raw = Raw.of(img)
        if self._alone is not None:
            self._alone.run(raw, decrypt=False)
            return raw.back(img), None
        seal = seal_image(raw, self._sealer.epoch(), str(self._suite))
        return raw.back(img), seal

    def inverse(self, data: Any) -> Any:
        """Decrypt; see `DecryptPixels` for the errors."""
        return self.decrypt(data)

    def decrypt(self, img: NdarrayOrTensor, seal: Seal | None = None) -> NdarrayOrTensor:
        """`inverse` of an image whose record lies elsewhere."""
        if isinstance(img, MetaTensor) and img.is_batch:
            return each(self.inverse, img)
        if isinstance(img, MetaTensor) and img.applied_operations:
            self.check_transforms_match(img.applied_operations[-1])
        if self._alone is None and not self._opener:
            raise ConfigurationError("no key for the way back", hint="identities=[...], or DecryptPixels")
        return decrypt_image(img, seal, self._opener.keyring() if self._alone is None else None, self._alone)

    def _tracked(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        if isinstance(img, MetaTensor):
            tracked: NdarrayOrTensor = self.push_transform(img)  # type: ignore[no-untyped-call]
            return tracked
        return img


class DecryptPixels(Transform):
    """Undo `EncryptPixels`, in this process or another: every byte is as it was, and nothing is released unchecked.

    A MetaTensor loses the record and the trace of the encryption, so that it is what it was before. Not invertible:
    the inverse of a pipeline that begins with encrypted images would encrypt its results.

    Parameters
    ----------
    identities
        Identities, or paths of identity files (which are opened at first use, and pickled as paths).
    key, suite, tweak
        As they were given to `EncryptPixels`; other suites than None are read from the record.
    """

    backend = BACKENDS

    def __init__(
        self,
        identities: Sequence[Identity | Given] | Identity | Given = (),
        *,
        key: bytes | None = None,
        suite: str | None = DEFAULT_SUITE,
        tweak: bytes = b"",
    ) -> None:
        self._alone = CipherAlone.of(key, tweak) if suite is None else None
        self._opener = opener_of(identities, None if suite is None else key)
        if self._alone is None and not self._opener:
            raise ConfigurationError("neither identities nor a key were given", hint="identities=[...] or key=...")

    def __call__(self, img: NdarrayOrTensor, seal: Seal | None = None) -> NdarrayOrTensor:
        """Decrypt ``img``, which is left unchanged; ``seal`` is its record where it is not in its meta data.

        A batch of images that were encrypted one by one comes with a list of records.

        Raises
        ------
        NotEncryptedError
            There is no record.
        NoMatchingIdentityError
            None of the identities opens it.
        AuthenticationError
            A bit, the shape or the type was changed, or the record is another image's.
        """
        if isinstance(img, MetaTensor) and img.is_batch:
            return each(self, img)
        return decrypt_image(img, seal, self._opener.keyring() if self._alone is None else None, self._alone)


def each(transform: Callable[[Any], NdarrayOrTensor], batch: MetaTensor) -> NdarrayOrTensor:
    """``transform`` of every image of a batch that MONAI's loaders made."""
    images = [transform(img) for img in decollate_batch(batch)]
    collated: NdarrayOrTensor = collate_meta_tensor_fn(images)  # type: ignore[no-untyped-call]
    return collated


def decrypt_image(
    img: NdarrayOrTensor, seal: Seal | None, keyring: Keyring | None, alone: CipherAlone | None
) -> NdarrayOrTensor:
    """Decrypt with the record or, ``alone``, without; for a MetaTensor, undo what encryption left in its meta data."""
    if isinstance(seal, list | tuple):
        if len(seal) != len(img):
            raise InputError(f"a batch of {len(img)} images comes with {len(seal)} records")
        opened: list[Any] = [decrypt_image(one, own, keyring, alone) for one, own in zip(img, seal, strict=True)]
        return torch.stack(opened) if isinstance(img, torch.Tensor) else np.stack(opened)
    raw = Raw.of(img)
    if alone is not None:
        alone.run(raw, decrypt=True)
    elif keyring is not None:
        seal = seal_of(img) if seal is None else seal
        if seal is None:
            raise NotEncryptedError("the image has no record of an encryption", hint="EncryptPixels(d) makes one")
        open_image(raw, seal, keyring)
    plain = raw.back(img)
    if isinstance(plain, MetaTensor):
        plain.meta.pop(SEAL, None)
        last = plain.applied_operations[-1:]
        if last and last[0].get(TraceKeys.CLASS_NAME) == EncryptPixels.__name__:
            plain.applied_operations = plain.applied_operations[:-1]
    return plain


def seal_of(img: Any) -> bytes | None:
    """The record in the meta data of an image; None where there is none."""
    seal = img.meta.get(SEAL) if isinstance(img, MetaTensor) else None
    return seal if isinstance(seal, bytes) else None
