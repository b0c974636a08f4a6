"""The trial of a layout: noise passes at every size, and faults that only this size shows do not."""

from __future__ import annotations

import os
import threading
import warnings

import numpy as np
import pytest

from iomt_crypt import cipher
from iomt_crypt.checks import layout as layout_module
from iomt_crypt.checks.layout import MAXIMUM_BYTES, SuiteTrial, check_layout
from iomt_crypt.errors import KnownAnswerError
from iomt_crypt.seal import SUITES, Layout, Suite

LAYOUT = Layout(1, 64 * 80 * 2, 16, 80)
OTHER = Layout(1, 64 * 81 * 2, 16, 81)
EPOCH, NEXT = b"a" * 16, b"b" * 16
GOOD = cipher.encrypt_into


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(
    "layout",
    [
        Layout(0, 0, 8, 0),
        Layout(1, 1, 8, 1),
        Layout(1, 63, 8, 63),
        Layout(1, 64, 8, 64),
        Layout(1, 64 * 2, 16, 1),
        Layout(1, 65, 8, 7),  # no whole rows
        Layout(9, 129, 8, 0),
        Layout(3, 512 * 512 * 2, 16, 512),
        Layout(1, 512 * 512 * 3, 8, 512 * 3),
        Layout(1, MAXIMUM_BYTES + 2, 16, 3),
        Layout(1, 4 * MAXIMUM_BYTES, 16, MAXIMUM_BYTES),  # one row is larger than what is tried
    ],
    ids=str,
)
def test_noise_passes_at_every_size(suite, layout):
    check_layout(suite, layout)


