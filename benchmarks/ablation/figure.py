"""The figures of docs/ABLATION.md, as small PNG files of 32 grey levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.ablation import bank
from benchmarks.ablation.picture import held_out_pictures, measured_pictures
from benchmarks.ablation.study import FULL, key_of
from benchmarks.ablation.training import Bank
from benchmarks.ablation.variant import Machine, Variant
from benchmarks.ablation.weight import Identity, Keyed, Small, Source
from iomt_crypt.cipher.constant import Samples

_DPI = 100
_COLOURS = 32
_PHANTOM = "radiograph phantom"
_Images = npt.NDArray[Any]


def write_all(folder: Path, banks: dict[str, dict[int, Bank]]) -> None:
    """Write the three figures into an existing folder."""
    phantom = next(picture.samples for picture in measured_pictures() if picture.name == _PHANTOM)
    _save(round_figure(phantom), folder / "ablation-rounds.png")
    _save(network_figure(_whole_phantom(), banks), folder / "ablation-network.png")
    _save(curve_figure(banks), folder / "ablation-training.png")


def round_figure(image: Samples) -> Figure:
    """Where cipher images differ after 1 to 4 rounds, if the lowest bit of one sample of the right half changes."""
    variants = {
        "full cipher": FULL,
        "no pooling": Variant("", pooling=False),
        "network only": Variant("", stream=False, move=False),
    }
    changed = image.copy()
    changed[3 * image.shape[0] // 4, image.shape[1] // 2] ^= 1
    panels = [
        [_difference(Machine.of(replace(v, rounds=n), key_of(0), image), image, changed) for n in (1, 2, 3, 4)]
        for v in variants.values()
    ]
    return _grid(panels, list(variants), ["1 round", "2 rounds", "3 rounds", "4 rounds"])


def network_figure(image: Samples, banks: dict[str, dict[int, Bank]]) -> Figure:
    """What the network alone makes of an image, with different weights."""
    filters = {word_bits: found.filters for word_bits, found in banks["small"].items()}
    alone = Variant("", stream=False, move=False)
    sources: dict[str, Source | None] = {
        "identity": Identity(),
        "small random": Small(),
        "trained bank, keyed": Keyed(filters, multiply=False),
        "from the key": None,
    }
    columns = [
        [image] + [Machine.of(replace(alone, rounds=n, source=s), key_of(0), image).encrypt(image) for n in (1, 4)]
        for s in sources.values()
    ]
    panels = [list(row) for row in zip(*columns, strict=True)]
    return _grid(panels, ["image", "1 round", "4 rounds"], list(sources))


def curve_figure(banks: dict[str, dict[int, Bank]]) -> Figure:
    """Losses on fixed batches along the steps, for both word sizes and starts."""
    figure = Figure(figsize=(9, 3.4), dpi=_DPI, layout="constrained")
    for axis, word_bits in zip(figure.subplots(1, 2), bank.WORD_SIZES, strict=True):
        for start, style in (("small", "-"), ("uniform", "--")):
            curve = banks[start][word_bits].curve
            steps = [point.step for point in curve]
            axis.plot(steps, [p.training for p in curve], style, color="black", label=f"{start} start, training images")
            axis.plot(steps, [p.held_out for p in curve], style, color="0.6", label=f"{start} start, held out")
        settings = bank.STARTS["small"][word_bits]
        axis.axvline(settings.steps * (1 - settings.rounded_share), color="0.8", linewidth=1)
        axis.set(title=f"{word_bits}-bit weights (right of the line: rounded)", xlabel="step", ylabel="loss")
    axis.legend(fontsize="small")
    return figure


def _difference(machine: Machine, image: Samples, changed: Samples) -> _Images:
    """White where the cipher images differ in the top bits, darker where only in lower ones, black where equal."""
    different = machine.encrypt(image) ^ machine.encrypt(changed)
    return np.log2(different.astype(np.float64) + 1)


def _whole_phantom() -> Samples:
    """Every eighth sample of the held-out phantom in both directions."""
    whole = next(picture.samples for picture in held_out_pictures() if picture.name == _PHANTOM)
    return np.ascontiguousarray(whole[::8, ::8])


def _grid(panels: Sequence[Sequence[_Images]], names: Sequence[str], titles: Sequence[str]) -> Figure:
    """Show images sample by sample: each panel has as many pixels as samples."""
    side, gap, left, top = 128, 8, 110, 22
    width, height = left + len(titles) * (side + gap), top + len(names) * (side + gap)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    for row, (name, images) in enumerate(zip(names, panels, strict=True)):
        bottom = height - top - (row + 1) * (side + gap) + gap
        figure.text((left - 8) / width, (bottom + side / 2) / height, name, ha="right", va="center", fontsize=8)
        for column, image in enumerate(images):
            box = ((left + column * (side + gap)) / width, bottom / height, side / width, side / height)
            axis = figure.add_axes(box)
            axis.imshow(image, cmap="gray", interpolation="nearest", vmin=0)
            axis.set_axis_off()
            if row == 0:
                place = ((left + column * (side + gap) + side / 2) / width, (height - top + 6) / height)
                figure.text(*place, titles[column], ha="center", fontsize=8)
    return figure


def _save(figure: Figure, file: Path) -> None:
    """Write a figure with few grey levels, which halves noise."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    buffer.seek(0)
    Image.open(buffer).convert("L").quantize(_COLOURS).save(file, optimize=True)
