"""Sequences that the tests of randomness are checked on."""

import mpmath
import numpy as np
import pytest

#: 2.1.8 and others: the first 100 binary digits of pi.
PI_100 = "1100100100001111110110101010001000100001011010001100001000110100110001001100011001100010100010111000"


def sequence(text):
    return np.frombuffer(text.encode(), np.uint8) - np.uint8(ord("0"))


def digits(name, n_bits=1_000_000):
    """The binary digits of e, pi, sqrt2 or sqrt3 from the first one on, as in the publication's sample files."""
    with mpmath.workprec(n_bits + 64):
        value = mpmath.sqrt(int(name[-1])) if name.startswith("sqrt") else +getattr(mpmath, name)
        text = bin(int(mpmath.floor(mpmath.ldexp(value, n_bits))))[2:]
    return sequence(text[:n_bits])


@pytest.fixture(scope="session")
def constants():
    """10^6 digits of each constant, computed when first asked for."""
    found = {}

    def get(name):
        if name not in found:
            found[name] = digits(name)
        return found[name]

    return get


@pytest.fixture
def bits():
    """``bits("0110")``: a sequence from its digits."""
    return sequence


@pytest.fixture
def pi_100():
    return sequence(PI_100)
