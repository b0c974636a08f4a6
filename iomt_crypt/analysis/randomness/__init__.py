"""Is a stream of bits like coin tosses? NIST SP 800-22 and other batteries.

::

    bits = bits_of(cipher_image)
    left_out = applicable(bits).left_out      # {"universal": "needs at least 387840 bits, got 262144", ...}
    results = run_all(bits)                   # one Result for each P-value of the tests that are applicable

A. Rukhin et al.: A Statistical Test Suite for Random and Pseudorandom Number Generators for Cryptographic
Applications. NIST Special Publication 800-22 Revision 1a, 2010. Passing is necessary for a cipher, and far from
sufficient: counters under a fixed AES key pass as well.
"""

from iomt_crypt.analysis.randomness.result import Bits, Result, bits_of
from iomt_crypt.analysis.randomness.suite import TESTS, Applicability, applicable, run_all

__all__ = ["TESTS", "Applicability", "Bits", "Result", "applicable", "bits_of", "run_all"]
