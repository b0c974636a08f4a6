"""Sequences that the tests of randomness are checked on."""

import numpy as np
import pytest

#: 2.1.8 and others: the first 100 binary digits of pi.
PI_100 = "1100100100001111110110101010001000100001011010001100001000110100110001001100011001100010100010111000"


def sequence(text):
    return np.frombuffer(text.encode(), np.uint8) - np.uint8(ord("0"))


@pytest.fixture
def bits():
    """``bits("0110")``: a sequence from its digits."""
    return sequence


@pytest.fixture
def pi_100():
    return sequence(PI_100)