def test_large_frames_are_tried_at_whole_rows_of_them(monkeypatch):
    sizes = set()

    def noted(source, target, key, **options):
        sizes.add((source.nbytes, options["row_length"]))
        GOOD(source, target, key, **options)

    monkeypatch.setattr(cipher, "encrypt_into", noted)
    check_layout("hybrid-1", Layout(1, 1 << 30, 16, 3000))
    assert sizes == {(MAXIMUM_BYTES // 6000 * 6000, 3000)}


def stream(n_words, dtype, seed=7):
    return np.random.default_rng(seed).integers(0, 1 << 8 * dtype.itemsize, n_words, dtype)


#: What stands in the place of the image cipher, and what is said of it. All come back right from a read-back.
FAULTS = {
    "identity": (lambda words, key, number: words, "values"),
    "permutation": (lambda words, key, number: words[::-1], "values"),
    "short stream": (lambda words, key, number: words ^ np.resize(stream(64, words.dtype), words.size), ""),
    "long stream": (lambda words, key, number: words ^ stream(words.size, words.dtype), "share a key stream"),
    "stream of the key alone": (
        lambda words, key, number: words ^ stream(words.size, words.dtype, key[0] << 8 | key[1]),
        "two frames share a key stream",
    ),
    "stream of the number alone": (
        lambda words, key, number: words ^ stream(words.size, words.dtype, number),
        "two objects share a key stream",
    ),
    "low byte": (lambda words, key, number: words ^ (stream(words.size, words.dtype, key[0] + number) & 0xFF), ""),
}


def put(monkeypatch, change):
    def run(source, target, key, *, tweak=b"", row_length=None, backend="auto"):
        target[...] = change(source.copy(), key, int.from_bytes(tweak, "little"))

    monkeypatch.setattr(cipher, "encrypt_into", run)


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_the_image_cipher_under_either_suite(monkeypatch, fault):
    change, told = FAULTS[fault]
    put(monkeypatch, change)
    # AES hides them, the research suite does not.
    with pytest.raises(
        KnownAnswerError, match=rf"self-test failed: image cipher: .*{told}.*; 10240 bytes, 16-bit words"
    ):
        check_layout("hybrid-1", LAYOUT)
    with pytest.raises(KnownAnswerError, match=rf"self-test failed: suite chaos-cnn-1: .*{told}"):
        check_layout("chaos-cnn-1", LAYOUT)


def test_every_second_frame(monkeypatch):
    seal = Suite.seal
    monkeypatch.setattr(Suite, "seal", lambda self, index, frame: bytes(16) if index % 2 else seal(self, index, frame))
    with pytest.raises(KnownAnswerError, match="suite hybrid-1: values are not uniform") as caught:
        check_layout("hybrid-1", LAYOUT)
    assert "encrypt nothing" in caught.value.hint


class TestOnce:
    @pytest.fixture
    def asked(self, monkeypatch):
        asked = []
        monkeypatch.setattr(layout_module, "check_layout", lambda suite, layout: asked.append((suite, layout)))
        monkeypatch.setattr(layout_module, "check_answers", lambda suite: asked.append(suite))
        return asked

    def test_for_each_suite_layout_and_epoch(self, asked):
        trial = SuiteTrial()
        for epoch_id, n_asked in ((EPOCH, 5), (NEXT, 10), (EPOCH, 10)):
            for _ in range(3):
                trial.require("hybrid-1", LAYOUT, epoch_id=epoch_id)
                trial.require("hybrid-1", OTHER, epoch_id=epoch_id)
                trial.require("chaos-cnn-1", OTHER, epoch_id=epoch_id)
                trial.require("hybrid-1", Layout(7, 64 * 80 * 2, 16, 80), epoch_id=epoch_id)
            assert len(asked) == n_asked
        assert asked[:2] == ["hybrid-1", ("hybrid-1", layout_module._tried(LAYOUT))], "the known answers come first"

    def test_a_limited_number_of_epochs_and_layouts_is_remembered(self, asked, monkeypatch):
        monkeypatch.setattr(layout_module, "_EPOCHS", 2)
        monkeypatch.setattr(layout_module, "_LAYOUTS", 3)
        trial = SuiteTrial()
        for number in range(5):
            trial.require("hybrid-1", LAYOUT, epoch_id=bytes([number]) * 16)
        assert list(trial._passed) == [b"\3" * 16, b"\4" * 16]
        for rows in range(64, 80):
            trial.require("hybrid-1", Layout(1, rows * 80, 8, 80), epoch_id=b"\4" * 16)
            assert len(trial._passed[b"\4" * 16]) <= 5

    def test_again_for_what_has_failed(self, monkeypatch):
        trial = SuiteTrial()
        put(monkeypatch, lambda words, key, number: words)
        for _ in range(2):
            with pytest.raises(KnownAnswerError):
                trial.require("hybrid-1", LAYOUT, epoch_id=EPOCH)
        monkeypatch.setattr(cipher, "encrypt_into", GOOD)
        trial.require("hybrid-1", LAYOUT, epoch_id=EPOCH)

    @pytest.mark.parametrize("name", ["seal", "open", "_protect", "_unprotect", "_image", "_check"])
    def test_again_for_other_code(self, asked, monkeypatch, name):
        """What was tried is what is used."""
        trial = SuiteTrial()
        trial.require("hybrid-1", LAYOUT, epoch_id=EPOCH)
        asked.clear()
        monkeypatch.setattr(SUITES["hybrid-1"], name, lambda *_: bytes(16))
        trial.require("hybrid-1", LAYOUT, epoch_id=EPOCH)
        assert len(asked) == 2

    def test_again_in_a_process_that_was_forked(self, asked):
        trial = SuiteTrial()
        trial.require("hybrid-1", LAYOUT, epoch_id=EPOCH)
        asked.clear()
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pytest's other threads hold nothing that is used here
            child = os.fork()
        if not child:
            try:
                trial.require("hybrid-1", LAYOUT, epoch_id=EPOCH)
            finally:
                os.write(write, str(len(asked)).encode())
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read, 8) == b"2"
        os.close(read)
        os.close(write)

    def test_no_object_overtakes_the_trial_of_its_layout(self, monkeypatch):
        begun, go, done = threading.Event(), threading.Event(), []
        trial = SuiteTrial()

        def slow(suite, layout):
            begun.set()
            assert go.wait(30)

        monkeypatch.setattr(layout_module, "check_layout", slow)

        def ask():
            trial.require("hybrid-1", LAYOUT, epoch_id=EPOCH)
            done.append(1)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert begun.wait(30)
        assert done == []
        go.set()
        for thread in threads:
            thread.join(30)
        assert done == [1, 1, 1]


def test_the_first_trial_can_be_made_at_the_start(monkeypatch):
    put(monkeypatch, lambda words, key, number: words)
    with pytest.raises(KnownAnswerError, match=r"known-answer test failed"):
        SuiteTrial().warm_up("hybrid-1")
