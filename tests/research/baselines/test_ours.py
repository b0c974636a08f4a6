"""Our cipher and our suite as schemes: nothing but what the gateway does."""

import numpy as np
import pytest

from benchmarks.baselines.ours import ChaosCnn, Hybrid
from iomt_crypt import cipher
from iomt_crypt.errors import AuthenticationError
from iomt_crypt.seal.schedule import ObjectKey
from iomt_crypt.seal.suite import SUITES

KEY, NONCE = bytes(range(32)), bytes(range(12))
IMAGE = np.random.default_rng(6).integers(0, 90, (40, 56), np.uint8)
SCHEMES = [ChaosCnn(), Hybrid()]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_round_trips(scheme):
    before = IMAGE.copy()
    image = scheme.encrypt(IMAGE, KEY, NONCE)
    assert image.shape == IMAGE.shape
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(scheme.decrypt(image, KEY, NONCE), IMAGE)
    np.testing.assert_array_equal(IMAGE, before)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
@pytest.mark.parametrize(("key", "nonce"), [(bytes(32), NONCE), (KEY, bytes(12))])
def test_another_key_or_nonce_gives_noise(scheme, key, nonce):
    image = scheme.encrypt(IMAGE, KEY, NONCE)
    assert np.mean(scheme.decrypt(image, key, nonce) == IMAGE) < 0.03
    assert np.mean(scheme.encrypt(IMAGE, key, nonce) == image) < 0.03


def test_the_image_cipher_is_the_packages():
    np.testing.assert_array_equal(ChaosCnn().encrypt(IMAGE, KEY, NONCE), cipher.encrypt(IMAGE, KEY, tweak=NONCE))


def test_the_suite_opens_what_the_scheme_encrypts():
    scheme = Hybrid()
    image, tag = scheme.seal(IMAGE, KEY, NONCE)
    np.testing.assert_array_equal(scheme.encrypt(IMAGE, KEY, NONCE), image)
    np.testing.assert_array_equal(scheme.open(image, tag, KEY, NONCE), IMAGE)
    assert len(tag) == SUITES["hybrid-1"].tag_bytes


def test_the_inner_layer_of_the_suite_is_the_image_cipher():
    """AES-256-GCM taken off by hand leaves the image cipher under the key that the suite derives for it."""
    keys = ObjectKey(KEY, NONCE + bytes(4))
    inner = cipher.encrypt(IMAGE, keys.derive("hybrid-1/image"), tweak=bytes(8))
    outer = Hybrid().encrypt(IMAGE, KEY, NONCE)
    stream = inner ^ outer
    other = IMAGE ^ 255
    inner_other = cipher.encrypt(other, keys.derive("hybrid-1/image"), tweak=bytes(8))
    np.testing.assert_array_equal(Hybrid().encrypt(other, KEY, NONCE), inner_other ^ stream)


@pytest.mark.parametrize("changed", ["image", "tag"])
def test_the_suite_refuses_a_change(changed):
    image, tag = Hybrid().seal(IMAGE, KEY, NONCE)
    image, tag = (image ^ 1, tag) if changed == "image" else (image, bytes(16))
    with pytest.raises(AuthenticationError):
        Hybrid().open(image, tag, KEY, NONCE)


def test_one_bit_changes_every_other_under_a_repeated_nonce():
    """The image cipher under AES is what makes a repeated nonce forgivable: AES alone would change one sample."""
    other = IMAGE.copy()
    other[3, 4] ^= 1
    for scheme in SCHEMES:
        first, second = (scheme.encrypt(image, KEY, NONCE) for image in (IMAGE, other))
        assert np.mean(first != second) > 0.97
