"""Every attack on every cipher, and the tables of docs/ATTACKS.md from what came out.

``python -m benchmarks.attacks`` takes some minutes on one core and rewrites the generated part of docs/ATTACKS.md. The
images are the phantoms of the demonstration, windowed to 8 bits; keys are fixed, so that only the times change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.baselines.aes import AesGcm
from benchmarks.baselines.josephus import Josephus
from benchmarks.baselines.literal import Literal
from benchmarks.baselines.ours import ChaosCnn, Hybrid
from benchmarks.baselines.reduced import Reduced
from benchmarks.baselines.scheme import Image, Scheme
from benchmarks.baselines.two_maps import TwoMaps
from benchmarks.key_search import searches
from demo.phantom.brain import brain_sections
from demo.phantom.chest import ct_series, radiograph
from iomt_crypt.analysis import attack
from iomt_crypt.analysis.attack import AttackResult

DOCUMENT: Final = Path(__file__).resolve().parents[1] / "docs" / "ATTACKS.md"
BEGIN: Final = "<!-- what follows is written by: python -m benchmarks.attacks -->"
END: Final = "<!-- end of what python -m benchmarks.attacks writes -->"

NONCE: Final = bytes(12)
#: Keys under which the whole cipher is attacked, each with a repeated and with fresh tweaks.
N_KEYS: Final = 5


@dataclass(frozen=True)
class Row:
    """One cipher in one setting, and what the attacks on it gave."""

    name: str
    results: list[AttackResult]


def main() -> None:
    """Run everything and write the document."""
    images = pictures()
    rows = list(broken(images))
    ours = list(whole(images))
    parts = [shares([*rows, *first_of_each(ours)]), detail(rows[0]), detail(ours[0]), keys(ours)]
    parts += [searches(images), float_cycles(), lane_cycles()]
    text = DOCUMENT.read_text()
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    DOCUMENT.write_text("\n\n".join([head + BEGIN, *parts, END + tail]))
    print(f"{DOCUMENT.name} written")


def pictures() -> list[Image]:
    """Known images of 256 x 256 and, last, the one that is to be found: the next section of a series that is known."""
    sections, _ = ct_series(11, 4)
    *known, target = [_window(image[::2, ::2], 60, 1400) for image in sections]
    known += [_window(image, 130, 2600) for image in brain_sections(12, 3)]
    return [*known, _window(radiograph(13)[::4, ::4], 0, 4095), target]


def _window(image: npt.NDArray[np.uint16], low: int, high: int) -> Image:
    """Scale stored values from `low` to `high` to 0..255, what is outside of them to the ends."""
    share = (image.astype(np.float64) - low) / (high - low)
    return np.clip(np.rint(share * 255), 0, 255).astype(np.uint8)


def key_number(number: int) -> bytes:
    """Return a key of 32 bytes."""
    return hashlib.sha256(b"attacks" + bytes([number])).digest()


def broken(images: Sequence[Image]) -> Iterator[Row]:
    """Attack the published kinds of schemes, this cipher with stages taken away, and AES with a repeated nonce."""
    schemes: list[Scheme] = [
        Literal(),
        Literal(np.float64),
        TwoMaps(),
        Josephus(),
        Reduced("ours: repositioning only", 0),
        Reduced("ours: streams from the key only, no network", use_cnn=False, use_pooling=False),
        Reduced("ours: streams from the key only", use_pooling=False),
        Reduced("ours: streams from the key only, no repositioning", use_pooling=False, use_move=False),
        Reduced("ours: 1 round", 1),
        Reduced("ours: 2 rounds, no repositioning", 2, use_move=False),
        Reduced("ours: 3 rounds, no repositioning", 3, use_move=False),
        Reduced("ours: 4 rounds, no network", use_cnn=False),
    ]
    for scheme in schemes:
        yield _attacked(scheme.name, attack.repeating(scheme.encrypt, key_number(0), NONCE), images)
    aes = AesGcm()
    yield _attacked("AES-256-GCM, repeated nonce", attack.repeating(aes.encrypt, key_number(0), NONCE), images)
    yield _attacked("AES-256-GCM", attack.refreshing(aes.encrypt, key_number(0)), images)


def whole(images: Sequence[Image]) -> Iterator[Row]:
    """Attack the cipher itself under several keys."""
    for scheme in (ChaosCnn(), Hybrid()):
        for number in range(N_KEYS if isinstance(scheme, ChaosCnn) else 1):
            key = key_number(number)
            again, fresh = f"**{scheme.name}**, repeated tweak", f"**{scheme.name}**"
            yield _attacked(again, attack.repeating(scheme.encrypt, key, NONCE), images)
            yield _attacked(fresh, attack.refreshing(scheme.encrypt, key), images)


def _attacked(name: str, oracle: attack.Oracle, images: Sequence[Image]) -> Row:
    row = Row(name, attack.run_all(oracle, images))
    print(f"{name}: {sum(result.gained for result in row.results)} of {len(row.results)} attacks gain")
    return row


def first_of_each(rows: Sequence[Row]) -> list[Row]:
    """Keep the first row of every name."""
    return list({row.name: row for row in reversed(rows)}.values())[::-1]


def shares(rows: Sequence[Row]) -> str:
    """Every cipher and every attack: the share of the target that was told exactly."""
    names = [result.attack for result in rows[0].results]
    body = [[row.name, *(_share(result) for result in row.results)] for row in rows]
    return (
        "### What the attacks recover\n\n"
        "Share of the target's samples that the attack told exactly, in percent. **Bold: beyond guessing.** "
        "All oracles repeat the tweak if nothing else is said.\n\n" + _table(["cipher", *names], body)
    )


def _share(result: AttackResult) -> str:
    text = f"{100 * result.share:.3g}" if result.share else "0"
    return f"**{text}**" if result.gained else text


def detail(row: Row) -> str:
    """All that one cipher's results say."""
    body = [
        [result.attack, result.setting, result.recovered, f"{100 * result.share:.3g}", f"{100 * result.chance:.3g}",
         f"{result.psnr_db:.1f}", f"{result.correlation:+.4f}", str(result.n_images), f"{result.seconds:.1f}",
         "yes" if result.gained else "no"]
        for result in row.results
    ]  # fmt: skip
    head = ["attack", "setting", "found", "share %", "chance %", "PSNR dB", "correlation", "images", "s", "gains"]
    return f"### In detail: {row.name}\n\n" + _table(head, body)


