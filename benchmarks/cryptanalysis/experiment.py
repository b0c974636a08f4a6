"""The experiments of docs/CRYPTANALYSIS.md: each returns the lines that it prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log2, sqrt
from time import process_time
from typing import Final

import numpy as np

from benchmarks.cryptanalysis import bias, collision, feistel, guess, network, nh, order, repeat, sat, timing, tiny
from benchmarks.cryptanalysis.lane import Lanes, first_word_counts, run_lanes
from benchmarks.cryptanalysis.lift import predict, recover
from benchmarks.cryptanalysis.search import agreement, root_of, walk
from iomt_crypt.cipher.constant import LANES


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment. `extra`: left out of `all`, because it needs packages that the project does not."""

    run: Callable[[], list[str]]
    what: str
    extra: bool = False


def lanes() -> list[str]:
    """Recover bare pairs, walk a part of the tree at 32 bits, and look whether the same check sees veiled words."""
    lines = ["bits  known words  nodes of both walks  CPU s  next 100 words predicted"]
    rng = np.random.default_rng(1)
    for bits in (16, 20, 24):
        words = run_lanes(Lanes.random(bits, 8, rng), 160).words[:, :2]
        recover(words[:60], bits)  # compiles
        start = process_time()
        found = recover(words[:60], bits)
        seconds = process_time() - start
        right = found.pair is not None and np.array_equal(predict(found.pair, 60, 100, bits), words[60:])
        lines.append(f"{bits:4}  {'2 x 60':>11}  {f'2^{log2(found.n_nodes):.1f}':>19}  {seconds:5.1f}  {right}")
    seeds = Lanes.random(32, LANES, rng)
    trace = run_lanes(seeds, 1025)
    both = trace.words[:70, :2].astype(np.int64).T.copy()
    weyl, step = int(trace.weyl[0, 0]), int(seeds.increment[0])
    start = process_time()
    tree = walk(both[0], both[1], 32, around=root_of(weyl, step, 32), n_roots=64)
    seconds = process_time() - start
    hit = any((leaf.weyl_low, leaf.increment_low) == (weyl & 255, step & 255) for leaf in tree.leaves)
    lines.append(
        f"  32  2 x 70, one walk, 64 of 32768 subtrees: 2^{log2(tree.n_nodes):.1f} nodes, {seconds:.1f} s CPU, "
        f"true leaf found: {hit}; "
        f"whole walk 2^{log2(tree.n_nodes / tree.share):.1f} nodes, {seconds / tree.share / 60:.0f} min"
    )
    veiled = trace.veiled[:, :LANES]
    lines.append(
        f"check holds for the true Weyl words: bare {agreement(trace.words, trace.weyl, 32):.4f}, "
        f"veiled {agreement(veiled, trace.weyl[1:], 32):.4f} of {(len(veiled) - 1) * LANES} checks"
    )
    counts = first_word_counts(8)
    lines.append(f"8 bits, all c and W, each h: every first word comes {counts.min()} to {counts.max()} times")
    return lines


def guesses() -> list[str]:
    """Try all sets of word guesses."""
    lines = ["lanes          words guessed  most determined  sets that determine all  that can be checked"]
    for name, system, largest in (
        ("bare pair", guess.bare_pair(4), 2),
        ("group of four", guess.group_of_four(3), 4),
        ("veiled ring", guess.veiled_ring(3), 5),
    ):
        for verdict in guess.verdicts(system, largest):
            determined = f"{verdict.most_determined} of {verdict.n_words}"
            lines.append(
                f"{name:13}  {verdict.size:13}  {determined:>15}  {verdict.n_complete:23}  {verdict.n_checkable:19}"
            )
    return lines


def six_guesses() -> list[str]:
    """Try all sets of six guesses on the veiled ring."""
    *_, verdict = guess.verdicts(guess.veiled_ring(3), 6)
    return [f"veiled ring, {verdict.size} words guessed: {verdict.n_complete} sets determine all {verdict.n_words}"]


