"""EncryptPixels(d) and DecryptPixels(d): bits, kinds of arrays, MONAI's conventions, tampering."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate, set_track_meta
from monai.transforms import Compose, Flip, Flipd

from iomt_crypt import cipher
from iomt_crypt.checks import DecryptPixels, DecryptPixelsd, EncryptPixels, EncryptPixelsd
from iomt_crypt.checks.transform.array import SEAL
from iomt_crypt.errors import (
    AlreadyEncryptedError,
    AuthenticationError,
    ConfigurationError,
    KeyMaterialError,
    NoMatchingIdentityError,
    NotEncryptedError,
    UnsupportedError,
)
from iomt_crypt.seal import Record

KEY = bytes(range(32))
SHAPES = [(1, 16, 17), (3, 8, 9, 10), (2, 3, 4, 5, 6), (5, 7), (7,), (), (2, 0, 3)]
DTYPES = ["uint8", "int8", "uint16", "int16", "int32", "uint64", "float16", "float32", "float64", "complex64"]
KINDS = {
    "numpy": lambda a: a,
    "torch": lambda a: torch.from_numpy(a.copy()),
    "MetaTensor": lambda a: MetaTensor(torch.from_numpy(a.copy()), meta={"spacing": [1.0, 2.0]}),
}


def noise(rng, shape, dtype) -> np.ndarray:
    """Any pattern of bits, NaN with payloads included."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(rng.bytes(size), dtype).reshape(shape)


def bits(img) -> bytes:
    if isinstance(img, torch.Tensor):
        plain = img.as_tensor() if isinstance(img, MetaTensor) else img
        return bytes(plain.detach().contiguous().reshape(-1).view(torch.uint8).numpy()) if plain.numel() else b""
    return img.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit_comes_back(kind, dtype, rng):
    transform = Compose([EncryptPixelsd("image", key=KEY), DecryptPixelsd("image", key=KEY)])
    for shape in SHAPES:
        plain = noise(rng, shape, dtype)
        image = KINDS[kind](plain)
        encrypted = EncryptPixelsd("image", key=KEY)({"image": image})
        assert type(encrypted["image"]) is type(image)
        assert encrypted["image"].dtype == image.dtype
        assert encrypted["image"].shape == image.shape
        assert plain.nbytes < 8 or bits(encrypted["image"]) != plain.tobytes()
        assert bits(image) == plain.tobytes(), "the input is left as it is"
        back = transform({"image": image})
        assert back.keys() == {"image"}
        assert type(back["image"]) is type(image)
        assert back["image"].dtype == image.dtype
        assert bits(back["image"]) == plain.tobytes()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.complex128])
def test_types_that_numpy_or_few_have(dtype):
    image = torch.linspace(-3, 3, 120).to(dtype).reshape(2, 6, 10)
    item = EncryptPixelsd("image", key=KEY)({"image": image})
    assert item["image"].dtype == dtype
    assert torch.equal(DecryptPixelsd("image", key=KEY)(item)["image"], image)


def test_byte_order_and_strides_are_the_arrays_own(rng):
    image = noise(rng, (2, 9, 10), ">u2")
    item = EncryptPixelsd("image", key=KEY)({"image": image})
    back = DecryptPixelsd("image", key=KEY)(item)["image"]
    assert back.dtype.str == ">u2"
    assert np.array_equal(back, image)
    for view in (image[:, ::-2, 1:].astype(np.uint16), np.asfortranarray(image.astype(np.int32))):
        tensor = torch.from_numpy(view.copy()).permute(2, 0, 1)
        for img in (view, tensor):
            item = EncryptPixelsd("image", key=KEY)({"image": img})
            assert bits(DecryptPixelsd("image", key=KEY)(item)["image"]) == bits(img)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_equal_results_for_every_kind(dtype, rng):
    """The image cipher alone is a function of image, key and tweak; what is sealed opens in any kind."""
    plain = noise(rng, (3, 32, 20), dtype)
    alone = EncryptPixels(key=KEY, suite=None, tweak=b"scan 7")
    assert len({bits(alone(make(plain))) for make in KINDS.values()}) == 1
    sealed = EncryptPixelsd("image", key=KEY)({"image": plain})
    for make in KINDS.values():
        opened = DecryptPixels(key=KEY)(make(sealed["image"]), sealed["image_seal"])
        assert bits(opened) == plain.tobytes()


