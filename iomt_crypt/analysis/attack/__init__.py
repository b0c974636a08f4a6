"""Attacks on image ciphers: what they recover, and whether that is more than guessing (docs/ATTACKS.md)."""

from iomt_crypt.analysis.attack.material import FULL, QUICK, Effort
from iomt_crypt.analysis.attack.result import AttackResult, Image, Oracle
from iomt_crypt.analysis.attack.suite import ATTACKS, run_all

__all__ = ["ATTACKS", "FULL", "QUICK", "AttackResult", "Effort", "Image", "Oracle", "run_all"]
