"""AES-256-GCM as a scheme: the library's cipher, its tag apart."""

import numpy as np
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.baselines.aes import AesGcm

KEY, NONCE = bytes(range(32)), bytes(range(12))
IMAGE = np.random.default_rng(5).integers(0, 256, (33, 47), np.uint8)


def test_a_published_vector():
    """D. McGrew, J. Viega: The Galois/Counter Mode of Operation, 2004, test case 14."""
    image, tag = AesGcm().seal(np.zeros((4, 4), np.uint8), bytes(32), bytes(12))
    assert image.tobytes().hex() == "cea7403d4d606b6e074ec5d3baf39d18"
    assert tag.hex() == "d0d1c8a799996bf0265b98b5d48ab919"


def test_the_cipher_image_is_the_ciphertext():
    image, tag = AesGcm().seal(IMAGE, KEY, NONCE)
    assert image.shape == IMAGE.shape
    assert image.tobytes() + tag == AESGCM(KEY).encrypt(NONCE, IMAGE.tobytes(), None)
    np.testing.assert_array_equal(AesGcm().encrypt(IMAGE, KEY, NONCE), image)


def test_round_trips():
    scheme = AesGcm()
    image, tag = scheme.seal(IMAGE, KEY, NONCE)
    np.testing.assert_array_equal(scheme.open(image, tag, KEY, NONCE), IMAGE)
    np.testing.assert_array_equal(scheme.decrypt(image, KEY, NONCE), IMAGE)
    assert image.flags.writeable


def test_a_view_is_encrypted_as_what_it_shows():
    view = IMAGE[::2, ::-1]
    np.testing.assert_array_equal(AesGcm().encrypt(view, KEY, NONCE), AesGcm().encrypt(view.copy(), KEY, NONCE))


@pytest.mark.parametrize("part", ["image", "tag", "key", "nonce"])
def test_open_refuses_every_change(part):
    scheme = AesGcm()
    image, tag = scheme.seal(IMAGE, KEY, NONCE)
    parts = {"image": image, "tag": tag, "key": KEY, "nonce": NONCE}
    parts[part] = image ^ 1 if part == "image" else bytes([parts[part][0] ^ 1]) + parts[part][1:]
    with pytest.raises(InvalidTag):
        scheme.open(parts["image"], parts["tag"], parts["key"], parts["nonce"])


def test_decrypt_accepts_what_open_refuses():
    image = AesGcm().encrypt(IMAGE, KEY, NONCE)
    image[0, 0] ^= 1
    back = AesGcm().decrypt(image, KEY, NONCE)
    assert np.count_nonzero(back != IMAGE) == 1


def test_a_wrong_key_gives_noise():
    scheme = AesGcm()
    back = scheme.decrypt(scheme.encrypt(IMAGE, KEY, NONCE), bytes(32), NONCE)
    assert np.mean(back == IMAGE) < 0.02


def test_a_repeated_nonce_shows_the_difference():
    first, second = (AesGcm().encrypt(image, KEY, NONCE) for image in (IMAGE, IMAGE[::-1].copy()))
    np.testing.assert_array_equal(first ^ second, IMAGE ^ IMAGE[::-1])