def test_the_cipher_alone_is_the_package_cipher(rng):
    plain = noise(rng, (2, 20, 30), "uint16")
    encrypted = EncryptPixels(key=KEY, suite=None, tweak=b"t")(plain)
    for channel, index in zip(encrypted, range(2), strict=True):
        expected = cipher.encrypt(plain[index].copy(), KEY, tweak=index.to_bytes(8, "little") + b"t")
        assert np.array_equal(channel, expected)
    assert np.array_equal(DecryptPixels(key=KEY, suite=None, tweak=b"t")(encrypted), plain)
    assert not np.array_equal(DecryptPixels(key=KEY, suite=None, tweak=b"u")(encrypted), plain)


@pytest.mark.parametrize("suite", ["hybrid-1", "chaos-cnn-1"])
def test_a_fresh_key_for_every_image(suite, rng, identity):
    encrypt = EncryptPixels([identity.recipient], suite=suite)
    image = noise(rng, (1, 64, 64), "uint8")
    one, two = encrypt(image), encrypt(image)
    assert not torch.equal(one, two)
    records = [Record.unpack(m.meta[SEAL]) for m in (one, two)]
    assert records[0].object_id != records[1].object_id
    assert records[0].wrapped_key != records[1].wrapped_key
    assert {r.suite for r in records} == {suite}
    assert all(bits(DecryptPixels(identity)(m)) == image.tobytes() for m in (one, two))


def test_recipients_may_be_texts_and_paths(identity, identity_file, tmp_path, rng):
    (tmp_path / "recipients.txt").write_text(f"{identity.recipient}\n")
    image = noise(rng, (1, 8, 8), "int16")
    for given in (identity.recipient, str(identity.recipient), [tmp_path / "recipients.txt"]):
        sealed = EncryptPixels(given)(image)
        assert bits(DecryptPixels(identity_file)(sealed)) == image.tobytes()
        assert bits(DecryptPixels([str(identity_file)])(sealed)) == image.tobytes()


def test_what_was_changed_is_not_released(rng, identity):
    image = noise(rng, (3, 12, 10), "uint16")
    item = EncryptPixelsd("image", [identity.recipient])({"image": image})
    sealed, seal = item["image"], item["image_seal"]
    other = EncryptPixelsd("image", [identity.recipient])({"image": image})
    decrypt = DecryptPixels(identity)
    for changed in (
        sealed[::-1],  # channels in another order
        sealed[:2],
        sealed.reshape(3, 10, 12),
        sealed.view(np.int16),
        other["image"],
        np.concatenate([sealed[:2], other["image"][2:]]),
    ):
        with pytest.raises(AuthenticationError):
            decrypt(np.ascontiguousarray(changed), seal)
    for position in rng.integers(0, sealed.nbytes * 8, 40):
        flat = bytearray(sealed.tobytes())
        flat[position // 8] ^= 1 << position % 8
        with pytest.raises(AuthenticationError):
            decrypt(np.frombuffer(flat, np.uint16).reshape(sealed.shape), seal)
    for cut in (b"", seal[:-2], seal[:100], seal + b"x", other["image_seal"]):
        with pytest.raises(AuthenticationError):
            decrypt(sealed, cut)
    for position in rng.integers(0, len(seal) - 2, 40):
        flat = bytearray(seal)
        flat[position] ^= 0x10
        with pytest.raises(AuthenticationError):
            decrypt(sealed, bytes(flat))
    assert np.array_equal(decrypt(sealed, seal), image)


def test_other_keys_do_not_open(rng, identity, stranger):
    sealed = EncryptPixels([identity.recipient], key=KEY)(noise(rng, (1, 8, 8), "uint8"))
    with pytest.raises(NoMatchingIdentityError):
        DecryptPixels(stranger)(sealed)
    with pytest.raises(NoMatchingIdentityError):
        DecryptPixels(key=bytes(32))(sealed)
    assert torch.equal(DecryptPixels(identity)(sealed), DecryptPixels(key=KEY)(sealed))


def test_an_image_without_record_is_refused(rng):
    for image in (noise(rng, (1, 4, 4), "uint8"), MetaTensor(torch.zeros(1, 4, 4))):
        with pytest.raises(NotEncryptedError):
            DecryptPixels(key=KEY)(image)


def test_what_cannot_hold_every_bit_is_refused():
    refused = [
        np.zeros((1, 4, 4), bool),
        torch.zeros(1, 4, 4).bool(),
        torch.eye(4).to_sparse(),
        np.array(["a"]),
        "path",
    ]
    for image in refused:
        with pytest.raises(UnsupportedError):
            EncryptPixels(key=KEY)(image)
    with pytest.raises(UnsupportedError, match="PyTorch has no"):
        EncryptPixels(key=KEY)(np.zeros((1, 4, 4), np.longdouble))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, ConfigurationError),
        ({"key": b"short"}, ConfigurationError),
        ({"key": KEY, "suite": "aes"}, ConfigurationError),
        ({"suite": None}, ConfigurationError),
        ({"recipients": ["no-such-file"]}, KeyMaterialError),
    ],
)
def test_arguments_that_cannot_be_used(arguments, error):
    with pytest.raises(error):
        EncryptPixels(**arguments)(np.zeros((1, 4, 4), np.uint8))


