"""Trial of one layout: does a frame of this very size come out as noise, and another one under each key and number?

Read-back is blind where encryption and decryption are wrong alike, and the known answers are of a few sizes only. Here
frames of zeros, in which nothing hides what a cipher leaves out, go the way of an object's frames. Needs neither MONAI
nor PyTorch.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import replace
from itertools import combinations
from typing import cast

import numpy as np

from iomt_crypt import cipher
from iomt_crypt.checks.answer import check_answers
from iomt_crypt.checks.cell import Frame
from iomt_crypt.checks.likeness import share_stream
from iomt_crypt.checks.statistic import ALARMS, MINIMUM_WORDS, measure
from iomt_crypt.errors import KnownAnswerError
from iomt_crypt.seal import SUITES, Layout, ObjectKey
from iomt_crypt.seal.schedule import KEY_BYTES

#: Of a frame. Of larger ones so many whole rows are tried.
MAXIMUM_BYTES = 8 << 20
_BINDING = b"2.25.2"
#: Epochs, and layouts of one, that are remembered.
_EPOCHS, _LAYOUTS = 64, 4096
#: Which frames: number of the key, number of the frame.
_TRIED = ((0, 0), (0, 1), (1, 0))


class SuiteTrial:
    """Asks for the known answers and for `check_layout`, once in an epoch for each suite and layout. Thread safe.

    What was tried is what is used: where other code stands in the place of a suite or of the image cipher meanwhile, it
    is tried again. A process that was forked from this one tries anew.
    """

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._passed: OrderedDict[bytes, set[Hashable]] = OrderedDict()

    def require(self, suite: str, layout: Layout, *, epoch_id: bytes) -> None:
        """Raise KnownAnswerError unless suite and layout stood their trials in this epoch; those not yet made are."""
        tried, code = _tried(layout), _code(suite)
        with self._lock:
            passed = self._of_epoch(epoch_id)
            if code not in passed:
                check_answers(suite)
                passed.add(code)
            if (code, tried) not in passed:
                check_layout(suite, tried)
                passed.add((code, tried))

    def warm_up(self, suite: str) -> None:
        """Try a small layout of each word size, so that kernels are compiled before an object waits for them.

        Raises
        ------
        KnownAnswerError
            As `require`.
        """
        check_answers(suite)
        for word_bits in (8, 16):
            check_layout(suite, Layout(1, 48 * 64 * word_bits // 8, word_bits, 64))

    def _of_epoch(self, epoch_id: bytes) -> set[Hashable]:
        passed = self._passed.setdefault(epoch_id, set())
        self._passed.move_to_end(epoch_id)
        if len(self._passed) > _EPOCHS:
            self._passed.popitem(last=False)
        if len(passed) > _LAYOUTS:
            passed.clear()
        return passed


def _code(suite: str) -> Hashable:
    """What does the work of a suite, as it stands now."""
    steps = ("seal", "open", "_image", "_check", "_protect", "_unprotect")
    ours = tuple(getattr(SUITES[suite], step) for step in steps)
    return (suite, SUITES[suite], *ours, cipher.encrypt_into, cipher.decrypt_into)


def check_layout(suite: str, layout: Layout) -> None:
    """Encrypt frames of zeros, by the suite and by the image cipher alone, and look at what comes out.

    Two frames under one fresh key and one under another: each must look like noise, and no two must share a key stream.
    The image cipher is asked by itself too, since AES hides its faults. Noise fails once in 10^8 trials at most.

    Parameters
    ----------
    layout
        Of the object. Frames over `MAXIMUM_BYTES` are tried at that many whole rows; frames of fewer than 64 words,
        which cannot be judged, are not tried.

    Raises
    ------
    KnownAnswerError
        A frame does not look like noise, or two of them share a key stream.
    """
    layout = _tried(layout)
    if layout.frame_bytes * 8 // layout.word_bits < MINIMUM_WORDS:
        return
    _judge(f"suite {suite}", layout, _sealed(suite, layout))
    _judge("image cipher", layout, _encrypted(layout))


def _tried(layout: Layout) -> Layout:
    """What of the layout is tried: two frames, of the largest size at most."""
    row_bytes = layout.row_length * layout.word_bits // 8
    n_rows = MAXIMUM_BYTES // row_bytes if row_bytes else 0
    return replace(layout, n_frames=2, frame_bytes=min(layout.frame_bytes, n_rows * row_bytes or MAXIMUM_BYTES))


def _sealed(suite: str, layout: Layout) -> Iterator[Frame]:
    suites = [SUITES[suite](ObjectKey.generate(), layout, _BINDING) for _ in range(2)]
    for key, index in _TRIED:
        frame = bytearray(layout.frame_bytes)
        suites[key].seal(index, memoryview(frame))
        # As the suites take them: in the byte order of the file.
        yield np.frombuffer(frame, f"<u{layout.word_bits // 8}").astype(f"u{layout.word_bits // 8}", copy=False)


def _encrypted(layout: Layout) -> Iterator[Frame]:
    keys = [secrets.token_bytes(KEY_BYTES) for _ in range(2)]
    for key, index in _TRIED:
        frame = np.zeros(layout.frame_bytes * 8 // layout.word_bits, f"u{layout.word_bits // 8}")
        tweak = index.to_bytes(8, "little")
        cipher.encrypt_into(frame, frame, keys[key], tweak=tweak, row_length=layout.row_length)
        yield cast(Frame, frame)


def _judge(what: str, layout: Layout, frames: Iterator[Frame]) -> None:
    seen: dict[tuple[int, int], Frame] = {}
    for place, frame in zip(_TRIED, frames, strict=True):
        whole_rows = layout.row_length and frame.size % layout.row_length == 0
        alarms = measure(frame.reshape(-1, layout.row_length) if whole_rows else frame.reshape(1, -1)).alarms
        if alarms:
            raise _failed(f"{what}: {ALARMS[alarms[0]]}", layout)
        seen[place] = frame
    for one, other in combinations(_TRIED, 2):
        if share_stream(seen[one], seen[other]):
            which = "two frames" if one[0] == other[0] else "two objects"
            raise _failed(f"{what}: {which} share a key stream", layout)


def _failed(what: str, layout: Layout) -> KnownAnswerError:
    return KnownAnswerError(
        f"self-test failed: {what}; {layout.frame_bytes} bytes, {layout.word_bits}-bit words, rows of "
        f"{layout.row_length}",
        hint="encrypt nothing on this machine until it is mended; what was refused is where it was",
    )
