"""The loop over keys and images, the attacks, the statistics, and the document made of them."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.ablation import application, document, picture, record, section, statistic, study, table
from benchmarks.ablation.application import Row
from benchmarks.ablation.attack import NAMES, Outcome, attack
from benchmarks.ablation.cost import Cost, multiplications, relative_seconds
from benchmarks.ablation.ideal import Ideal
from benchmarks.ablation.loss import Losses
from benchmarks.ablation.measurement import METRICS, measure
from benchmarks.ablation.picture import Picture
from benchmarks.ablation.study import FULL, IDEAL, Banks, Result, key_of, make_of
from benchmarks.ablation.training import Bank, Point
from benchmarks.ablation.variant import Variant

BANK = np.random.default_rng(2).integers(-50, 50, (4, 11)) * 2 + 1


def make_picture(dtype=np.uint8, side=64, seed=1):
    grid = np.indices((side, side)).sum(0)
    noise = np.random.default_rng(seed).integers(8, size=(side, side))
    return Picture("slope", (grid + noise).astype(dtype), 8 * np.dtype(dtype).itemsize)


def measured(variant, *, dtype=np.uint8, number=0):
    found = measure(make_of(variant), key_of(number), make_picture(dtype), np.random.default_rng(number))
    return {name: getattr(found, name) for name in METRICS}


@pytest.mark.parametrize("variant", [None, FULL])
def test_cipher_and_random_images_pass(variant):
    values = [measured(variant, dtype=dtype, number=n) for dtype in (np.uint8, np.uint16) for n in (0, 1)]
    means = {name: float(np.mean([value[name] for value in values])) for name in METRICS}
    for name in ("plain", "plain_edge", "cipher", "cipher_edge"):
        assert means[name] >= 0.6
    assert abs(means["flipped"] - 0.5) < 0.01
    assert abs(means["reached_low"] - 0.5) < 0.02
    assert abs(means["entropy_deficit"]) < 0.02
    assert means["key_change"] >= 0.5
    assert means["correlation"] < 0.06


def test_without_pooling_changes_stay_local():
    found = measured(Variant("", pooling=False))
    assert found["plain"] == found["plain_edge"] == found["cipher"] == found["cipher_edge"] == 0
    assert found["flipped"] < 0.05
    assert found["reached"] > 0.3
    assert found["worst_bit"] > 0.4


def test_without_the_key_stream_zeros_stay_constant():
    zeros = Picture("zero", np.zeros((64, 64), np.uint8), 8)
    alone = Variant("", stream=False, move=False)
    found = measure(make_of(alone), key_of(0), zeros, np.random.default_rng(0))
    assert found.entropy_deficit > 6
    assert found.flat == found.uncorrelated == found.key_change == 0
    assert found.correlation == 1


CHEAP = ("chosen_plaintext", "codebook")


@pytest.mark.parametrize(
    ("variant", "names", "broken"),
    [
        (FULL, CHEAP[:1], set()),
        (None, NAMES, set()),
        (Variant("", network=False, pooling=False), CHEAP, {*CHEAP, "three_queries"}),
        (Variant("", rounds=3), (), {"three_queries"}),
        (Variant("", rounds=3, network=False, move=False), (), {"three_queries"}),
        (Variant("", rounds=2, network=False, move=False), ("two_rounds",), {"two_rounds", "three_queries"}),
    ],
)
def test_attacks_break_what_they_are_made_for(variant, names, broken):
    images = [make_picture(side=128, seed=seed).samples for seed in (1, 2)]
    outcomes = attack(make_of(variant), key_of(0), images, names=names)
    assert [outcome.attack for outcome in outcomes] == [*names, "three_queries"]
    assert {outcome.attack for outcome in outcomes if outcome.gained} == broken
    assert all(outcome.share == 1 for outcome in outcomes if outcome.gained)


def test_random_images_depend_on_key_and_image_only():
    image = make_picture().samples
    one, other = Ideal(key_of(0), image), Ideal(key_of(1), image)
    assert np.array_equal(one.encrypt(image), one.encrypt(image.copy()))
    assert not np.array_equal(one.encrypt(image), other.encrypt(image))
    assert not np.array_equal(one.encrypt(image), one.decrypt(image))


def test_run_measures_the_same_on_every_call():
    pictures = [make_picture(), Picture("zero", np.zeros((32, 32), np.uint16), 16)]
    targets = [make_picture(side=128).samples]
    names = []
    first, second = (
        study.run([Variant("few", rounds=1)], pictures, targets, n_keys=2, n_attacked=n, tell=names.append)
        for n in (1, 0)
    )
    assert names == [IDEAL, "few"] * 2
    assert first["few"].values.shape == (2, 2, len(METRICS))
    assert np.array_equal(first["few"].values, second["few"].values)
    assert [len(result["few"].outcomes) for result in (first, second)] == [1, 0]
    assert not np.array_equal(first["few"].values, first[IDEAL].values)


def test_interval_of_shares_against_worked_values():
    # R. G. Newcombe, Statistics in Medicine 17, 1998, table I: method 3, 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for hits, trials, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)):  # fmt: skip # noqa: E501
        found = statistic.share_interval(hits / trials, trials)
        assert found.low == pytest.approx(low, abs=5e-5)
        assert found.high == pytest.approx(high, abs=5e-5)


def test_holm_against_a_worked_example():
    assert statistic.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_means_and_differences():
    values = np.array([1.0, 2, 3, 4, 5])
    found = statistic.mean_interval(values)
    # t(0.975, 4) = 2.776
    assert (found.value, found.high - found.value) == pytest.approx((3, 2.776 * (2.5 / 5) ** 0.5), abs=1e-3)
    same = statistic.difference_interval(np.ones(4), np.ones(4))
    assert (same.value, same.low, same.high) == (0, 0, 0)
    apart = statistic.difference_interval(values + 10, values)
    assert apart.low < 10 < apart.high
    assert apart.low > 5
    assert statistic.distinct_probability(values, values + 10) < 0.01
    assert statistic.distinct_probability(np.ones(4), np.ones(4)) == 1


def test_products_are_counted_from_the_specification():
    assert multiplications(FULL, 16) == Cost(44, 2)
    assert multiplications(FULL, 8) == Cost(44, 1)
    assert multiplications(Variant("", network=False), 16) == Cost(0, 2)
    assert multiplications(Variant("", pooling=False, filters=1, rounds=6), 16) == Cost(33, 1.5)
    assert multiplications(Variant("", stream=False), 16) == Cost(44, 0)


def test_processor_time_is_relative_to_the_first():
    found = relative_seconds([FULL, replace(FULL, name="same")], side=64, n_turns=3)
    assert found[0] == 1
    assert found[1] > 0


def make_results():
    """Noise, but for one variant that differs from all others, and one that is broken."""
    rng = np.random.default_rng(8)
    names = [IDEAL, *(variant.name for variant in study.every(Banks({8: BANK, 16: BANK}, {8: BANK, 16: BANK})))]
    fine = [[Outcome(name, 0.0, 0.0, False) for name in table.ATTACKS]] * 2
    results = {name: Result(rng.uniform(0.4, 0.6, (20, 2, len(METRICS))), fine) for name in names}
    results["1 round"].values[:] += 0.4
    broken = [[replace(outcome, gained=True, share=1.0) for outcome in fine[0]]] * 2
    results["3 rounds"] = Result(results["3 rounds"].values, broken)
    return results


def make_study(results):
    losses = Losses(*(torch.full((32,), value).double() for value in (0.1, 0.2, 0.3)))
    kinds = [application.SMALL, application.KEY, application.ODD, *document.GAINS.values()]
    rows = [Row(kind, losses, losses, 7.5, float("nan")) for kind in kinds]
    bank = Bank(8, BANK.astype(float), BANK, [Point(0, 1.0, 1.1), Point(1, 0.9, 1.0)])
    pictures = [make_picture(), make_picture(np.uint16), Picture("zero", np.zeros((64, 64), np.uint8), 8)]
    banks = {start: {8: bank, 16: bank} for start in ("small", "uniform")}
    return document.Study(results, banks, {8: rows, 16: rows}, {8: (0.4, 0.5), 16: (0.4, 0.5)}, pictures, 30, {})


def test_document_is_complete():
    text = document.write(make_study(make_results()))
    assert "{{" not in text
    assert "nan " not in text
    assert "None" not in text
    assert text.count("\n| random images |") == 8
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1
    assert "**Weights come from the key**" in text
    assert "best of many random networks +0.000 to +0.000" in text


def test_document_tells_what_differs_and_what_is_broken():
    results = make_results()
    lines = section.apart(results, list(results)[1:], (2, 1)).splitlines()
    assert any(line.startswith("- Told apart: *1 round*, by NPCR/UACI of plain images") for line in lines)
    same = next(line for line in lines if line.startswith("- **Not told apart"))
    assert "3 rounds" in same
    assert "1 round;" not in same
    assert "3 rounds" in next(line for line in lines if "broken by an attack" in line)
    results["trained bank, keyed"].values[:] += 0.4
    assert "**Trained weights make a difference**" in document.write(make_study(results))


def test_attacks_are_named_with_what_they_got():
    def outcomes(*cases):
        return [
            [
                Outcome(name, *cases[n]) if n < len(cases) else Outcome(name, 0, 0, False)
                for n, name in enumerate(table.ATTACKS)
            ]
        ]

    assert table.succeeded(outcomes((0.5, 0.0, False))) == table.NOTHING
    assert table.succeeded(outcomes((0.5, 0.0, True))) == "cipher image of zeros as key (50%)"
    some = outcomes((0.0, 0.0, True)) + outcomes((0.0, 0.0, False), (1.0, 0.0, True))
    assert table.succeeded(some) == "cipher image of zeros as key (traces, 1 of 2 keys), codebook (50%, 1 of 2 keys)"


def test_pooled_means_weigh_images_alike():
    values = np.zeros((2, 2, len(METRICS)))
    values[:, 0], values[:, 1] = 1, 4
    assert table.pooled(Result(values, []), "plain", (2, 1)).tolist() == [2, 2]
    assert table.pooled(Result(values, []), "plain", (2, 1), 1).tolist() == [4, 4]
    values[:, 1] = np.nan
    assert table.pooled(Result(values, []), "plain", (2, 0)).tolist() == [1, 1]


def test_results_are_read_as_they_were_written(tmp_path):
    results = {name: result for name, result in make_results().items() if name in (IDEAL, "3 rounds")}
    file = tmp_path / "result.json"
    record.write(results, file)
    found = record.read(file)
    assert np.allclose(found[IDEAL].values, results[IDEAL].values, rtol=1e-5)
    assert found["3 rounds"].outcomes == results["3 rounds"].outcomes
    file.write_text(file.read_text().replace(record.fingerprint(), "0" * 16))
    with pytest.raises(ValueError, match="another cipher"):
        record.read(file)


def test_training_and_held_out_images_have_no_source_in_common():
    training, held_out = picture.training_pictures(), picture.held_out_pictures()
    assert not any(p.name.startswith(picture.HELD_OUT) for p in training)
    real = [p for p in held_out if "/" in p.name]
    assert real
    assert all(p.name.startswith(picture.HELD_OUT) for p in real)
    assert not {p.name for p in training} & {p.name for p in held_out}
    assert not {p.samples.tobytes() for p in training} & {p.samples.tobytes() for p in held_out}
    for pictures in (training, held_out):
        assert {p.samples.dtype.itemsize for p in pictures} == {1, 2}
    chosen = picture.measured_pictures()
    assert {p.bits for p in chosen} == {8, 12, 16}
    assert all(p.samples.shape == (128, 128) for p in chosen)
