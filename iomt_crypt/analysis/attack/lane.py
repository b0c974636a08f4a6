"""Cycles of our own fixed-point logistic lanes, over all states of smaller words, with and without the Weyl term.

A lane of w bits takes x to floor(x (2^w - 1 - x) / 2^(w - 2)) modulo 2^w (docs/SPEC.md, with 32 for w). Alone this is a
functional graph over 2^w states like any other. With the Weyl words the state is (x, step modulo 2^w) along one chain
through a pair of lanes. As the Weyl words come back after exactly 2^w steps, the graph of 2^w steps at once, over all
x, gives every cycle, and no period is shorter than 2^w.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numba
import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.attack.cycle import Rho

#: Where each state goes, int64 (states).
Graph = npt.NDArray[np.int64]

_jit = cast(Callable[[Callable[..., Any]], Callable[..., Any]], numba.njit(cache=True))


@dataclass(frozen=True, slots=True)
class LaneStatistic:
    """Cycles of a lane. Steps are counted in words of the lane.

    Parameters
    ----------
    word_bits
        Width of the lane.
    weyl
        Whether the Weyl words are added.
    n_cycles
        Different cycles.
    shortest_period, longest_period
        Steps of the shortest and of the longest cycle.
    mean_steps
        Steps until a state comes again, mean over all start values.
    n_states_left
        Values of x that are left after 2^w steps, of 2^w.
    """

    word_bits: int
    weyl: bool
    n_cycles: int
    shortest_period: int
    longest_period: int
    mean_steps: float
    n_states_left: int


def lane_statistic(word_bits: int, *, weyl: tuple[int, int, int, int] | None) -> LaneStatistic:
    """Follow every state of a lane.

    Parameters
    ----------
    word_bits
        4 to 16. With Weyl words 4^word_bits steps are taken: seconds up to 14, a minute for 16.
    weyl
        Weyl word and increment of a lane and of its partner; bit 0 of the increments is set where they are used. None:
        without the Weyl term.

    Raises
    ------
    ValueError
        The width is outside its range.
    """
    if not 4 <= word_bits <= 16:
        raise ValueError(f"word_bits must be 4 to 16, got {word_bits}")
    size = 1 << word_bits
    graph = lane_graph(word_bits) if weyl is None else _weyl_graph(word_bits, *weyl)
    steps = 1 if weyl is None else size
    tails, periods = _follow_all(graph)
    return LaneStatistic(
        word_bits=word_bits,
        weyl=weyl is not None,
        n_cycles=_count_cycles(tails, periods),
        shortest_period=steps * int(periods.min()),
        longest_period=steps * int(periods.max()),
        mean_steps=steps * float((tails + periods).mean()),
        n_states_left=len(np.unique(graph)) if weyl is not None else int(np.count_nonzero(tails == 0)),
    )


def lane_graph(word_bits: int) -> Graph:
    """Return where each x goes in one step without the Weyl term, int64 (2^word_bits)."""
    x = np.arange(1 << word_bits, dtype=np.int64)
    return (x * (x.size - 1 - x) >> (word_bits - 2)) & (x.size - 1)


def lane_rho(x: int, *, word_bits: int, limit: int) -> Rho:
    """Find the cycle of a lane without the Weyl term by Brent's algorithm.

    Parameters
    ----------
    x
        Start value, 0 to 2^word_bits - 1.
    word_bits
        4 to 32.
    limit
        Steps after which the search gives up.
    """
    tail, period = _brent_lane(x, word_bits, limit)
    return Rho(int(tail), int(period))


def _count_cycles(tails: Graph, periods: Graph) -> int:
    """Every cycle of p states has p states without a tail."""
    lengths, counts = np.unique(periods[tails == 0], return_counts=True)
    return int((counts // lengths).sum())


@_jit
def _lane_step(x: Any, word_bits: int) -> Any:
    mask = (np.uint64(1) << np.uint64(word_bits)) - np.uint64(1)
    return (x * (mask - x)) >> np.uint64(word_bits - 2) & mask


@_jit
def _weyl_graph(word_bits: int, word: int, increment: int, partner_word: int, partner_increment: int) -> Graph:
    """Where each x of a lane is after 2^word_bits steps; the chain changes between the two lanes at every step."""
    size = 1 << word_bits
    words = (np.uint64(word), np.uint64(partner_word))
    increments = (np.uint64(increment | 1), np.uint64(partner_increment | 1))
    mask = np.uint64(size - 1)
    graph = np.empty(size, np.int64)
    for start in range(size):
        x = np.uint64(start)
        for step in range(size):
            lane = (step + 1) & 1
            weyl = words[lane] + np.uint64(step + 1) * increments[lane]
            x = (_lane_step(x, word_bits) + weyl) & mask
        graph[start] = x
    return graph


@_jit
def _follow_all(graph: Graph) -> tuple[Graph, Graph]:
    """Tail and period of every state of a functional graph, each state visited once."""
    tails, periods = np.full(graph.size, -1), np.zeros(graph.size, np.int64)
    path = np.empty(graph.size, np.int64)
    place = np.full(graph.size, -1)
    for start in range(graph.size):
        length, state = 0, start
        while tails[state] < 0 and place[state] < 0:
            path[length], place[state] = state, length
            length += 1
            state = graph[state]
        if tails[state] < 0:  # the path met itself: a new cycle
            first = place[state]
            for k in range(first, length):
                tails[path[k]], periods[path[k]] = 0, length - first
            length = first
        for k in range(length - 1, -1, -1):
            after = graph[path[k]]
            tails[path[k]], periods[path[k]] = tails[after] + 1, periods[after]
    return tails, periods


@_jit
def _brent_lane(start: int, word_bits: int, limit: int) -> tuple[int, int]:
    power, period, steps = 1, 1, 1
    first = np.uint64(start)
    slow, fast = first, _lane_step(first, word_bits)
    while slow != fast:
        if steps >= limit:
            return -1, -1
        if power == period:
            slow, power, period = fast, power * 2, 0
        fast = _lane_step(fast, word_bits)
        period += 1
        steps += 1
    slow, fast, tail = first, first, 0
    for _ in range(period):
        fast = _lane_step(fast, word_bits)
    while slow != fast:
        slow, fast, tail = _lane_step(slow, word_bits), _lane_step(fast, word_bits), tail + 1
    return tail, period
