"""Is a stream of bits like coin tosses? NIST SP 800-22 and other batteries.

::

    bits = bits_of(cipher_image)
    left_out = applicable(bits).left_out      # {"universal": "needs at least 387840 bits, got 262144", ...}
    results = run_all(bits)                   # one Result for each P-value of the tests that are applicable
    rows = interpret_all([results, ...])      # over many sequences: proportion and uniformity for each P-value

`examine_lanes` holds tests that aim at the structure of this cipher's key stream; `run_ent` and `run_dieharder` run the
programs of these names.

A. Rukhin et al.: A Statistical Test Suite for Random and Pseudorandom Number Generators for Cryptographic
Applications. NIST Special Publication 800-22 Revision 1a, 2010. Passing is necessary for a cipher, and far from
sufficient: counters under a fixed AES key pass as well.
"""

from iomt_crypt.analysis.randomness.dieharder import DieharderRow, run_dieharder
from iomt_crypt.analysis.randomness.ent import EntReport, run_ent
from iomt_crypt.analysis.randomness.interpretation import Interpretation, interpret, interpret_all
from iomt_crypt.analysis.randomness.lane import LaneStream
from iomt_crypt.analysis.randomness.result import Bits, Result, bits_of
from iomt_crypt.analysis.randomness.structure import examine_lanes
from iomt_crypt.analysis.randomness.suite import TESTS, Applicability, applicable, run_all

__all__ = [
    "TESTS",
    "Applicability",
    "Bits",
    "DieharderRow",
    "EntReport",
    "Interpretation",
    "LaneStream",
    "Result",
    "applicable",
    "bits_of",
    "examine_lanes",
    "interpret",
    "interpret_all",
    "run_all",
    "run_dieharder",
    "run_ent",
]
