"""Images sealed as DICOM frames are: image cipher, then AES-256-GCM, and a record with all that the way back needs.

The record of an image is that of an object (docs/FORMAT.md) without UID and pixel tag; what it carries in place of an
original header is the image's shape and type, to which every frame is bound too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from iomt_crypt import __version__, cipher
from iomt_crypt.checks.likeness import is_untouched
from iomt_crypt.checks.transform.word import Raw
from iomt_crypt.checks.vouch import require
from iomt_crypt.errors import AuthenticationError, IomtCryptError, KnownAnswerError
from iomt_crypt.seal import SUITES, Epoch, Keyring, ObjectKey, Record, encode_map, open_header, seal_header

_BINDING = b"iomt-crypt/1/image"


def seal_image(raw: Raw, epoch: Epoch, suite: str) -> bytes:
    """Encrypt the bytes of ``raw`` in place, under a fresh data key, and return the record.

    Vouched for as objects are, see `iomt_crypt.checks.vouch`; two copies of the image are in memory meanwhile.

    Raises
    ------
    KnownAnswerError
        The cipher does not work on this machine, or the image does not come back. What is in ``raw`` is of no use.
    """
    key, layout, description = ObjectKey.generate(), raw.layout(), _describe(raw)
    require(suite, layout, epoch)
    plain = raw.data.copy()
    frames = SUITES[suite](key, layout, _BINDING + description)
    tags = [frames.seal(index, unit.data) for index, unit in enumerate(raw.units())]
    record = Record(
        suite=suite,
        form="native" if layout.n_frames else "header",
        object_id=key.object_id,
        sop_instance_uid="",
        pixel_tag=0,
        layout=layout,
        tags=b"".join(tags),
        epoch_id=epoch.id,
        wrapped_key=epoch.wrap(key.data_key),
        stanzas=epoch.stanzas,
        sealed=seal_header(key, description),
        software=__version__,
    )
    seal = record.authenticated(key).pack(slack=False)
    _read_back(raw, seal, plain, epoch)
    return seal


def _read_back(raw: Raw, seal: bytes, plain: npt.NDArray[np.uint8], epoch: Epoch) -> None:
    again = replace(raw, data=raw.data.copy())
    try:
        open_image(again, seal, Keyring.of_epoch(epoch))
    except IomtCryptError as error:
        raise _failed(f"the image does not open: {type(error).__name__}") from None
    if not np.array_equal(again.data, plain):
        raise _failed("it gives other bytes")
    if is_untouched(raw.data.data, plain.data):
        raise _failed("words are plain that were to be encrypted")


def _failed(what: str) -> KnownAnswerError:
    return KnownAnswerError(f"read-back failed: {what}", hint="encrypt nothing on this machine until it is mended")


def open_image(raw: Raw, seal: bytes, keyring: Keyring) -> None:
    """Check record and frames, and decrypt the bytes of ``raw`` in place.

    Raises
    ------
    NoMatchingIdentityError
        None of the identities opens it.
    AuthenticationError
        Image or record were changed, or do not belong together. What is in ``raw`` then is of no use.
    """
    record, description = Record.unpack(seal), _describe(raw)
    key = ObjectKey(keyring.unwrap(record.wrapped_key, record.epoch_id, record.stanzas), record.object_id)
    record.check(key)
    if open_header(key, record.sealed) != description or record.layout != raw.layout():
        raise AuthenticationError
    frames = SUITES[record.suite](key, record.layout, _BINDING + description)
    for index, unit in enumerate(raw.units()):
        frames.open(index, unit.data, record.tag(index))


def cipher_image(raw: Raw, key: bytes, tweak: bytes, *, decrypt: bool) -> None:
    """The image cipher alone, in place: no authentication, and equal images give equal cipher images."""
    transform = cipher.decrypt_into if decrypt else cipher.encrypt_into
    for index, frame in enumerate(raw.frames()):
        transform(frame, frame, key, tweak=index.to_bytes(8, "little") + tweak, row_length=raw.layout().row_length)


def _describe(raw: Raw) -> bytes:
    return encode_map({"shape": list(raw.shape), "dtype": raw.dtype})
