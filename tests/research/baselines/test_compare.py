"""The comparison: what is measured, and how the page is put together from it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import compare
from benchmarks.baselines.aes import AesGcm
from benchmarks.baselines.deepedn import DeepEdn
from benchmarks.baselines.generator import Recipe, make_generator
from benchmarks.baselines.ours import ChaosCnn
from benchmarks.comparison import image, measurement, picture, regression
from benchmarks.comparison.document import Remark, attack_cell, figure_cell, is_off, table, write_document
from benchmarks.comparison.result import Comparison, Figure, Practice, Randomness, Result, Security
from iomt_crypt.analysis import attack

GOOD, BAD = Figure(7.9991, 7.9993, 19, 20), Figure(0.01, 99.61, 0, 20)
FALLEN = attack.AttackResult("equivalent key", "known plaintext", "all", 1.0, 0.1, float("inf"), 1.0, 9, 8, 0.1, True)
STOOD = replace(FALLEN, attack="codebook", share=0.004, correlation=0.01, psnr_db=9.0, gained=False)
SMALL = attack.Effort(side=16, n_known=3, codebook_side=4, cycle_side=16, feistel_side=4)


def result(name, *, uses_nonce, figure=GOOD, lossless=True):
    figures = {one: figure for one in measurement.FIGURES if uses_nonce or "nonce" not in one}
    practice = Practice(20, 20, None, None, None, 123.4, 45.6, 0.0613, 0.05)
    if not lossless:
        practice = replace(practice, n_exact=0, psnr_db=23.456, worst_psnr_db=17.0, ssim=0.81234)
    return Result(
        name=name,
        source=f"source of {name}",
        uses_nonce=uses_nonce,
        security=[Security(side, 20, figures) for side in (256, 512)],
        randomness=Randomness(512, 187, 188, ["runs"], ["made up"]),
        attacks=[FALLEN, STOOD],
        fresh_attacks=[replace(FALLEN, gained=False), STOOD] if uses_nonce else [],
        practice=practice,
    )


@pytest.fixture
def comparison():
    results = [
        result("with nonce", uses_nonce=True),
        result("without", uses_nonce=False, figure=BAD, lossless=False),
    ]
    return Comparison({"256": ["a.dcm#0 (8)"], "512": ["b.dcm#0 (12)"]}, results)


@pytest.fixture
def page(comparison):
    return write_document(
        comparison, {name: Remark("8", "nothing", f"About {name}.") for name in ("with nonce", "without")}
    )


def rows(page, name):
    return [line.split(" | ") for line in page.splitlines() if line.startswith(f"| {name}")]


def test_json_keeps_everything(comparison):
    again = Comparison.from_dict(json.loads(json.dumps(comparison.to_dict())))
    assert again == comparison


def test_a_table():
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


@pytest.mark.parametrize(
    ("n_inside", "n_total", "off"), [(20, 20, False), (16, 20, False), (14, 20, True), (0, 20, True), (190, 200, False)]
)
def test_what_chance_explains(n_inside, n_total, off):
    """Of 20 values with probability 0.95, 15 or fewer come once in 390 times, 14 or fewer once in 3000."""
    assert is_off(Figure(1.0, None, n_inside, n_total)) is off


def test_a_mean_that_chance_does_not_explain():
    """One pair of 34 that does not differ at all is no count, and no accident either."""
    assert is_off(Figure(95.0, 99.6, 33, 34, mean_passed=False))
    assert not is_off(Figure(99.6, 99.6, 33, 34))


def test_cells():
    assert figure_cell(GOOD, "{:.2f}".format) == "8.00 (19/20)"
    assert figure_cell(BAD, "{:.2f}".format) == "**0.01 (0/20)**"
    assert figure_cell(None, "{:.2f}".format) == "-"
    assert attack_cell(FALLEN) == "**all**"
    assert attack_cell(replace(FALLEN, share=0.731)) == "**73.1 %**"
    partial = replace(FALLEN, share=0.123, correlation=0.876, psnr_db=21.04)
    assert attack_cell(partial) == "**12.3 %, r = 0.88, 21.0 dB**"
    assert attack_cell(STOOD) == "-"
    assert attack_cell(None) == ""


def test_every_scheme_is_in_every_table(page):
    # two sizes, randomness, attacks (two of a scheme with a nonce), practice
    assert len(rows(page, "with nonce")) == 6
    assert len(rows(page, "without")) == 5
    assert "- **with nonce** (source of with nonce). About with nonce." in page


def test_tables_are_rectangular(page):
    lines = page.splitlines()
    widths = [line.count(" | ") for line in lines if line.startswith("|")]
    starts = [
        index for index, line in enumerate(lines) if line.startswith("|") and not lines[index - 1].startswith("|")
    ]
    assert len(starts) == 5
    for start in starts:
        length = next(n for n, line in enumerate(lines[start:]) if not line.startswith("|"))
        assert len({line.count(" | ") for line in lines[start : start + length]}) == 1
    assert min(widths) >= 2


def test_failures_are_bold_and_passes_are_not(page):
    good, bad = rows(page, "with nonce")[0], rows(page, "without")[0]
    assert not any("**" in cell for cell in good)
    assert all("**" in cell for cell in bad[1:] if "no nonce" not in cell)
    assert [cell.strip(" |") for cell in bad].count("no nonce") == 1


def test_survived_attacks_are_counted(page):
    same, fresh = (row for row in rows(page, "with nonce") if "nonce," in row[0] or ", " in row[0])
    assert same[1:] == ["**all**", "-", "1 of 2 |"]
    assert fresh[1:] == ["-", "-", "2 of 2 |"]


def test_loss_is_told(page):
    assert "yes, 20 of 20" in page
    assert "**no**, 0 of 20 exact; PSNR 23.5 dB (worst 17.0), SSIM 0.812" in page


def test_images_and_tests_left_out_are_named(page):
    assert "- 512 x 512: 1 images: b.dcm#0 (12)" in page
    assert rows(page, "without")[2][1:] == ["187 of 188", "runs", "made up |"]


def test_a_scheme_without_remark_is_an_error(comparison):
    with pytest.raises(KeyError):
        write_document(comparison, {"without": Remark("8", "", "")})


def test_there_is_a_remark_for_every_scheme():
    network = DeepEdn(make_generator(Recipe()), make_generator(Recipe()))
    filled = compare.remarks(network)
    names = {"literal", "two maps", "DEA + CNN", "Josephus", network.name, "chaos-cnn-1", "hybrid-1", "AES-256-GCM"}
    assert set(filled) == names
    assert f"{network.key_bytes:,} bytes" in filled[network.name].apart


def _pictures():
    rng = np.random.default_rng(8)
    shade = np.add.outer(np.arange(64), np.arange(64))
    return [image.Picture(f"{n}", (shade + rng.integers(0, 9, (64, 64)) * n).astype(np.uint8), 8) for n in range(1, 5)]


def test_aes_is_measured_as_what_it_is():
    found = measurement.measure(AesGcm(), {64: _pictures()}, effort=SMALL, tests=["frequency", "runs"], speed_side=64)
    (security,) = found.security
    assert tuple(security.figures) == measurement.FIGURES
    npcr, fresh = security.figures["NPCR"], security.figures["NPCR, fresh nonce"]
    assert (npcr.mean, npcr.n_inside, npcr.n_total) == (pytest.approx(100 / 4096), 0, 8)
    assert fresh.mean > 99
    assert (npcr.mean_passed, fresh.mean_passed) == (False, True)
    assert fresh.ideal == pytest.approx(100 * 255 / 256)
    assert security.figures["NPCR, key"].mean > 99
    assert security.figures["entropy"].mean > 7.9
    assert found.randomness.n_total == 2
    assert any(one.gained for one in found.attacks)
    assert not any(one.gained for one in found.fresh_attacks)
    assert (found.practice.n_exact, found.practice.n_images, found.practice.psnr_db) == (4, 4, None)
    assert found.practice.encrypt > 0
    assert Comparison.from_dict(json.loads(json.dumps(Comparison({}, [found]).to_dict()))).results == [found]


def test_a_network_is_measured_under_its_nearest_key():
    recipe = Recipe(width=4, n_blocks=1)
    network = DeepEdn(make_generator(recipe), make_generator(recipe))
    security = measurement.measure_security(network, 64, [one.samples for one in _pictures()])
    assert "NPCR, fresh nonce" not in security.figures
    assert security.figures["NPCR, key"].mean < 1
    practice = measurement.measure_practice(network, [_pictures()[0].samples], 64)
    assert practice.n_exact == 0
    assert 0 < practice.worst_psnr_db <= practice.psnr_db < 50


def test_the_window():
    cells = np.array([[0, 0, 100, 150], [100, 125, 150, 200]], np.uint16)
    found = image.window(cells)
    assert found.dtype == np.uint8
    assert found[0, 0] == 0
    assert found.max() == 255
    assert found[0, 2] < found[1, 1] < found[0, 3]
    eight = cells.astype(np.uint8)
    assert image.window(eight) is eight


def test_the_window_knows_signed_cells():
    signed = np.add.outer(np.arange(-40, 40), np.arange(50)).astype(np.int16)
    found = image.window(signed.view(np.uint16)).astype(int)
    assert (np.diff(found, axis=1) >= 0).all()
    assert image.window(np.full((3, 3), 7, np.uint16)).max() == 0


@pytest.mark.parametrize("side", image.SIDES)
def test_images_of_the_comparison(side):
    found = image.compared(side)
    assert all(one.samples.shape == (side, side) and one.samples.dtype == np.uint8 for one in found)
    assert len({one.name for one in found}) == len(found)
    files = [one.name.split("#")[0] for one in found]
    assert max(map(files.count, files), default=0) <= 2
    assert all(one.flags.c_contiguous for one in (picture.samples for picture in found))


def test_sizes_without_images_are_left_out(monkeypatch):
    small = image.Picture(
        "test_files/a.dcm#0", np.arange(300 * 256, dtype=np.uint32).reshape(300, 256).astype(np.uint8), 8
    )
    monkeypatch.setattr(image, "_pictures", lambda: [small])
    found = image.all_compared()
    assert list(found) == [256]
    np.testing.assert_array_equal(found[256][0].samples, small.samples[22:278])


def test_blank_images_and_slices_of_series_are_not_compared(monkeypatch):
    busy = np.arange(256 * 256, dtype=np.uint32).reshape(256, 256).astype(np.uint8)
    names = {"corpus/series/1.dcm#0": busy, "corpus/a.dcm#0": busy & 7, "corpus/b.dcm#0": busy, "corpus/b.dcm#1": busy}
    pictures = [image.Picture(name, samples, 8) for name, samples in [*names.items(), ("corpus/b.dcm#2", busy)]]
    monkeypatch.setattr(image, "_pictures", lambda: pictures)
    assert [one.name for one in image.compared(256)] == ["corpus/b.dcm#0", "corpus/b.dcm#1"]
    assert len(image.for_training()) == 1


def test_nothing_is_both_compared_and_trained_on():
    compared = {one.name.split("#")[0] for side in image.SIDES for one in image.compared(side)}
    assert compared
    trained_on = image.for_training()
    assert trained_on
    taken = {one.samples.tobytes() for one in image._pictures() if one.name.split("#")[0] in compared}
    assert not taken & {samples.tobytes() for samples in trained_on}


def test_the_picture(tmp_path):
    path = tmp_path / "images" / "comparison.png"
    picture.draw([AesGcm(), ChaosCnn()], path)
    written = picture.Picture.open(path)
    assert written.mode == "L"
    assert path.stat().st_size < 300_000
    pixels = np.asarray(written)
    plain = picture.phantom()
    corner = (picture._TITLE, picture._GAP)
    shown = pixels[corner[0] : corner[0] + 128, corner[1] : corner[1] + 128]
    np.testing.assert_allclose(shown.astype(int), plain, atol=1)


def test_the_image_with_most_entropy_is_attacked():
    rng = np.random.default_rng(7)
    values = {"flat.dcm#0": 2, "ct.dcm#0": 200, "us.dcm#0.0": 100, "us.dcm#0.1": 99, "mr.dcm#0": 50, "cr.dcm#0": 20}
    pictures = [image.Picture(name, rng.integers(0, n, (64, 64)).astype(np.uint8), 8) for name, n in values.items()]
    found = measurement._attacked(pictures)
    expected = ["cr.dcm#0", "mr.dcm#0", "us.dcm#0.0", "ct.dcm#0"]
    samples = {one.name: one.samples for one in pictures}
    assert all(np.array_equal(one, samples[name]) for one, name in zip(found, expected, strict=True))
    assert len(measurement._attacked(pictures[:2])) == 2


def _smooth_images():
    rng = np.random.default_rng(12)
    images = []
    for _ in range(4):
        coarse = np.kron(rng.integers(0, 256, (8, 8)), np.ones((8, 8)))
        images.append(np.clip(coarse + rng.normal(0, 4, coarse.shape), 0, 255).astype(np.uint8))
    return images


def test_regression_decrypts_what_is_local():
    """Inverted and mixed with the neighbour: a cipher without memory of the place."""
    found = regression.local_regression(lambda one: 255 - one // 2 - np.roll(one, 1, axis=1) // 2, _smooth_images())
    assert found.gained
    assert found.correlation > 0.95
    assert found.n_images == 3


@pytest.mark.parametrize("scheme", [AesGcm(), ChaosCnn()], ids=lambda scheme: scheme.name)
def test_regression_gains_nothing_against_a_cipher(scheme):
    found = regression.local_regression(attack.refreshing(scheme.encrypt, bytes(32)), _smooth_images())
    assert not found.gained
    assert found.correlation < 0.2
