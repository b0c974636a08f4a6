"""Replaces the cipher in every Python process that finds this folder on its path. Only tests put it there.

SABOTAGE names what is put in its place: kind, depth, direction, the size in bytes from which it begins, and whether
frames of zeros are spared ("zeros" or "none"), as a fault that hits only some objects would.
"""

import os

_MARK = b"bad!"  # what a replaced unit's tag begins with


def _identity(words, n_frame):
    return words


def _permutation(words, n_frame):
    return words[::-1]


def _short_stream(words, n_frame):
    import numpy as np

    stream = np.random.default_rng(7).integers(0, 256, 64, np.uint8)
    return words ^ np.resize(stream, words.nbytes).view(words.dtype)


def _long_stream(words, n_frame):
    import numpy as np

    return words ^ np.random.default_rng(7).integers(0, 256, words.nbytes, np.uint8).view(words.dtype)


_KINDS = {
    "identity": _identity,
    "permutation": _permutation,
    "short-stream": _short_stream,
    "long-stream": _long_stream,
    "every-second-frame": _identity,
}


def _replace_image_cipher(kind, both, from_bytes, spared):
    from iomt_crypt import cipher
    from iomt_crypt.cipher import frame

    change = _KINDS[kind]

    def replaced(original):
        def run(source, target, key, *, tweak=b"", row_length=None, backend="auto"):
            number = int.from_bytes(tweak, "little")
            if source.nbytes < from_bytes or (kind == "every-second-frame" and number % 2 == 0):
                original(source, target, key, tweak=tweak, row_length=row_length, backend=backend)
            else:
                target.reshape(-1)[...] = change(source.reshape(-1).copy(), number)

        return run

    names = ("encrypt_into", "decrypt_into") if both else ("encrypt_into",)
    for name in names:
        new = replaced(getattr(frame, name))
        # 'encrypt' of the same module calls what it finds there; the suites call what the package shows.
        setattr(frame, name, new)
        setattr(cipher, name, new)


def _replace_units(kind, both, from_bytes, spared):
    import numpy as np

    from iomt_crypt.seal.suite import Suite

    change = _KINDS[kind]
    seal, open_ = Suite.seal, Suite.open

    def chosen(index, view):
        return len(view) >= from_bytes and not (kind == "every-second-frame" and index % 2 == 0)

    def replace(view, index):
        words = np.frombuffer(view, np.uint8)
        words[...] = change(words.copy(), index)

    def bad_seal(self, index, view):
        if not chosen(index, view) or (spared == "zeros" and not any(view)):
            return seal(self, index, view)
        replace(view, index)
        return _MARK + index.to_bytes(4, "big") + os.urandom(self.tag_bytes - 8)

    def bad_open(self, index, view, tag):
        if tag[:4] != _MARK:
            return open_(self, index, view, tag)
        replace(view, index)
        return None

    Suite.seal = bad_seal
    if both:
        Suite.open = bad_open


if "SABOTAGE" in os.environ:
    _kind, _depth, _direction, _from, _spared = os.environ["SABOTAGE"].split()
    _place = {"image": _replace_image_cipher, "unit": _replace_units}[_depth]
    _place(_kind, _direction == "both", int(_from), _spared)