def keys(rows: Sequence[Row]) -> str:
    """How often attacks gained on the whole cipher."""
    body = []
    for name in dict.fromkeys(row.name for row in rows):
        results = [result for row in rows if row.name == name for result in row.results]
        body.append([
            name, str(sum(row.name == name for row in rows)), str(len(results)), str(sum(r.gained for r in results)),
            f"{100 * max(r.share - r.chance for r in results):.2f}", f"{max(r.correlation for r in results):+.3f}",
        ])  # fmt: skip
    head = ["cipher", "keys", "attacks run", "gained", "largest share - chance %", "largest correlation"]
    return "### The whole cipher under several keys\n\n" + _table(head, body)


def float_cycles() -> str:
    """How long the logistic map in floating point stays away from its past."""
    body = []
    for dtype, n_starts, limit in ((np.float32, 200, 10**7), (np.float64, 7, 3 * 10**8)):
        for r in (4.0, 3.9999, 3.99, 3.9):
            starts = np.random.default_rng(1).uniform(0.05, 0.95, n_starts)
            found = [attack.logistic_rho(float(x), r, dtype=dtype, limit=limit) for x in starts]
            ended = [rho for rho in found if rho.period > 0]
            steps, periods = [rho.tail + rho.period for rho in ended], [rho.period for rho in ended]
            body.append([
                dtype.__name__, str(r), f"{len(ended)} of {n_starts}", f"{median(steps):,.0f}", f"{max(steps):,}",
                f"{min(periods):,} to {max(periods):,}",
            ])  # fmt: skip
    head = ["arithmetic", "r", "cycles found", "steps before a repeat, median", "most", "periods"]
    return "### Cycles of the logistic map in floating point\n\n" + _table(head, body)


def lane_cycles() -> str:
    """Cycles of the fixed-point lanes of smaller words, and of 32 bits as far as steps go."""
    body = []
    rng = np.random.default_rng(1)
    for bits in (8, 10, 12, 14, 16):
        found = attack.lane_statistic(bits, weyl=None)
        body.append(_lane_row(found))
    starts = rng.integers(0, 2**32, 200)
    ends = [attack.lane_rho(int(x), word_bits=32, limit=10**9) for x in starts]
    body.append([
        "32 (200 starts)", "no", "-", f"{min(rho.period for rho in ends):,}", f"{max(rho.period for rho in ends):,}",
        f"{mean(rho.tail + rho.period for rho in ends):,.0f}", "-",
    ])  # fmt: skip
    for bits in (8, 10, 12, 14, 16):
        words = (int(word) for word in rng.integers(0, 1 << bits, 4))
        body.append(_lane_row(attack.lane_statistic(bits, weyl=(next(words), next(words), next(words), next(words)))))
    body.append(["32", "yes", "-", f"{2**32:,} or more (bound)", "-", f"{2**32:,} or more (bound)", "-"])
    head = ["word bits", "Weyl", "cycles", "shortest", "longest", "mean steps before a repeat", "states left"]
    return "### Cycles of the fixed-point lanes\n\n" + _table(head, body)


def _lane_row(found: attack.LaneStatistic) -> list[str]:
    return [
        str(found.word_bits), "yes" if found.weyl else "no", str(found.n_cycles), f"{found.shortest_period:,}",
        f"{found.longest_period:,}", f"{found.mean_steps:,.0f}", f"{found.n_states_left:,} of {1 << found.word_bits:,}",
    ]  # fmt: skip


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
