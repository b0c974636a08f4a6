"""docs/COMPARISON.md from what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.comparison.result import Comparison, Figure, Practice, Randomness, Result, Security
from iomt_crypt.analysis.attack import AttackResult
from iomt_crypt.analysis.metric.law import binomial_quantile

#: An ideal cipher has so few values inside the ranges, or fewer, once in a thousand cells.
_CELL_LEVEL: Final = 0.001
_RANGE_LEVEL: Final = 0.95
_DIRECTIONS: Final = ("horizontal", "vertical", "diagonal")


@dataclass(frozen=True, slots=True)
class Remark:
    """What cannot be measured: depths of samples it takes, bytes that travel beside the image, and a word on it."""

    depths: str
    apart: str
    text: str


def write_document(comparison: Comparison, remarks: Mapping[str, Remark]) -> str:
    """Return the page.

    Parameters
    ----------
    comparison
        What was measured.
    remarks
        By the name of the scheme, one for each.

    Raises
    ------
    KeyError
        A scheme has no remark.
    """
    parts = [
        _INTRODUCTION,
        _reproduction(comparison),
        _security(comparison),
        _attacks(comparison.results),
        _practice(comparison.results, remarks),
        _remarks(comparison.results, remarks),
        _LIMITS,
    ]
    return "\n".join(parts)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def figure_cell(figure: Figure | None, form: Callable[[float], str]) -> str:
    """Return mean and count of the values inside; bold if chance does not explain them."""
    if figure is None:
        return "-"
    text = f"{form(figure.mean)} ({figure.n_inside}/{figure.n_total})"
    return f"**{text}**" if is_off(figure) else text


def is_off(figure: Figure) -> bool:
    """Whether an ideal cipher would show so few values inside, or such a mean, at most once in a thousand cells."""
    return not figure.mean_passed or figure.n_inside < binomial_quantile(_CELL_LEVEL, figure.n_total, _RANGE_LEVEL)


def attack_cell(found: AttackResult | None) -> str:
    """Return what an attack gained: the share of samples that are right; if those are few, correlation and PSNR."""
    if found is None:
        return ""
    if not found.gained:
        return "-"
    share = "all" if found.share == 1 else f"{100 * found.share:.1f} %"
    return f"**{share}**" if found.share >= 0.5 else f"**{share}, r = {found.correlation:.2f}, {found.psnr_db:.1f} dB**"


def _reproduction(comparison: Comparison) -> str:
    lists = "\n".join(
        f"- {side} x {side}: {len(names)} images: {', '.join(names)}" for side, names in comparison.images.items()
    )
    return f"""## How to reproduce

`make compare` measures everything and writes this page, `docs/images/comparison.png` and
`benchmarks/results/comparison.json`. The network is trained first, once, for some minutes on one core; its weights stay
in `benchmarks/results/`. Without the larger corpus of the tests there are fewer images: those that come with pydicom.

Images (the middle of a frame; in brackets the stored bits, deeper ones are windowed to 8 from the 0.5th to the 99.5th
percentile):

{lists}

