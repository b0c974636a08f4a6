"""Reduced ciphers are what they say, distinguishers break what they should, and four rounds stand."""

import numpy as np
import pytest

from benchmarks.cryptanalysis import collision, feistel, network, nh, order, repeat, tiny
from benchmarks.cryptanalysis.__main__ import DOCUMENT, main, place
from benchmarks.cryptanalysis.experiment import EXPERIMENTS
from benchmarks.cryptanalysis.reduced import Reduced
from iomt_crypt import cipher

pytestmark = pytest.mark.xdist_group("cryptanalysis-rounds")

KEY = bytes(range(32))


def frame_of(n_samples, word_bits):
    dtype = np.uint8 if word_bits == 8 else np.uint16
    return np.random.default_rng(n_samples).integers(0, 1 << word_bits, n_samples).astype(dtype)


@pytest.mark.parametrize(("n_samples", "word_bits"), [(2, 8), (3, 16), (17, 8), (301, 16), (5000, 8)])
def test_four_rounds_are_the_cipher(n_samples, word_bits):
    frame = frame_of(n_samples, word_bits)
    halves = Reduced.of(KEY, n_samples, word_bits).encrypt(frame[: n_samples // 2], frame[n_samples // 2 :])
    assert np.array_equal(np.concatenate(halves), cipher.encrypt(frame, KEY))


@pytest.mark.parametrize("order", ["within", "across", "none"])
@pytest.mark.parametrize("n_rounds", [0, 1, 2, 3, 4])
def test_reduced_ciphers_come_back(n_rounds, order):
    frame = frame_of(99, 16)
    reduced = Reduced.of(KEY, 99, 16, n_rounds=n_rounds, order=order, feature_bits=8)
    back = reduced.decrypt(*reduced.encrypt(frame[:49], frame[49:]))
    assert np.array_equal(np.concatenate(back), frame)


def test_distinguishers_break_three_rounds_and_not_four():
    for found in feistel.outcomes(256, 16, 12):
        broken = (found.name, found.n_rounds, found.order) in {
            ("left half stays", 1, "none"),
            ("top bits, chosen plain", 2, "within"),
            ("low bits, plain and cipher", 3, "within"),
            ("equal samples of L", 3, "across"),
        }
        # of 12 keys a random permutation passes the test of low bits 0.6 times; 6 times with probability 10^-5
        assert found.hits == 12 if broken else found.hits < 6, found


@pytest.mark.parametrize("n_samples", [2, 9, 1024, 5001])
def test_the_repositioning_keeps_the_halves(n_samples):
    half = n_samples // 2
    for number in range(8):
        positions = Reduced.of(bytes([number] * 32), n_samples, 8).positions()
        assert (positions[:half] < half).all()
        assert np.array_equal(np.sort(positions), np.arange(n_samples))


def test_across_the_halves_they_would_sometimes_swap_whole():
    swap = tiny.swapped(4, 300)
    assert swap.expected == pytest.approx(50)
    assert abs(swap.n_swapped - 50) < 5 * 6.5


@pytest.mark.parametrize("word_bits", [8])
def test_one_sample_is_an_exclusive_or(word_bits):
    assert len(tiny.constants_of_one(word_bits, KEY)) == 1


def test_two_samples_are_an_even_permutation_that_birthdays_tell():
    book = tiny.code_book(KEY)
    assert np.array_equal(np.sort(book), np.arange(1 << 16))
    for left, right in ((0, 0), (3, 200), (255, 17)):
        sealed = cipher.encrypt(np.array([left, right], np.uint8), KEY).tolist()
        assert book[left + 256 * right] == sealed[0] + 256 * sealed[1]
    assert tiny.is_even(book)
    found = tiny.birthday(6)  # 1536 +- 235 by the spread over 120 keys
    assert found.expected_random + 235 < found.n_passed < found.expected_cipher + 4 * 235


def test_parity_of_an_exchange():
    assert not tiny.is_even(np.array([1, 0, 2]))
    assert tiny.is_even(np.array([1, 2, 0]))


@pytest.mark.parametrize(("bits", "pairs", "passes"), [(3, 1, 1), (2, 2, 1), (2, 1, 2), (2, 1, 3)])
def test_nh_meets_its_bound_over_all_keys_and_messages(bits, pairs, passes):
    bound = nh.worst_collision(bits, pairs, passes)
    assert bound.worst == bound.claimed == 2.0 ** (-bits * passes)


def test_a_collision_shows_only_through_stripes_that_pass():
    passing = collision.striped_key()
    hidden = next(key for key in range(passing + 1, passing + 9) if not collision.passes_stripes(key))
    seen = collision.watch(passing, 6)
    assert abs(seen.n_seen - seen.expected_collisions) < 6 * seen.expected_collisions**0.5
    # single stripes, such as all at once, pass under more keys: a few pairs of 510 that collide
    assert collision.watch(hidden, 6).n_seen < 10 < seen.expected_collisions / 10


@pytest.mark.parametrize("decrypting", [False, True])
def test_frames_that_differ_in_one_sample_share_what_chance_gives(decrypting):
    found = repeat.common(64, 8, 300, decrypting=decrypting)
    assert abs(found.deviation) < 4
    assert found.longest_run < 5


def test_no_filter_is_linear_and_the_lowest_bit_is():
    weak = {row.name: row for row in network.weak_filters(2000)}
    assert weak["V+ + V- = 0: the filter would be linear"].n_found == 0
    assert weak["an output weight is even"].n_found == 0
    even = weak["all weights of a filter even"]
    assert abs(even.n_found - even.expected) < 5 * even.expected**0.5
    assert network.low_bit_rank(KEY) == (128, True)


def test_draws_are_nearly_fair_and_shapes_mean_their_row_length():
    assert 2 * order.draw_distance(512) < 2**-16
    found = order.shuffle(3, 600)
    assert (found.n_orders, found.n_seen) == (6, 6)
    assert found.chi_squared < 5 + 5 * 10**0.5
    assert order.same_cipher((8, 3), (2, 12))
    assert not order.same_cipher((4, 6), (24,))


def test_the_document_has_a_place_for_every_experiment():
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in EXPERIMENTS:
        assert text.count(f"<!-- {name} -->\n```\n") == 1, name
        assert f"python -m benchmarks.cryptanalysis {name}`" in text, name
    assert "```\nnew\n```" in place(text, "tiny", ["new  "])
    with pytest.raises(ValueError, match="no place for 'nothing'"):
        place(text, "nothing", [])


def test_the_command_lists_and_refuses(capsys):
    assert main([]) == 0
    assert set(EXPERIMENTS) <= {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert main(["nothing"]) == 2
