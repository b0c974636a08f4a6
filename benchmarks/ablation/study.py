"""Which variants are compared, and the loop over keys and images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmarks.ablation.attack import Outcome, attack
from benchmarks.ablation.ideal import Ideal
from benchmarks.ablation.measurement import METRICS, Make, measure
from benchmarks.ablation.picture import Picture
from benchmarks.ablation.variant import Machine, Variant
from benchmarks.ablation.weight import Identity, Keyed, Small, Source, Uniform
from iomt_crypt.cipher.constant import Samples

FULL = Variant("full cipher")
#: The name of what no cipher can do better than: unrelated random images.
IDEAL = "random images"
_LABEL_KEY = b"ablation/key"


@dataclass(frozen=True)
class Banks:
    """Trained filters by word size, int64 (filters, 11).

    Parameters
    ----------
    from_small, from_uniform
        Trained from small weights, and from uniformly random ones.
    """

    from_small: dict[int, npt.NDArray[np.int64]]
    from_uniform: dict[int, npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Result:
    """One variant.

    Parameters
    ----------
    values
        float64 (keys, groups, metrics): means over the images of a group; groups are real images and phantoms, then
        images of zeros; metrics as in `measurement.METRICS`.
    outcomes
        One list of attacks for each key that was attacked.
    """

    values: npt.NDArray[np.float64]
    outcomes: list[list[Outcome]]


def stages() -> list[Variant]:
    """The cipher, and the cipher without one stage or with only some."""
    return [
        FULL,
        Variant("no network", network=False),
        Variant("no repositioning", move=False),
        Variant("no pooling (seeds from the key only)", pooling=False),
        Variant("no key stream (network only), repositioning", stream=False),
        Variant("key stream and pooling only", network=False, move=False),
        Variant("key stream from the key only, repositioning", network=False, pooling=False),
    ]


def rounds() -> list[Variant]:
    """More and fewer rounds."""
    return [
        *(Variant(f"{count} round{'s' * (count > 1)}", rounds=count) for count in (1, 2)),
        Variant("2 rounds, no repositioning", rounds=2, move=False),
        Variant("3 rounds", rounds=3),
        Variant("3 rounds, no network", rounds=3, network=False),
        FULL,
        Variant("6 rounds", rounds=6),
    ]


def filters() -> list[Variant]:
    """More and fewer filters, in the cipher and in the network alone."""
    return [
        Variant("1 filter", filters=1),
        FULL,
        Variant("4 filters", filters=4),
        *(
            Variant(f"network only, {count} filter{'s' * (count > 1)}", filters=count, stream=False, move=False)
            for count in (1, 2, 4)
        ),
    ]


def weights(banks: Banks, *, alone: bool) -> list[Variant]:
    """Other weights in the cipher, or in the network alone (four rounds, nothing else)."""
    sources: dict[str, Source | None] = {
        "weights from the key": None,
        "from the key, odd taps": Uniform(odd_taps=True),
        "trained bank, keyed": Keyed(banks.from_small),
        "trained bank, keyed without multiplier": Keyed(banks.from_small, multiply=False),
        "trained bank started uniform, keyed without multiplier": Keyed(banks.from_uniform, multiply=False),
        "small random weights": Small(),
        "identity": Identity(),
    }
    whole = [FULL if source is None else Variant(name, source=source) for name, source in sources.items()]
    if not alone:
        return whole
    network = filters()[4]
    return [network, *(replace(network, name=f"network only, {v.name}", source=v.source) for v in whole[1:])]


def every(banks: Banks) -> list[Variant]:
    """All variants, each once."""
    both = weights(banks, alone=False) + weights(banks, alone=True)
    return list({variant.name: variant for variant in stages() + rounds() + filters() + both}.values())


def make_of(variant: Variant | None) -> Make:
    """Return what makes the cipher of a key; None: unrelated random images."""
    if variant is None:
        return Ideal
    chosen = variant

    def make(key: bytes, samples: Samples) -> Machine:
        return Machine.of(chosen, key, samples)

    return make


def run(
    variants: Sequence[Variant],
    pictures: Sequence[Picture],
    targets: list[Samples],
    *,
    n_keys: int,
    n_attacked: int,
    tell: Callable[[str], None] = lambda name: None,
) -> dict[str, Result]:
    """Measure all variants, random images first, under the same keys, on the same images, with the same changes.

    Parameters
    ----------
    pictures
        Those named "zero" are a group of their own.
    targets
        uint8 images for the attacks, 128 x 128 or more.
    n_keys, n_attacked
        Keys for the metrics, 2 or more, and those of them for the attacks.
    tell
        Is called with each name when its variant is done.
    """
    results = {}
    for variant in (None, *variants):
        name, make = variant.name if variant else IDEAL, make_of(variant)
        values = np.array([_row(make, number, pictures) for number in range(n_keys)])
        outcomes = [attack(make, key_of(number), targets) for number in range(n_attacked)]
        results[name] = Result(values, outcomes)
        tell(name)
    return results


def key_of(number: int) -> bytes:
    """Return key `number` of the study, 32 bytes."""
    return hashlib.shake_256(_LABEL_KEY + number.to_bytes(4, "little")).digest(32)


def _row(make: Make, number: int, pictures: Sequence[Picture]) -> list[list[float]]:
    """Means over the images of each group: (2, metrics)."""
    groups: list[list[tuple[float, ...]]] = [[], []]
    for index, picture in enumerate(pictures):
        rng = np.random.default_rng([number, index])
        groups[picture.name == "zero"].append(astuple(measure(make, key_of(number), picture, rng)))
    return [np.mean(group, axis=0).tolist() if group else [np.nan] * len(METRICS) for group in groups]