Every cipher image and every pair of them has a random key and nonce, attacks have one key. All that is random has a
seed. From run to run only speed changes; another version of torch or of the linear programming solver may change more.
"""


def _security(comparison: Comparison) -> str:
    sides = sorted({part.side for result in comparison.results for part in result.security}, reverse=True)
    tables = [f"### {side} x {side}\n\n{_security_table(comparison.results, side)}" for side in sides]
    return _SECURITY + "\n" + "\n".join([*tables, _randomness(comparison.results)])


def _security_table(results: Sequence[Result], side: int) -> str:
    header = ["scheme", "entropy", "local entropy", "chi-square", *(f"corr. {one[0]}" for one in _DIRECTIONS)]
    header += ["1 bit of the image, same nonce", "1 bit of the image, fresh nonce", "1 bit of the key"]
    measured = [(result, part) for result in results for part in result.security if part.side == side]
    ideal = ["*ideal*", *_ideals(measured[0][1])] if measured else []
    rows = [[result.name, *_security_row(part)] for result, part in measured]
    return table(header, [ideal, *rows])


def _security_row(part: Security) -> list[str]:
    cells = [
        figure_cell(part.figures["entropy"], "{:.4f}".format),
        figure_cell(part.figures["local entropy"], "{:.4f}".format),
        figure_cell(part.figures["chi-square"], lambda value: f"{value:.0f}" if value < 1e6 else f"{value:.1e}"),
    ]
    cells += [figure_cell(part.figures[direction], "{:.4f}".format) for direction in _DIRECTIONS]
    return cells + [_pair_cell(part.figures, suffix) for suffix in ("", ", fresh nonce", ", key")]


def _pair_cell(figures: Mapping[str, Figure], suffix: str) -> str:
    if f"NPCR{suffix}" not in figures:
        return "no nonce"
    form = "{:.2f}".format
    return f"{figure_cell(figures[f'NPCR{suffix}'], form)} / {figure_cell(figures[f'UACI{suffix}'], form)}"


def _ideals(part: Security) -> list[str]:
    digits = {"entropy": 4, "local entropy": 4, "chi-square": 0, **dict.fromkeys(_DIRECTIONS, 4)}
    cells = [f"{part.figures[name].ideal:.{places}f}" for name, places in digits.items()]
    return [*cells, *[f"{part.figures['NPCR'].ideal:.2f} / {part.figures['UACI'].ideal:.2f}"] * 3]


def _randomness(results: Sequence[Result]) -> str:
    rows = [[result.name, *_randomness_row(result.randomness)] for result in results]
    side = results[0].randomness.side
    return f"""### SP 800-22 on the cipher image of a constant image

All samples 0, {side} x {side}, {side * side * 8} bits, level of significance 0.01: about 1 P-value of 100 of a perfect
cipher is below it. A test is left out where the sequence is too short for it, or returns to zero too rarely.

{table(["scheme", "P-values passed", "tests with a P-value below 0.01", "left out"], rows)}"""


def _randomness_row(found: Randomness) -> list[str]:
    return [f"{found.n_passed} of {found.n_total}", ", ".join(found.failed) or "none", ", ".join(found.left_out) or "-"]


def _attacks(results: Sequence[Result]) -> str:
    names = list(dict.fromkeys(one.attack for result in results for one in result.attacks))
    settings = {one.attack: one.setting for result in results for one in result.attacks}
    legend = "\n".join(f"{number}. {name} ({settings[name]})" for number, name in enumerate(names, 1))
    rows = []
    for result in results:
        rows.append(
            [f"{result.name}{', same nonce' if result.uses_nonce else ''}", *_attack_row(result.attacks, names)]
        )
        if result.fresh_attacks:
            rows.append([f"{result.name}, fresh nonce", *_attack_row(result.fresh_attacks, names)])
    header = ["scheme", *(str(number) for number in range(1, len(names) + 1)), "survived"]
    return f"""{_ATTACKS}
{legend}

{table(header, rows)}"""


def _attack_row(found: Sequence[AttackResult], names: Sequence[str]) -> list[str]:
    by_name = {one.attack: one for one in found}
    survived = sum(not one.gained for one in found)
    return [*(attack_cell(by_name.get(name)) for name in names), f"{survived} of {len(found)}"]


def _practice(results: Sequence[Result], remarks: Mapping[str, Remark]) -> str:
    header = [
        "scheme",
        "lossless",
        "encrypt, MB/s",
        "decrypt, MB/s",
        "of AES-256-GCM",
        "nonce",
        "beside the image",
        "bits",
    ]
    rows = [
        [result.name, *_practice_row(result.practice), "yes" if result.uses_nonce else "none",
         remarks[result.name].apart, remarks[result.name].depths]
        for result in results
    ]  # fmt: skip
    return f"{_PRACTICE}\n{table(header, rows)}"


def _practice_row(found: Practice) -> list[str]:
    lossless = f"yes, {found.n_exact} of {found.n_images}"
    if found.psnr_db is not None:
        lossless = (
            f"**no**, {found.n_exact} of {found.n_images} exact; PSNR {found.psnr_db:.1f} dB (worst "
            f"{found.worst_psnr_db:.1f}), SSIM {found.ssim:.3f}"
        )
    return [lossless, _rate(found.encrypt), _rate(found.decrypt), f"{found.encrypt_ratio:.2g}"]


def _rate(megabytes: float) -> str:
    return f"{megabytes:.0f}" if megabytes >= 100 else f"{megabytes:.2g}"


def _remarks(results: Sequence[Result], remarks: Mapping[str, Remark]) -> str:
    items = [f"- **{result.name}** ({result.source}). {remarks[result.name].text}" for result in results]
    return "## Remarks\n\n" + "\n".join(items) + "\n"


_INTRODUCTION = """# Image ciphers side by side