def solver() -> list[str]:
    """Let a SAT solver find the state of scaled-down lanes."""
    lines = ["lanes                   bits  unknown bits  conflicts  CPU s"]
    cases: list[tuple[sat.Kind, int]] = [("bare", bits) for bits in (4, 6, 8, 10, 12)]
    cases += [("veiled by a ring of 2", 4), ("veiled by a ring of 4", 4)]
    for kind, bits in cases:
        effort = sat.solve(kind, bits, 12 if bits == 4 else 20, 0)
        lines.append(f"{kind:22}  {bits:4}  {effort.state_bits:12}  {effort.n_conflicts:9}  {effort.seconds:5.1f}")
    return lines


def seeds() -> list[str]:
    """Stream special seeds."""
    lines = ["seeds (2048 steps)            log2 share   bytes    bits   steps   lanes   (standard deviations)"]
    for found in bias.deviations(2048):
        values = "  ".join(f"{value:6.1f}" for value in (found.bytes_, found.bits, found.steps, found.lanes))
        lines.append(f"{found.name:28}  {found.log2_share:10.0f}  {values}")
    lines += ["", "all c below   x rests   bare   veiled   log2 share of a lane, its partner, their veils"]
    for bits in (4, 8, 12, 16, 20, 24, 28, 32):
        slow = bias.slow_weyl(bits)
        lines.append(
            f"2^{bits:<10}   {slow.resting:7.4f}  {slow.bare:5.1f}   {slow.veiled:6.1f}   {slow.log2_share:.0f}"
        )
    return lines


def pooling() -> list[str]:
    """Go through NH with small words."""
    lines = ["word bits  pairs  passes  message pairs  worst collision  2^-(w t)"]
    cases = (
        (3, 1, 1, None),
        (4, 1, 1, None),
        (2, 2, 1, None),
        (2, 1, 2, None),
        (2, 2, 2, None),
        (2, 1, 3, None),
        (3, 2, 2, 40),
    )
    for bits, pairs, passes, sample in cases:
        bound = nh.worst_collision(bits, pairs, passes, n_messages=sample)
        lines.append(
            f"{bits:9}  {pairs:5}  {passes:6}  {bound.n_message_pairs:13}  {bound.worst:15.6f}  {bound.claimed:.6f}"
        )
    return lines


def collisions() -> list[str]:
    """Watch collisions with features of 8 and 12 bits."""
    n_keys = 4000
    n_passing = sum(collision.passes_stripes(key) for key in range(n_keys))
    lines = [
        f"keys that let stripes pass: {n_passing} of {n_keys}, expected {n_keys / 64:.1f}",
        "key (number)   stripes  feature bits  pairs of frames  collisions expected  pairs that show it",
    ]
    first = collision.striped_key()
    second = collision.striped_key(first + 1)
    for key, bits in ((first, 8), (first, 12), (second, 8), (first + 1, 8), (second + 1, 8)):
        seen = collision.watch(key, bits)
        stripes = "pass" if collision.passes_stripes(key) else "do not"
        lines.append(
            f"{key:12}   {stripes:7}  {bits:12}  {seen.n_pairs:15}  {seen.expected_collisions:19.1f}  {seen.n_seen:18}"
        )
    return lines


def rounds() -> list[str]:
    """Distinguish one, two and three rounds, and try the same on four."""
    lines = ["test                        rounds  repositioning  queries  says cipher  random permutation would"]
    for found in feistel.outcomes(256, 16, 20):
        share = f"{found.hits} of {found.n_keys}"
        lines.append(
            f"{found.name:26}  {found.n_rounds:6}  {found.order:13}  {found.n_queries:7}  {share:>11}  "
            f"{found.expected * found.n_keys:6.1f}"
        )
    return lines


def small_frames() -> list[str]:
    """Take small frames apart."""
    constants = tiny.constants_of_one(8, bytes(32))
    found = tiny.birthday(40)
    even = [tiny.is_even(tiny.code_book(bytes([number] * 32))) for number in range(5)]
    lines = [
        f"n = 1, 8 bit: {len(constants)} different values of plain ^ cipher over all 256 frames",
        f"n = 2, 8 bit: {sum(even)} of {len(even)} keys give an even permutation of the 65536 frames",
        f"n = 2, 8 bit: {found.n_passed} +- {found.error:.0f} of {found.n_pairs} pairs pass a top bit on; "
        f"random {found.expected_random:.0f}, four rounds {found.expected_cipher:.0f}",
    ]
    for n_samples in (2, 4, 8):
        swap = tiny.swapped(n_samples, 1000)
        lines.append(
            f"n = {n_samples}: an order across the halves swaps them under {swap.n_swapped} of 1000 keys, "
            f"expected {swap.expected:.0f}"
        )
    return lines