def test_a_secret_in_place_of_a_path_is_refused_at_once(identity):
    with pytest.raises(KeyMaterialError, match="secret key was given") as caught:
        DecryptPixels(identity.secret_text())
    assert identity.secret_text() not in str(caught.value)
    with pytest.raises(ConfigurationError, match="neither identities nor a key"):
        DecryptPixels()


def test_meta_data_and_trace_are_what_they_were(rng):
    image = Flip(0)(MetaTensor(torch.from_numpy(noise(rng, (1, 8, 6), "float32").copy()), meta={"name": "a"}))
    sealed = EncryptPixels(key=KEY)(image)
    assert [op["class"] for op in sealed.applied_operations] == ["Flip", "EncryptPixels"]
    assert sealed.meta["name"] == "a"
    assert torch.equal(sealed.affine, image.affine)
    assert SEAL not in image.meta, "the input's meta data are left as they are"
    opened = DecryptPixels(key=KEY)(sealed)
    assert bits(opened) == bits(image)
    assert opened.meta.keys() == image.meta.keys()
    assert [op["class"] for op in opened.applied_operations] == ["Flip"]
    assert SEAL in sealed.meta


def test_the_inverse_through_compose(rng, identity):
    image = MetaTensor(torch.from_numpy(noise(rng, (1, 8, 6), "int16").copy()))
    for encrypt in (
        EncryptPixelsd("image", key=KEY),
        EncryptPixelsd("image", [identity.recipient], identities=[identity]),
        EncryptPixelsd("image", key=KEY, suite=None),
    ):
        chain = Compose([Flipd("image", 1), encrypt])
        item = chain({"image": image})
        assert bits(item["image"]) != bits(Flip(1)(image))
        back = chain.inverse(item)
        assert torch.equal(back["image"], image)
        assert back["image"].applied_operations == []
    arrays = EncryptPixelsd("image", key=KEY)
    assert np.array_equal(arrays.inverse(arrays({"image": image.numpy()}))["image"], image.numpy())


@pytest.mark.parametrize("suite", ["hybrid-1", "chaos-cnn-1", None])
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_with_a_record_is_not_encrypted_again(kind, suite, rng):
    """A second record in the place of the first would make the image noise for ever."""
    image = KINDS[kind](noise(rng, (2, 8, 6), "int16"))
    sealed = EncryptPixelsd("image", key=KEY)({"image": image})
    before = {**sealed, "image": copy.deepcopy(sealed["image"])}
    again = EncryptPixelsd("image", key=KEY, suite=suite)
    with pytest.raises(AlreadyEncryptedError, match="record of an encryption already") as caught:
        again(sealed)
    assert "DecryptPixels" in caught.value.hint
    assert bits(sealed["image"]) == bits(before["image"])
    assert sealed.get("image_seal") == before.get("image_seal")
    opened = DecryptPixelsd("image", key=KEY)(sealed)
    assert bits(opened["image"]) == bits(image)
    assert bits(again.inverse(again(opened))["image"]) == bits(image), "what was decrypted may be encrypted again"