Generated by `make compare`; do not edit.

This project's image cipher beside schemes of the literature and beside AES-256-GCM, on the same real images, with the
same metrics and the same attacks. The schemes are rebuilt from their descriptions to be measured and broken
(`benchmarks/baselines/`); each says where it departs from its source, and a flaw of a rebuilt scheme need not be one
of the original. Each table answers one question only:

- *Metrics* ask whether a cipher image looks like noise. That is necessary. It is not sufficient: weak ciphers pass.
- *Attacks* ask whether an image comes back without the key. One that works decides; one that fails proves nothing.
- *Practice* asks what it costs.

![A phantom, and what each scheme makes of it and back](images/comparison.png)

*A synthetic phantom: plain image, cipher images, decrypted images.*
"""

_SECURITY = """## Security metrics

Means over all images, and in brackets how many values lie in the range that an ideal cipher keeps to in 95 % of all
cases (its bounds depend on the size; `iomt_crypt.analysis.metric`). **Bold**: too few for chance, or such a mean of
NPCR or UACI; an ideal cipher shows either once in a thousand cells. Correlations are means of absolute values. Pairs
of images differ in one random bit of one sample, or are encrypted under keys that differ in one bit: NPCR / UACI in
percent, the ranges are those of Wu et al.

Read the rows of AES-256-GCM with care. Under a repeated nonce it fails NPCR and UACI as badly as a cipher can, since
counter mode then adds the same key stream twice: one changed bit changes one bit. With a fresh nonce, which is how it
must be used, it passes. So the two columns are two questions, and NPCR and UACI do not measure strength: a cipher may
pass them and be broken with a few images, as rows below show, or fail them and be the standard.
"""

_ATTACKS = """## Attacks

Encryption under one key that the attacker does not know; he is given known images, or may choose them, and wants one
more image. A number is the share of that image's samples that came back right (where it is below a half with the
correlation and the PSNR of the recovered image), "-" means: no more than guessing, decided at five standard
deviations. Schemes with a nonce are attacked twice, with a repeated nonce, which is a mistake of the user, and with a
fresh one. A cipher that takes a nonce and survives its repetition is forgiving; one that does not is not broken by
that. Attacks survived are no marks: one that brings all back is enough. What they do: 1 to 9
[ATTACKS.md](ATTACKS.md), local regression `benchmarks/comparison/regression.py`, steered head
`benchmarks/baselines/dea.py`.
"""

_PRACTICE = """## Practice

One core, CPU time, 8-bit images of 512 x 512, as called from Python and with a fresh output each time; ratios are to
AES-256-GCM in the same run. "Beside the image": what has to travel or be stored besides an image of the same shape
and the key. "Bits": of a sample, as built here.
"""

_LIMITS = """## What this does not show

- Where our cipher passes, nothing is proved. Metrics are blind to structure, the attacks are those that we know, and
  nobody else has tried yet. That is why objects are encrypted in `hybrid-1`, where AES-256-GCM runs over the output
  of the image cipher: confidentiality and integrity rest on AES-256-GCM, whatever becomes of the image cipher. What
  it does not promise is in [SPEC.md](SPEC.md).
- Rebuilt schemes are as fast as plain numpy, numba or torch makes them; their authors may have faster code.
- Authentication is not in the tables: of all of these only AES-256-GCM and hybrid-1 notice a changed cipher image.
"""
