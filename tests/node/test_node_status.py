from __future__ import annotations

import errno

import pytest

from iomt_crypt.errors import (
    AlreadyEncryptedError,
    DiskFullError,
    MalformedError,
    NotDicomError,
    StorageError,
    UnsupportedError,
)
from iomt_crypt.node import status
from iomt_crypt.node.status import Verdict


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (0x0000, Verdict.DELIVERED),
        (0xB000, Verdict.DELIVERED),
        (0xB006, Verdict.DELIVERED),
        (0xB007, Verdict.DELIVERED),
        (0xB001, Verdict.REFUSED),
        (0x0001, Verdict.REFUSED),
        (0x0107, Verdict.REFUSED),
        (0x0110, Verdict.REFUSED),
        (0xA700, Verdict.TRANSIENT),
        (0xA7FF, Verdict.TRANSIENT),
        (0xA800, Verdict.REFUSED),
        (0xA900, Verdict.REFUSED),
        (0xC000, Verdict.REFUSED),
        (0xFF00, Verdict.REFUSED),
    ],
)
def test_only_defined_success_counts_as_delivered(code, verdict):
    assert status.judge(code) is verdict


def test_exactly_four_codes_mean_delivered():
    assert [code for code in range(0x10000) if status.judge(code) is Verdict.DELIVERED] == [0, 0xB000, 0xB006, 0xB007]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DiskFullError("x"), 0xA700),
        (OSError(errno.ENOSPC, "x"), 0xA700),
        (OSError(errno.EDQUOT, "x"), 0xA700),
        (OSError(errno.EIO, "x"), 0x0110),
        (StorageError("x"), 0x0110),
        (NotDicomError("x"), 0xC001),
        (MalformedError("x"), 0xC001),
        (UnsupportedError("x"), 0xC002),
        (AlreadyEncryptedError("x"), 0xC003),
        (ZeroDivisionError("x"), 0x0110),
    ],
)
def test_each_cause_has_its_answer(error, code):
    assert status.answer(error) == code


@pytest.mark.parametrize("code", [0xA701, 0xA901, 0xC123, 0x0000, 0x9999])
def test_every_code_has_words(code):
    assert status.meaning(code)
