"""Triton's kernels without a device: their bits in Triton's interpreter, and their translation for the H200."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from iomt_crypt.cipher import torch_backend, torch_stage, torch_triton

#: NVIDIA H100 and H200: compute capability 9.0, 32 threads in a warp.
HOPPER = GPUTarget("cuda", 90, 32)

POOL = {"source": "words", "stride": "i32", "size": "i32", "keys": "*i32", "features": "*i64", "n_blocks": "i32"}
STEPS = {"seeds": "*i32", "words": "*i32", "veils": "*i32", "n_steps": "i32"}
COMBINE = {
    **{"source": "words", "target": "words", "stride": "i32", "size": "i32", "n_target": "i32", "row_length": "i32"},
    **{"weights": "*i32", "words": "words", "veils": "words", "stream_stride": "i32", "n_blocks": "i32"},
}


def test_kernels_give_the_bits_of_numba_in_the_interpreter():
    root = Path(__file__).parents[2]
    program = [sys.executable, "-W", "error", "-m", "tests.cipher.interpreted"]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(program, cwd=root, env=environment, check=False, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")


def translate(kernel, signature, constants, word_bits):
    signature = {name: f"*i{word_bits}" if kind == "words" else kind for name, kind in signature.items()}
    # Triton makes an integer that is 1 a constant of the kernel
    ones = {name: 1 for name in constants if name in signature}
    kinds = {
        **{name: kind for name, kind in signature.items() if name not in ones},
        **dict.fromkeys(constants, "constexpr"),
    }
    values = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature={name: kinds[name] for name in kernel.arg_names}, constexprs=values)
    return triton.compile(source, target=HOPPER).asm


@pytest.mark.parametrize("word_bits", [8, 16])
@pytest.mark.parametrize(
    ("name", "signature", "constants"),
    [
        ("_pool", POOL, {"pairs": 256, "passes": 2}),
        ("_pool", POOL, {"pairs": 256, "passes": 2, "size": 1, "stride": 1, "n_blocks": 1}),
        ("_steps", STEPS, {"lanes": 128}),
        ("_combine", COMBINE, {"decrypting": False, "block": 1024}),
        ("_combine", COMBINE, {"decrypting": True, "block": 1024}),
        (
            "_combine",
            COMBINE,
            {"decrypting": True, "block": 1024, "size": 1, "row_length": 1, "n_blocks": 1, "n_target": 1},
        ),
    ],
)
def test_kernels_become_machine_code_without_floating_point(
    monkeypatch, tmp_path, name, signature, constants, word_bits
):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "0")  # there is nothing to fuse; Triton warns if it is not said
    kernel = getattr(torch_triton, name)
    constants = {**constants, "word_bits": word_bits} if "word_bits" in kernel.arg_names else constants
    made = translate(kernel, signature, constants, word_bits)
    assert made["cubin"].startswith(b"\x7fELF")
    assert re.findall(r"\S+\.(?:b?f16|f32|f64)\b.*", made["ptx"]) == []


def test_which_stages_run(monkeypatch):
    class OnDevice:
        device = torch.device("cuda")
        shape = (1, 100)

    assert torch_backend._stages(torch.zeros(1, 100)) is torch_stage
    assert torch_backend._stages(OnDevice) is torch_triton
    OnDevice.shape = (1, 1 << 29)
    assert torch_backend._stages(OnDevice) is torch_stage
    OnDevice.shape = (1, 100)
    # what an import statement meets where Triton is not installed
    monkeypatch.setitem(sys.modules, "iomt_crypt.cipher.torch_triton", None)
    monkeypatch.delattr("iomt_crypt.cipher.torch_triton")
    assert torch_backend._stages(OnDevice) is torch_stage
