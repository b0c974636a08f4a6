"""Training: the same again, split by source and patient, and the commands around it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from typer.testing import CliRunner

from iomt_crypt.checks.card import CARD, MAXIMUM_CHANNELS, POOLINGS, SHIPPED, WEIGHTS, is_sound, read_card
from iomt_crypt.checks.classifier import Classifier
from iomt_crypt.checks.network import Pooling
from iomt_crypt.checks.training import course, fit, place
from iomt_crypt.checks.training.bank import Bank
from iomt_crypt.checks.training.corpus import PYDICOM, Plain, make_synthetic, read_folders, split
from iomt_crypt.checks.training.evaluation import Rate, evaluate
from iomt_crypt.checks.training.place import require_writable
from iomt_crypt.checks.training.recipe import _LIMITS, RECIPE, Recipe, read_recipe
from iomt_crypt.checks.training.report import FIGURES, write_report
from iomt_crypt.checks.training.table import caught, full, matrix
from iomt_crypt.cli.app import app
from iomt_crypt.errors import ConfigurationError, InputError, StorageError

PNG = b"\x89PNG"


def track(items, label):
    assert label
    return items


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return replace(
        read_recipe(),
        channels=(4, 4, 4),
        steps=24,
        batch=(8, 16, 16, 16),
        frames_of_an_object=1,
        objects_of_a_source=1,
        synthetic_frames=1,
        noise_pieces=256,
        evaluations=1,
    )


@pytest.fixture(scope="module")
def plains(recipe) -> list[Plain]:
    return list(make_synthetic(recipe, np.random.default_rng(1), ("anatomy", "speckle", "label map")))


@pytest.fixture(scope="module")
def recipe_file(recipe, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.json"
    path.write_text(json.dumps(recipe.to_dict()))
    return path


def test_the_same_again_bit_for_bit(recipe, plains):
    one, two, other = (fit.train(plains, recipe, seed, track, {}) for seed in (1, 1, 2))
    assert one.weights == two.weights
    assert one.card == two.card
    assert one.weights != other.weights


def test_pieces_to_train_on(recipe, plains):
    bank = Bank(plains, recipe, np.random.default_rng(1), track)
    assert bank.n_pieces > 0
    for side in (64, 32, 16, 8):
        good, bad = bank.good(6, side), bank.bad(6, side)
        assert good.shape == bad.shape == (6, side, side)
        assert good.dtype == bad.dtype == np.uint16
    noise = bank.good(64, 64)
    assert abs(noise.mean() - 32767.5) < 6 * 18918 / 512


def test_sources_and_patients_are_kept_apart(recipe):
    def plain(source: str, group: str, licence: str = "MIT") -> Plain:
        return Plain(source, "CT", 16, "native", (np.zeros((8, 8), np.uint16),), frozenset({group.encode()}), licence)

    held = recipe.held_out[0]
    mine, shared, theirs = plain("mine", "a"), plain("mine", "b"), plain(held, "b")
    copyleft, same = plain("other", "c", "GPL-3.0"), plain("mine", "c")
    found = split([mine, shared, theirs, copyleft, same], recipe)
    assert found.training == (mine,)
    assert found.evaluation == (theirs, copyleft)


def test_real_files_by_source(recipe):
    found = list(read_folders([PYDICOM], replace(recipe, objects_of_a_source=100)))
    assert {plain.source for plain in found} >= {"test_files", "dicomdirtests"}
    assert {plain.form for plain in found} == {"native", "compressed"}
    assert all(plain.groups for plain in found if plain.kind in ("CT", "MR"))
    digests = [b"".join(f.tobytes() for f in plain.frames) for plain in found]
    assert len(set(digests)) == len(digests)
    assert not any(plain.source == "test_files" for plain in split(found, recipe).training)


def test_the_recipe_of_the_package():
    found = read_recipe()
    assert not any("GPL" in licence for licence in found.licences)
    assert found.false_alarms <= 1e-3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps": None}, "missing: steps"),
        ({"more": 1}, "unknown: more"),
        ({"channels": 5}, "channels is 5, and must be a list of 3 whole numbers from 1 to 256"),
        ({"channels": [1]}, r"channels is \[1\]"),
        ({"channels": [16, 24, 300]}, r"channels is \[16, 24, 300\]"),
        ({"channels": [16, 24, True]}, "channels is"),
        ({"batch": [1, 2]}, "batch is"),
        ({"batch": [64, 128, 128, 3]}, "batch is .* from 4 to 4096"),
        ({"pooling": "median"}, 'pooling is "median", and must be one of: average, max, l2'),
        ({"pooling": ["max"]}, "pooling is"),
        ({"steps": "many"}, 'steps is "many", and must be a whole number from 1 to 1e'),
        ({"steps": 0}, "steps is 0"),
        ({"steps": 10.0}, "steps is 10.0"),
        ({"rate": float("nan")}, "rate is NaN"),
        ({"rate": 0}, "rate is 0, and must be a number from 1e-09 to 1"),
        ({"false_alarms": 0.5}, "false_alarms is 0.5"),
        ({"n_threads": -1}, "n_threads is -1"),
        ({"noise_pieces": {}}, "noise_pieces is {}"),
        ({"evaluations": 10**9}, "evaluations is 1000000000"),
        ({"held_out": "dcmjs"}, 'held_out is "dcmjs", and must be a list of names'),
        ({"held_out": [1]}, "held_out is"),
        ({"held_out_synthetic": ["air", "vapour"]}, "held_out_synthetic is .* a list of names: air, "),
        ({"licences": ["x" * 999]}, ""),
        ({"licences": 0}, "licences is 0"),
    ],
)
def test_odd_recipes_are_refused(tmp_path, change, told):
    fields = json.loads(RECIPE.read_text())
    fields = {k: v for k, v in {**fields, **change}.items() if v is not None}
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(fields))
    if not told:
        assert list(read_recipe(path).licences) == change["licences"]
        return
    with pytest.raises(ConfigurationError, match=rf"recipe\.json: {told}") as caught:
        read_recipe(path)
    assert "start from" in caught.value.hint
    assert len(str(caught.value)) < 300 + len(str(path))
    done = CliRunner().invoke(app, ["train", "-o", str(tmp_path / "weights"), "--recipe", str(path)])
    assert isinstance(done.exception, ConfigurationError)
    assert not (tmp_path / "weights").exists()


def test_limits_of_recipe_and_card_are_the_same(tmp_path):
    assert set(POOLINGS) == set(get_args(Pooling))
    assert set(_LIMITS) == {field.name for field in fields(Recipe)}
    card = read_card(SHIPPED / CARD)
    for n, taken in ((1, True), (MAXIMUM_CHANNELS, True), (0, False), (MAXIMUM_CHANNELS + 1, False)):
        assert is_sound(replace(card, channels=(16, 24, n))) is _LIMITS["channels"].takes([16, 24, n]) is taken


@pytest.mark.parametrize("text", ["[]", "1", "{", ""])
def test_what_is_no_recipe_at_all(tmp_path, text):
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"recipe\.json: no recipe"):
        read_recipe(tmp_path / "recipe.json")


def test_the_smallest_recipe_trains(recipe, plains):
    smallest = replace(recipe, channels=(1, 1, 1), steps=1, batch=(4, 4, 4, 4), noise_pieces=1, pieces_of_a_kind=1)
    assert is_sound(fit.train(plains, smallest, 1, track, {}).card)


def test_a_training_that_diverges_writes_nothing(recipe, plains, monkeypatch):
    monkeypatch.setattr(fit, "_limit", lambda scores, share: (float("nan"), 1.0))
    with pytest.raises(ConfigurationError, match="no finite numbers"):
        fit.train(plains, replace(recipe, steps=1), 1, track, {})


def test_nothing_to_train_on(recipe):
    small = Plain("mine", "CT", 16, "native", (np.zeros((8, 8), np.uint16),), frozenset(), "MIT")
    for plains in ([], [small]):
        with pytest.raises(InputError, match="no image of 64 x 64 words to train on"):
            fit.train(plains, recipe, 1, track, {})


def test_no_recipe_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="no recipe"):
        read_recipe(tmp_path / "none.json")


def test_evaluation_and_report(plains, tmp_path):
    classifier = Classifier.load()
    made = evaluate(classifier, plains, np.random.default_rng(1), track, n_good=2, n_bad=1)
    ways = {trial.way for trial in made.trials}
    assert ways >= {"plain", "hybrid-1", "AES-CTR", "permuted", "stripe", "one long key"}
    figures = write_report(made, classifier.card, tmp_path / "report")
    assert json.loads((tmp_path / "report" / FIGURES).read_text()) == json.loads(json.dumps(figures))
    counts = figures["matrix"]
    assert sum(map(sum, counts)) == sum(t.truth != "invisible" for t in made.trials)
    assert counts[0] == [12, 0]  # three images, two encryptions in two ways: all called encrypted
    assert figures["ways"]["plain"]["classifier"]["share"] == 1
    pictures = sorted(path.name for path in (tmp_path / "report").glob("*.png"))
    assert pictures == [
        "calibration.png",
        "confusion-bits.png",
        "confusion-modality.png",
        "confusion-source.png",
        "confusion-way.png",
        "confusion.png",
        "roc.png",
        "ways.png",
        "wrong.png",
    ]
    assert all((tmp_path / "report" / name).read_bytes().startswith(PNG) for name in pictures)
    with pytest.raises(StorageError, match="exists"):
        write_report(made, classifier.card, tmp_path / "report")


def test_tables(plains):
    made = evaluate(Classifier.load(), plains[:1], np.random.default_rng(1), track, n_good=1, n_bad=1)
    bad = [trial for trial in made.trials if trial.way == "constant"]
    wrong = [replace(trial, called_encrypted=True, alarms=()) for trial in bad]
    assert matrix(bad) == [[0, 0], [0, 0], [0, 1]]
    assert matrix(wrong) == [[0, 0], [0, 0], [1, 0]]
    assert caught(wrong)["neither"] == 1
    assert caught([replace(wrong[0], alarms=("values",))])["statistics alone"] == 1
    assert caught([replace(bad[0], alarms=())])["classifier alone"] == 1
    assert full(made)["by bits"]


def test_intervals():
    low, high = Rate(1000, 1000).interval()
    assert high == 1
    assert low == pytest.approx(0.025 ** (1 / 1000))  # Clopper and Pearson, exactly, where all went right
    assert Rate(0, 0).interval() == (0, 1)
    assert Rate(0, 0).to_dict()["trials"] == 0


def test_the_commands(recipe_file, tmp_path, monkeypatch, sample_files):
    data = tmp_path / "data"
    (data / "mine").mkdir(parents=True)
    (data / "mine" / "one.dcm").write_bytes(min(sample_files, key=lambda path: path.stat().st_size).read_bytes())
    monkeypatch.setattr(course, "SYNTHETIC", {k: course.SYNTHETIC[k] for k in ("anatomy", "air")})
    monkeypatch.setattr(course, "PYDICOM", tmp_path / "none")
    (tmp_path / "none").mkdir()
    weights = tmp_path / "weights"
    arguments = ["train", "--data", str(data), "-o", str(weights), "--seed", "3", "--recipe", str(recipe_file)]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["seed"] == 3
    assert [entry["source"] for entry in told["training"]] == ["mine", "synthetic", "synthetic"]
    assert sorted(path.name for path in weights.iterdir()) == [CARD, WEIGHTS]
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, StorageError)

    monkeypatch.setattr(course, "evaluate", lambda *a, **k: evaluate(*a, **{**k, "n_good": 1, "n_bad": 1}))
    output = tmp_path / "report"
    done = CliRunner().invoke(
        app, ["report", "--classifier", str(data), "-o", str(output), "--weights", str(weights), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["weights"] == told["sha256"]
    assert not json.loads((output / FIGURES).read_text())["by source"].get("mine")  # it was trained on


def test_mistakes_are_told_before_the_work(tmp_path):
    done = CliRunner().invoke(app, ["train", "--data", str(tmp_path / "none"), "-o", str(tmp_path / "weights")])
    assert isinstance(done.exception, InputError)
    assert not (tmp_path / "weights").exists()
    done = CliRunner().invoke(app, ["report", "--classifier", "-o", str(tmp_path)])
    assert isinstance(done.exception, StorageError)
    (tmp_path / "file").write_text("")
    for command in (["train"], ["report", "--classifier"]):
        for output in ("file", "file/weights", "file/a/b"):
            done = CliRunner().invoke(app, [*command, "-o", str(tmp_path / output)])
            assert isinstance(done.exception, StorageError)
            assert "cannot be written" in str(done.exception)


def test_a_folder_is_tried_and_left_as_it_is(tmp_path, monkeypatch):
    require_writable(tmp_path / "a" / "b")
    monkeypatch.chdir(tmp_path)
    require_writable(Path("c/d"))
    assert list(tmp_path.iterdir()) == []

    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(place.tempfile, "TemporaryFile", refuse)
    with pytest.raises(StorageError, match=r"a: cannot be written \(Permission denied\)"):
        require_writable(tmp_path / "a")


def test_report_needs_sources_or_classifier(tmp_path):
    assert CliRunner().invoke(app, ["report", "-o", str(tmp_path)]).exit_code == 2
    arguments = ["report", "x", "-o", str(tmp_path), "--weights", "w"]
    assert CliRunner().invoke(app, arguments).exit_code == 2