def test_neither_twice_in_a_chain_nor_as_a_batch_nor_in_another_kind(rng):
    image = noise(rng, (1, 8, 6), "float32")
    array, dictionary = EncryptPixels(key=KEY), EncryptPixelsd("image", key=KEY)
    with pytest.raises(AlreadyEncryptedError):
        array(array(image))
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        Compose([dictionary, dictionary])({"image": image})
    assert isinstance(caught.value.__cause__, AlreadyEncryptedError)
    for kind in KINDS.values():
        batch = list_data_collate([dictionary({"image": kind(image)}) for _ in range(2)])
        with pytest.raises(AlreadyEncryptedError):
            dictionary(batch)
    beside = dictionary({"image": image})
    with pytest.raises(AlreadyEncryptedError):
        dictionary({**beside, "image": MetaTensor(torch.from_numpy(beside["image"].copy()))})


def test_the_inverse_needs_a_key_and_its_own_image(rng, identity):
    encrypt = EncryptPixels([identity.recipient])
    image = MetaTensor(torch.ones(1, 4, 4))
    with pytest.raises(ConfigurationError, match="no key for the way back"):
        encrypt.inverse(encrypt(image))
    with pytest.raises(RuntimeError, match="most recently applied"):
        EncryptPixels(key=KEY).inverse(EncryptPixels(key=KEY)(image))
    with pytest.raises(NotEncryptedError):
        EncryptPixels(key=KEY).inverse(image)


def test_without_meta_data_the_record_lies_beside_the_image(rng):
    image = noise(rng, (1, 4, 4), "uint8")
    set_track_meta(False)
    try:
        with pytest.raises(ConfigurationError, match="not tracked"):
            EncryptPixels(key=KEY)(image)
        item = EncryptPixelsd("image", key=KEY, seal_postfix="record")({"image": image})
    finally:
        set_track_meta(True)
    assert item.keys() == {"image", "image_record"}
    assert np.array_equal(DecryptPixelsd("image", key=KEY, seal_postfix="record")(item)["image"], image)


def test_several_keys_and_missing_ones(rng):
    item = {"image": noise(rng, (1, 4, 4), "uint8"), "label": noise(rng, (1, 4, 4), "uint8"), "age": 50}
    sealed = EncryptPixelsd(["image", "label"], key=KEY)(item)
    assert sealed.keys() == {"image", "label", "age", "image_seal", "label_seal"}
    swapped = {**sealed, "image_seal": sealed["label_seal"]}
    with pytest.raises(AuthenticationError):
        DecryptPixelsd(["image", "label"], key=KEY)(swapped)
    with pytest.raises(KeyError):
        EncryptPixelsd(["image", "mask"], key=KEY)(item)
    some = EncryptPixelsd(["image", "mask"], key=KEY, allow_missing_keys=True)(item)
    assert some.keys() == {*item, "image_seal"}


def test_gradients_are_not_carried_over():
    image = torch.ones(1, 4, 4, requires_grad=True)
    item = EncryptPixelsd("image", key=KEY)({"image": image})
    assert not item["image"].requires_grad
    assert torch.equal(DecryptPixelsd("image", key=KEY)(item)["image"], image.detach())


def test_copies_share_keys_and_names_none(identity):
    for transform in (EncryptPixels([identity.recipient], key=KEY), DecryptPixels(identity), DecryptPixels(key=KEY)):
        other = copy.deepcopy(transform)
        said = repr(vars(other)) + repr(other)
        assert KEY.hex() not in said
        assert repr(KEY) not in said
        assert identity.secret_text() not in said
