"""Attacks on image ciphers: what they recover, and whether that is more than guessing (docs/ATTACKS.md)."""

from iomt_crypt.analysis.attack.cycle import Rho, logistic_rho
from iomt_crypt.analysis.attack.lane import LaneStatistic, lane_rho, lane_statistic
from iomt_crypt.analysis.attack.material import FULL, QUICK, Effort, refreshing, repeating
from iomt_crypt.analysis.attack.result import AttackResult, Image, Oracle
from iomt_crypt.analysis.attack.search import SearchResult, search_keys
from iomt_crypt.analysis.attack.suite import ATTACKS, run_all

__all__ = [
    "ATTACKS",
    "FULL",
    "QUICK",
    "AttackResult",
    "Effort",
    "Image",
    "LaneStatistic",
    "Oracle",
    "Rho",
    "SearchResult",
    "lane_rho",
    "lane_statistic",
    "logistic_rho",
    "refreshing",
    "repeating",
    "run_all",
    "search_keys",
]
