"""The verifier's own AES, GCM and HKDF against published vectors, so that it stands on more than this project."""

from __future__ import annotations

import pytest

from tests.vectors.verify.aes import SBOX, AuthenticationError, encrypt_block, expand, gcm_decrypt, gcm_encrypt
from tests.vectors.verify.suite import hkdf

KEY = "feffe9928665731c6d6a8f9467308308" * 2
NONCE = "cafebabefacedbaddecaf888"
PLAIN = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
)
CIPHER = (
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
)
# name: key, nonce, plain, associated data, cipher, tag
GCM = {
    # McGrew and Viega, The Galois/Counter Mode of Operation, appendix B
    "case 13": ("00" * 32, "00" * 12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
    "case 14": (
        "00" * 32,
        "00" * 12,
        "00" * 16,
        "",
        "cea7403d4d606b6e074ec5d3baf39d18",
        "d0d1c8a799996bf0265b98b5d48ab919",
    ),
    "case 15": (KEY, NONCE, PLAIN, "", CIPHER, "b094dac5d93471bdec1a502270e3cc6c"),
    "case 16": (
        KEY,
        NONCE,
        PLAIN[:120],
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        CIPHER[:120],
        "76fc6ece0f4e1768cddf8853bb2d551b",
    ),
    # NIST CAVP, gcmEncryptExtIV256.rsp, count 0 of three groups
    "CAVP, nothing": (
        "b52c505a37d78eda5dd34f20c22540ea1b58963cf8e5bf8ffa85f9f2492505b4",
        "516c33929df5a3284ff463d7",
        "",
        "",
        "",
        "bdc1ac884d332457a1d2664f168c76f0",
    ),
    "CAVP, associated data": (
        "78dc4e0aaf52d935c3c01eea57428f00ca1fd475f5da86a49c8dd73d68c8e223",
        "d79cf22d504cc793c3fb6c8a",
        "",
        "b96baa8c1c75a671bfb2d08d06be5f36",
        "",
        "3e5d486aa2e30b22e040b85723a06e76",
    ),
    "CAVP, one block": (
        "31bdadd96698c204aa9ce1448ea94ae1fb4a9a0b3c9d773b51bb1822666b8f22",
        "0d18e06c7c725ac9e362e1ce",
        "2db5168e932556f8089a0622981d017d",
        "",
        "fa4362189661d163fcd6a56d8bf0405a",
        "d636ac1bbedd5cc3ee727dc2ab4a9489",
    ),
}


def test_aes_256():
    """FIPS 197, appendix C.3, and the example of section 5.1.1."""
    block = encrypt_block(expand(bytes(range(32))), bytes.fromhex("00112233445566778899aabbccddeeff"))
    assert block.hex() == "8ea2b7ca516745bfeafc49904b496089"
    assert SBOX[0x53] == 0xED


def test_aes_256_key_expansion():
    """FIPS 197, appendix A.3: last round key."""
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    assert expand(key)[14].hex() == "fe4890d1e6188d0b046df344706c631e"


@pytest.mark.parametrize("name", GCM)
def test_gcm(name):
    key, nonce, plain, associated, secret, tag = map(bytes.fromhex, GCM[name])
    assert gcm_encrypt(key, nonce, plain, associated) == (secret, tag)
    assert gcm_decrypt(key, nonce, secret, associated, tag) == plain
    for bit in range(128):
        wrong = (int.from_bytes(tag, "big") ^ 1 << bit).to_bytes(16, "big")
        with pytest.raises(AuthenticationError):
            gcm_decrypt(key, nonce, secret, associated, wrong)


@pytest.mark.parametrize(("key", "nonce"), [(16, 12), (31, 12), (33, 12), (32, 11), (32, 16)])
def test_gcm_refuses_other_lengths(key, nonce):
    with pytest.raises(ValueError, match="bytes, not"):
        gcm_encrypt(bytes(key), bytes(nonce), b"", b"")
    with pytest.raises(ValueError, match="bytes, not"):
        gcm_decrypt(bytes(key), bytes(nonce), b"", b"", bytes(16))


def test_hkdf():
    """RFC 5869, appendix A.1 to A.3."""
    short = hkdf(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert short.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    long = hkdf(bytes(range(0x50)), bytes(range(0x60, 0xB0)), bytes(range(0xB0, 0x100)), 82)
    assert long.hex() == (
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
    )
    empty = hkdf(b"\x0b" * 22, b"", b"", 42)
    assert empty.hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
