"""The known-answer test: its answers are right, and it sees a cipher that is not."""

from __future__ import annotations

from hashlib import sha256

import pytest

from iomt_crypt import cipher
from iomt_crypt.checks import answer
from iomt_crypt.errors import KnownAnswerError
from iomt_crypt.seal import SUITES
from iomt_crypt.seal import suite as suite_module
from tests.vectors.verify import cipher as second
from tests.vectors.verify.suite import Suite as SecondSuite


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_the_package_gives_the_answers(suite, backend):
    answer.check_answers(suite, backend=backend)


@pytest.mark.parametrize("frame", list(answer.FRAMES), ids=str)
def test_the_second_implementation_gives_the_answers_of_frames(frame):
    word_bits, rows, columns = frame
    plain = [i % (1 << word_bits) for i in range(rows * columns)]
    words = second.encrypt(plain, w=word_bits, key=answer._KEY, tweak=answer._TWEAK, row_length=columns)
    assert sha256(second.to_bytes(words, word_bits)).hexdigest() == answer.FRAMES[frame]


@pytest.mark.parametrize("name", answer.UNITS)
def test_the_second_implementation_gives_the_answers_of_suites(name):
    layout = answer._LAYOUT
    numbers = (layout.n_frames, layout.frame_bytes, layout.word_bits, layout.row_length)
    suite = SecondSuite(name, answer._KEY, answer._OBJECT_ID, answer._BINDING.decode(), *numbers)
    found = b"".join(part for i in range(2) for part in suite.seal(i, bytes(range(layout.frame_bytes))))
    assert sha256(found).hexdigest() == answer.UNITS[name]


def test_every_suite_has_an_answer():
    assert set(answer.UNITS) == set(SUITES)


def replaced(monkeypatch, encrypt, decrypt):
    """Put others in the place of the image cipher's entry points, below both callers."""

    def into(function):
        def run(source, target, key, *, tweak=b"", row_length=None, backend="auto"):
            target[...] = function(source.copy())

        return run

    for module in (cipher, suite_module.cipher):
        monkeypatch.setattr(module, "encrypt_into", into(encrypt))
        monkeypatch.setattr(module, "decrypt_into", into(decrypt))
    monkeypatch.setattr(cipher, "encrypt", lambda samples, key, **_: encrypt(samples))
    monkeypatch.setattr(cipher, "decrypt", lambda samples, key, **_: decrypt(samples))


BOTH_WAYS = {
    "identity": (lambda words: words, lambda words: words),
    "permutation": (lambda words: words[::-1], lambda words: words[::-1]),
    "constant stream": (lambda words: words ^ 0x5A, lambda words: words ^ 0x5A),
}


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_a_cipher_that_is_wrong_in_both_directions_is_seen(monkeypatch, name):
    replaced(monkeypatch, *BOTH_WAYS[name])
    with pytest.raises(KnownAnswerError, match=r"image cipher.*not the known answer"):
        answer.check_answers("hybrid-1")


def test_a_cipher_that_does_not_come_back_is_seen(monkeypatch):
    monkeypatch.setattr(cipher, "decrypt", lambda samples, key, **_: samples)
    with pytest.raises(KnownAnswerError, match="plain words back"):
        answer.check_answers("hybrid-1")


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_that_does_not_encrypt_is_seen(monkeypatch, suite):
    monkeypatch.setattr(SUITES[suite], "seal", lambda self, index, frame: bytes(self.tag_bytes))
    with pytest.raises(KnownAnswerError, match=f"suite {suite}: not the known answer"):
        answer.check_answers(suite)


def test_a_suite_that_authenticates_nothing_is_seen(monkeypatch):
    monkeypatch.setattr(SUITES["chaos-cnn-1"], "_unprotect", lambda self, index, frame, tag: None)
    with pytest.raises(KnownAnswerError, match="for another one"):
        answer.check_answers("chaos-cnn-1")


def test_a_suite_that_refuses_its_own_is_seen(monkeypatch):
    monkeypatch.setattr(SUITES["chaos-cnn-1"], "tag_bytes", 31)
    with pytest.raises(KnownAnswerError, match="refuses what it sealed"):
        answer.check_answers("chaos-cnn-1")
