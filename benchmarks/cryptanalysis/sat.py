"""State recovery of scaled-down lanes by a SAT solver: conflicts of CaDiCaL, bare and veiled.

Needs z3-solver and python-sat, which are no dependencies of the project: install them into an environment of their own.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["bare", "veiled by a ring of 2", "veiled by a ring of 4"]
_RINGS: dict[Kind, int] = {"bare": 1, "veiled by a ring of 2": 2, "veiled by a ring of 4": 4}


@dataclass(frozen=True, slots=True)
class Effort:
    """What the solver took to find a state that gives all known words."""

    kind: Kind
    word_bits: int
    state_bits: int
    n_conflicts: int
    seconds: float


def solve(kind: Kind, word_bits: int, n_steps: int, seed: int) -> Effort:
    """Draw seeds, run the lanes, and let the solver find seeds for their words."""
    import time

    from pysat.solvers import Cadical153

    clauses = _clauses(_equations(kind, word_bits, n_steps, seed))
    with Cadical153(bootstrap_with=clauses) as solver:
        start = time.process_time()
        if not solver.solve():
            raise ArithmeticError("the solver says that no seeds give these words, but they were made from some")
        seconds = time.process_time() - start
        return Effort(kind, word_bits, 6 * word_bits * _RINGS[kind], solver.accum_stats()["conflicts"], seconds)


def _equations(kind: Kind, bits: int, n_steps: int, seed: int) -> list[Any]:
    """Lane 2a + s: place a of the ring, side s of the pair."""
    import z3

    draw, n_lanes, mask = random.Random(seed), 2 * _RINGS[kind], (1 << bits) - 1
    shift, veil_shift = bits // 4, 3 * bits // 4
    known = [[draw.randrange(1 << bits) for _ in range(n_lanes)] for _ in range(3)]
    known[2] = [step | 1 for step in known[2]]
    symbol = [[z3.BitVec(f"{name}{lane}", bits) for lane in range(n_lanes)] for name in "xwc"]
    equations = [z3.Extract(0, 0, step) == 1 for step in symbol[2]]
    veils: list[tuple[int, Any]] = []
    for t in range(n_steps):
        known[1] = [w + c & mask for w, c in zip(known[1], known[2], strict=True)]
        symbol[1] = [w + c for w, c in zip(symbol[1], symbol[2], strict=True)]
        products = [x * (mask - x) for x in known[0]]
        formulas = [z3.ZeroExt(bits, x) * z3.ZeroExt(bits, ~x) for x in symbol[0]]
        before = veils
        veils = [
            (p >> veil_shift & mask, z3.Extract(veil_shift + bits - 1, veil_shift, f))
            for p, f in zip(products, formulas, strict=True)
        ]
        for lane in range(n_lanes):
            word = products[lane] >> shift & mask ^ known[1][lane]
            formula = z3.Extract(shift + bits - 1, shift, formulas[lane]) ^ symbol[1][lane]
            if kind != "bare":
                if t == 0:
                    continue
                value, veil = veils[lane - 2] if lane >= 2 else before[lane - 2]
                word, formula = word ^ value, formula ^ veil
            equations.append(formula == word)
        known[0] = [(products[lane ^ 1] >> (bits - 2)) + known[1][lane] & mask for lane in range(n_lanes)]
        symbol[0] = [
            z3.Extract(2 * bits - 3, bits - 2, formulas[lane ^ 1]) + symbol[1][lane] for lane in range(n_lanes)
        ]
    return equations


def _clauses(equations: list[Any]) -> list[list[int]]:
    """Bit-blast (z3) to clauses in numbers."""
    import z3

    goal = z3.Goal()
    goal.add(*equations)
    numbers: dict[int, int] = {}
    kept = list(z3.Then("simplify", "bit-blast", "tseitin-cnf")(goal)[0])

    def literal(term: Any) -> int:
        negative = z3.is_not(term)
        atom = term.arg(0) if negative else term
        number = numbers.setdefault(atom.get_id(), len(numbers) + 1)
        return -number if negative else number

    return [[literal(term) for term in (clause.children() if z3.is_or(clause) else [clause])] for clause in kept]
