"""Long sequences whose statistics are published."""

import mpmath
import numpy as np
import pytest


def digits(name, n_bits=1_000_000):
    """The binary digits of e, pi, sqrt2 or sqrt3 from the first one on, as in the publication's sample files."""
    with mpmath.workprec(n_bits + 64):
        value = mpmath.sqrt(int(name[-1])) if name.startswith("sqrt") else +getattr(mpmath, name)
        text = bin(int(mpmath.floor(mpmath.ldexp(value, n_bits))))[2:]
    return np.frombuffer(text[:n_bits].encode(), np.uint8) - np.uint8(ord("0"))


@pytest.fixture(scope="session")
def constants():
    """10^6 digits of each constant, computed when first asked for."""
    found = {}

    def get(name):
        if name not in found:
            found[name] = digits(name)
        return found[name]

    return get
