"""What test_cipher_triton.py runs with TRITON_INTERPRET=1: the kernels of torch_triton.py, by numpy, on the CPU.

Triton decides when it is imported whether it interprets, hence a process of its own.
"""

import sys

import numpy as np
import torch

from iomt_crypt import cipher
from iomt_crypt.cipher import torch_backend, torch_triton

KEY = bytes(range(32))
#: Word bits, shape with frames first, row length. The last has three programs for a half, and halves at odd addresses.
CASES = [(8, (1, 1), 0), (16, (2, 3), 0), (16, (1, 31, 33), 7), (8, (1, 4499), 2000)]


def main() -> int:
    torch.set_num_threads(1)
    torch_backend._stages = lambda words: torch_triton
    rng = np.random.default_rng(1)
    for word_bits, shape, row_length in CASES:
        frames = rng.integers(0, 1 << 16, shape).astype(f"u{word_bits // 8}")
        options = {"tweaks": [rng.bytes(number) for number in range(len(frames))], "row_length": row_length}
        expected, made = np.empty_like(frames), np.empty_like(frames)
        cipher.encrypt_frames_into(frames, expected, KEY, **options, backend="numba")
        cipher.encrypt_frames_into(frames, made, KEY, **options, backend="torch")
        back = torch_backend.decrypt_tensor(torch.from_numpy(made), KEY, **options).numpy()
        if not (np.array_equal(made, expected) and np.array_equal(back, frames)):
            sys.stderr.write(f"not bit-identical: {word_bits} bit, {shape}, row length {row_length}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