def repeats() -> list[str]:
    """Compare frames that differ in one sample."""
    lines = [
        "samples  bits  direction   pairs  equal samples  expected  deviations  busiest place (chance)  longest run"
    ]
    for n_samples, bits, n_trials in ((16, 8, 4000), (64, 8, 2000), (64, 16, 2000), (2048, 16, 1000), (65536, 8, 50)):
        for decrypting in (False, True):
            found = repeat.common(n_samples, bits, n_trials, decrypting=decrypting)
            direction = "decrypting" if decrypting else "encrypting"
            place = f"{found.busiest_place} ({found.expected_busiest:.1f})"
            lines.append(
                f"{n_samples:7}  {bits:4}  {direction}  {n_trials:6}  {found.n_equal:13}  {found.expected:8.1f}  "
                f"{found.deviation:10.1f}  {place:>22}  {found.longest_run:11}"
            )
    return lines


def filters() -> list[str]:
    """Count weak filters, and fit the lowest bit of the network."""
    lines = ["8-bit frames, 20000 keys                    looked at   found  expected"]
    for weak in network.weak_filters(20000):
        lines.append(f"{weak.name:42}  {weak.n_tried:9}  {weak.n_found:6}  {weak.expected:8.1f}")
    for bits in (8, 16):
        n_equations, holds = network.low_bit_rank(bytes(32), word_bits=bits)
        lines.append(f"lowest bit of cnn, {bits} bit: linear with 10 coefficients at all {n_equations} places: {holds}")
    return lines


def orders() -> list[str]:
    """Measure the repositioning, and which shapes are one cipher."""
    both = order.draw_distance(512) * 2
    found = order.shuffle(4, 5000)
    free = found.n_orders - 1
    lines = [
        f"bias of the draws, two halves of 512 parts: statistical distance at most 2^{log2(both):.1f}",
        f"halves of 4 parts, {found.n_keys} keys: {found.n_seen} of {found.n_orders} orders, "
        f"chi-squared {found.chi_squared:.1f} (expected {free} +- {sqrt(2 * free):.1f})",
    ]
    for first, second in (((8, 3), (2, 12)), ((8, 3), (24,)), ((6, 4), (6, 2, 2)), ((4, 6), (6, 4)), ((4, 6), (24,))):
        same = "same cipher" if order.same_cipher(first, second) else "another cipher"
        lines.append(f"shapes {first} and {second}: {same}")
    return lines


def times() -> list[str]:
    """Look for secrets in machine code and in time."""
    lines = [f"{code.name} on {code.machine}: {code.rectifiers}" for code in timing.codes()]
    lines.append("frames (64 x 64, 16 bit)  median us           Welch t")
    for found in timing.times(1000):
        first, second = found.medians_us
        lines.append(f"{found.name:24}  {first:7.1f}, {second:7.1f}  {found.welch_t:9.1f}")
    return lines


EXPERIMENTS: Final[dict[str, Experiment]] = {
    "lanes": Experiment(lanes, "state recovery of bare lanes; the same check on veiled ones"),
    "guess": Experiment(guesses, "guess and determine over words"),
    "guess-six": Experiment(six_guesses, "the same with six words, some minutes", extra=True),
    "sat": Experiment(solver, "SAT solver on scaled-down lanes (needs z3-solver and python-sat)", extra=True),
    "seeds": Experiment(seeds, "streams of special seeds"),
    "pooling": Experiment(pooling, "NH with small words, all keys"),
    "collision": Experiment(collisions, "what a collision of the features shows"),
    "rounds": Experiment(rounds, "distinguishers of one to three rounds, and of four"),
    "tiny": Experiment(small_frames, "frames of a few samples"),
    "repeat": Experiment(repeats, "frames that differ in one sample, under one key and tweak"),
    "network": Experiment(filters, "weak filters, linear bits"),
    "order": Experiment(orders, "repositioning and geometry"),
    "timing": Experiment(times, "rectifier in machine code, times of different frames"),
}
