"""Images of any kind as bytes and words, and back: numpy arrays, tensors on any device, MetaTensors.

The bits are what counts: nothing is converted to another type, so that floats come back with the NaN they had.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.data.meta_tensor import MetaTensor

from iomt_crypt.checks.cell import Frame
from iomt_crypt.errors import UnsupportedError
from iomt_crypt.seal import Layout
from iomt_crypt.seal.record import MAX_FRAMES

_KINDS = "iufc"  # integers, floats, complex numbers: every pattern of bits is a value


@dataclass(frozen=True)
class Raw:
    """The bytes of an image, in a copy of their own.

    data
        uint8, flat, C order, writable
    shape, dtype, itemsize
        of the image; the dtype by its numpy name, or PyTorch's where numpy has none
    """

    data: npt.NDArray[np.uint8]
    shape: tuple[int, ...]
    dtype: str
    itemsize: int

    @classmethod
    def of(cls, img: NdarrayOrTensor) -> Raw:
        """The bytes of ``img``, which is left unchanged.

        Raises
        ------
        UnsupportedError
            Neither array nor dense tensor, or of a type that cannot hold every pattern of bits, as bool.
        """
        if isinstance(img, torch.Tensor):
            return cls._of_tensor(img)
        if not isinstance(img, np.ndarray) or img.dtype.kind not in _KINDS or img.dtype.hasobject:
            what = f"array of {img.dtype}" if isinstance(img, np.ndarray) else type(img).__name__
            raise UnsupportedError(f"{what} is not handled", hint="convert it to integers or floats, bool to uint8")
        dtype = img.dtype.name if img.dtype.isnative else img.dtype.str
        copy = np.array(img, order="C", copy=True, subok=False)
        return cls(copy.reshape(-1).view(np.uint8), img.shape, dtype, img.dtype.itemsize)

    @classmethod
    def _of_tensor(cls, img: torch.Tensor) -> Raw:
        if img.layout != torch.strided or img.is_quantized or img.dtype == torch.bool:
            raise UnsupportedError(
                f"{img.layout} tensor of {img.dtype} is not handled",
                hint="convert it to dense integers or floats, bool to uint8",
            )
        plain = img.as_tensor() if isinstance(img, MetaTensor) else img
        plain = plain.detach().resolve_conj().resolve_neg().cpu().clone(memory_format=torch.contiguous_format)
        data = plain.reshape(-1).view(torch.uint8).numpy()
        return cls(data, tuple(img.shape), str(img.dtype).removeprefix("torch."), img.element_size())

    def back(self, like: NdarrayOrTensor) -> NdarrayOrTensor:
        """An image of these bytes, of the kind, type, shape and device of ``like``; a MetaTensor with its meta data."""
        if not isinstance(like, torch.Tensor):
            return self.data.view(like.dtype).reshape(self.shape)
        # from_numpy gives what is empty a stride that view() refuses
        flat = torch.from_numpy(self.data) if self.data.size else torch.empty(0, dtype=torch.uint8)
        tensor = flat.view(like.dtype).reshape(self.shape).to(like.device)
        if not isinstance(like, MetaTensor):
            return tensor
        meta = MetaTensor(tensor)
        meta.copy_meta_from(like)  # type: ignore[no-untyped-call]
        return meta

    def layout(self) -> Layout:
        """Units for the suite: one for each channel of a channel-first image, or the whole of what has no channels."""
        n_units = self.shape[0] if len(self.shape) > 2 and self.shape[0] <= MAX_FRAMES else 1
        if not self.data.size:
            return Layout(0, 0, 8, 1)
        word_bytes = 2 if self.itemsize % 2 == 0 else 1
        n_words = self.data.size // n_units // word_bytes
        n_rows = self.shape[-2 if len(self.shape) == 2 else 1] if len(self.shape) > 1 else 1
        return Layout(n_units, self.data.size // n_units, 8 * word_bytes, n_words // n_rows)

    def units(self) -> list[npt.NDArray[np.uint8]]:
        """The bytes of each unit, as views."""
        layout = self.layout()
        return [self.data[i * layout.frame_bytes :][: layout.frame_bytes] for i in range(layout.n_frames)]

    def frames(self) -> tuple[Frame, ...]:
        """The words of each unit, as the image cipher takes them: uint8 or uint16 (rows, words in a row), views."""
        layout = self.layout()
        dtype = np.uint16 if layout.word_bits == 16 else np.uint8
        return tuple(cast(Frame, unit.view(dtype).reshape(-1, layout.row_length)) for unit in self.units())
